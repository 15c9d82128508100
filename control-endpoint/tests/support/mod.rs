//! A real `oca-control` in a folder of its own.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use protocol::control::{Answer, Inventory, REPORT_VERSION, Report};
use protocol::manifest::keys::{PrivateKey, PublicKey};
use protocol::manifest::{Manifest, Tombstones, seal};
use protocol::status::State;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use tempfile::TempDir;

pub(crate) const OPERATOR: &str = "a-token-that-only-tests-know";

pub(crate) struct Endpoint {
    folder: TempDir,
    serving: Option<Child>,
    pub(crate) client: Client,
}

impl Endpoint {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With further lines of configuration.
    pub(crate) fn with(lines: &str) -> Self {
        // Plain HTTP, but the client wants to know.
        _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let endpoint = Self {
            folder: tempfile::tempdir().unwrap(),
            serving: None,
            client: Client::builder().no_proxy().build().unwrap(),
        };
        let at = |name: &str| endpoint.path(name).display().to_string();
        let config = format!(
            "listen = [\"127.0.0.1:0\"]\nstate_dir = {:?}\nsigning_keys = [{:?}]\noperator_token_file = {:?}\n{lines}\n",
            at("state"),
            at("control-1.key"),
            at("operator"),
        );
        fs::write(endpoint.path("oca-control.toml"), config).unwrap();
        fs::write(endpoint.path("operator"), OPERATOR).unwrap();
        fs::create_dir(endpoint.path("media")).unwrap();
        endpoint.done(&["keygen", &at("")]);
        endpoint
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oca-control"));
        command.arg("--config").arg(self.path("oca-control.toml"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// Runs it to its good end; gives what it printed.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            errors(&output)
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Registers an appliance of the cluster `x`; gives its token.
    pub(crate) fn appliance(&self, id: &str) -> String {
        self.done(&["appliance", "add", id, "--site", "x", "--cluster", "x"])
    }

    /// Writes a file below `media` and registers it; gives its root.
    pub(crate) fn ingest(&self, name: &str, bytes: &[u8]) -> String {
        let file = self.path("media").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, bytes).unwrap();
        self.done(&["ingest", file.to_str().unwrap()]);
        blake3::hash(bytes).to_string()
    }

    pub(crate) fn serve(&mut self) {
        let errors = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        _ = fs::remove_file(self.state().join("address"));
        let child = self
            .command()
            .arg("serve")
            .stderr(errors)
            .stdout(Stdio::null())
            .spawn();
        self.serving = Some(child.unwrap());
        eventually("it listens", || self.state().join("address").exists());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.serving.as_ref().unwrap().id()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.serving.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM; gives whether it ended well.
    pub(crate) fn stop(&mut self) -> bool {
        let mut child = self.serving.take().unwrap();
        let told = Command::new("kill")
            .arg(child.id().to_string())
            .status()
            .unwrap();
        told.success() && child.wait().unwrap().success()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let addresses = fs::read_to_string(self.state().join("address")).unwrap();
        format!("http://{}{path}", addresses.lines().next().unwrap())
    }

    pub(crate) fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            HeaderValue::from_str(&format!("Bearer {token}")).unwrap(),
        );
        self.client.request(method, self.url(path)).headers(headers)
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Response {
        self.request(Method::GET, path, token).send().await.unwrap()
    }

    pub(crate) fn key(&self) -> PublicKey {
        PublicKey::from_pem(&fs::read_to_string(self.path("control-1.pub")).unwrap()).unwrap()
    }

    pub(crate) async fn manifest(&self, id: &str, token: &str) -> Option<Manifest> {
        let response = self
            .get(&format!("/v1/appliances/{id}/manifest"), token)
            .await;
        if response.status() == StatusCode::NOT_FOUND {
            return None;
        }
        assert_eq!(response.status(), StatusCode::OK);
        Some(seal::open(&response.bytes().await.unwrap(), &[self.key()], id).unwrap())
    }

    pub(crate) async fn tombstones(&self, id: &str, token: &str) -> Tombstones {
        let response = self
            .get(&format!("/v1/appliances/{id}/tombstones"), token)
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        seal::open(&response.bytes().await.unwrap(), &[self.key()], id).unwrap()
    }

    pub(crate) async fn report(&self, report: &Report, token: &str) -> Answer {
        let path = format!("/v1/appliances/{}/report", report.appliance);
        let request = self.request(Method::POST, &path, token);
        let response = request
            .body(serde_json::to_vec(report).unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn key_file(folder: &Path, seed: u8) -> PathBuf {
    let file = folder.join(format!("{seed}.key"));
    fs::write(&file, PrivateKey::from_seed(&[seed; 32]).to_pem()).unwrap();
    file
}

/// Waits for a condition, at most a minute.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks until the answer is `Some`, at most a minute.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A report of a box that holds nothing.
pub(crate) fn report(id: &str, sequence: u64) -> Report {
    Report {
        version: REPORT_VERSION,
        appliance: id.to_owned(),
        site: "x".to_owned(),
        software: "test".to_owned(),
        started: 1,
        sequence,
        sent_at: 1,
        state: State::Ok,
        causes: Vec::new(),
        steering: serde_json::Value::Null,
        serves_at: vec![format!("http://{id}:80")],
        devices: Vec::new(),
        fill: None,
        inventory: Inventory {
            revision: sequence,
            since: None,
            added: Vec::new(),
            removed: Vec::new(),
        },
        served: Vec::new(),
        misses: Vec::new(),
        routes: None,
        reached: Vec::new(),
    }
}

/// Bytes that are not all alike.
pub(crate) fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut reader = blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof();
    reader.fill(&mut bytes);
    bytes
}
