//! A box in a folder, and the real agent as a process.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use content_store::catalog::CatalogReader;
use content_store::device::{self, InitOptions};
use jiff::{Timestamp, ToSpan};
use protocol::config::Config;
use protocol::fill::{Request, Response, Status};
use protocol::operator;
use tempfile::TempDir;

use super::endpoint::{APPLIANCE, Endpoint, key};

/// Waits until `condition` holds; fails with `what` after a minute.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "did not happen within 60 s: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

pub(crate) struct Appliance {
    folder: TempDir,
}

pub(crate) struct Running<'a> {
    appliance: &'a Appliance,
    child: Child,
}

/// A window that is closed for the next hours: a test opens it when it is ready, at any time of
/// the day.
fn closed_window() -> String {
    let after = |hours: i64| (Timestamp::now() + hours.hours()).strftime("%H:00");
    format!("{}-{}", after(8), after(12))
}

impl Appliance {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        let appliance = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for name in ["d0", "d1", "state", "run"] {
            fs::create_dir(appliance.path(name)).unwrap();
        }
        for name in ["d0", "d1"] {
            let options = InitOptions {
                now_s: 1,
                tier: Some("nvme".into()),
                shared_fs: true,
            };
            device::initialise(&appliance.path(name), &options).unwrap();
        }
        fs::write(appliance.path("control.pub"), key(7).public().to_pem()).unwrap();
        fs::write(appliance.path("token"), "open-sesame\n").unwrap();
        appliance.configure(endpoint, |text| text);
        appliance
    }

    /// Writes the configuration, changed.
    pub(crate) fn configure(&self, endpoint: &Endpoint, change: impl FnOnce(String) -> String) {
        let folder = self.folder.path().display();
        let text = format!(
            "[appliance]\nid = \"{APPLIANCE}\"\nstate_dir = \"{folder}/state\"\nrun_dir = \"{folder}/run\"\n\
             [listen]\nhttp = [\"127.0.0.1:0\"]\n\
             [control]\nurl = \"http://{}\"\nkeys = [\"{folder}/control.pub\"]\ntoken_file = \"{folder}/token\"\n\
             [fill]\nwindow = \"{}\"\nrate = \"400 Mbit/s\"\nmetrics = \"127.0.0.1:0\"\n\
             manifest_interval = \"1 s\"\ntakedown_interval = \"1 s\"\nrequire_synchronised_clock = false\n\
             high_watermark = \"99 %\"\nlow_watermark = \"98 %\"\n\
             [[tier]]\nname = \"nvme\"\nrole = \"hot\"\ndevices = [\"{folder}/d0\", \"{folder}/d1\"]\nshared_fs = true\n",
            endpoint.address,
            closed_window()
        );
        fs::write(self.path("oca.toml"), change(text)).unwrap();
    }

    /// A second tier, with a device of its own.
    pub(crate) fn add_capacity_tier(&self, endpoint: &Endpoint) {
        let device = self.path("d2");
        fs::create_dir(&device).unwrap();
        let options = InitOptions {
            now_s: 1,
            tier: Some("disk".into()),
            shared_fs: true,
        };
        device::initialise(&device, &options).unwrap();
        self.configure(endpoint, |text| {
            format!(
                "{text}[[tier]]\nname = \"disk\"\nrole = \"capacity\"\ndevices = [{device:?}]\nshared_fs = true\n"
            )
        });
    }

    /// The tier of each object.
    pub(crate) fn tiers(&self) -> Vec<String> {
        let Ok(mut reader) = CatalogReader::open(&self.path("state")) else {
            return Vec::new();
        };
        let records = reader.load().unwrap().objects;
        let copies = records.iter().flat_map(|record| &record.copies);
        copies.map(|copy| copy.tier.to_string()).collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> Config {
        protocol::config::load(&self.path("oca.toml")).unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("oca-fill-agent"));
        command.arg("--config").arg(self.path("oca.toml"));
        command.env("OCA_LOG", "info").env_remove("OCA_LOG_FORMAT");
        command
    }

    /// A command whose https believes the certificate authorities in a file of this folder alone.
    pub(crate) fn command_trusting(&self, authorities: &str) -> Command {
        let mut command = self.command();
        command.env("SSL_CERT_FILE", self.path(authorities));
        command.env_remove("SSL_CERT_DIR");
        command
    }

    pub(crate) fn once(&self) -> Output {
        self.command().args(["once", "--now"]).output().unwrap()
    }

    pub(crate) fn check(&self) -> Output {
        self.command().arg("check").output().unwrap()
    }

    pub(crate) fn run(&self) -> Running<'_> {
        let log = fs::File::create(self.path("log")).unwrap();
        let child = self
            .command()
            .arg("run")
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let running = Running {
            appliance: self,
            child,
        };
        eventually("the agent answers", || running.try_ask(&Request::Status));
        running
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// The paths that are published.
    pub(crate) fn published(&self) -> Vec<String> {
        let Ok(mut reader) = CatalogReader::open(&self.path("state")) else {
            return Vec::new();
        };
        let snapshot = reader.load().unwrap();
        let mut paths: Vec<String> = snapshot
            .paths
            .iter()
            .map(|(_, entry)| entry.path.to_string())
            .collect();
        paths.sort();
        paths
    }
}

impl Running<'_> {
    pub(crate) fn try_ask(&self, request: &Request) -> Option<Response> {
        let mut stream = UnixStream::connect(self.appliance.path("run/fill.sock")).ok()?;
        stream.write_all(&operator::encode(request)).ok()?;
        let mut line = Vec::new();
        BufReader::new(stream).read_until(b'\n', &mut line).ok()?;
        operator::decode(&line).ok()
    }

    pub(crate) fn ask(&self, request: &Request) -> Response {
        self.try_ask(request).expect("an answer")
    }

    pub(crate) fn status(&self) -> Status {
        match self.ask(&Request::Status) {
            Response::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn open(&self) {
        let order = Request::Override {
            by: "ada".to_owned(),
            open: true,
            until: None,
        };
        assert!(matches!(self.ask(&order), Response::Window(window) if window.open));
    }

    /// The same, of an agent whose state is damaged.
    pub(crate) fn open_refused(&self) {
        let order = Request::ClearOverride {
            by: "ada".to_owned(),
        };
        assert!(matches!(self.ask(&order), Response::Refused(_)));
    }

    /// Waits until the status fulfils `condition`.
    pub(crate) fn until(&self, what: &str, condition: impl Fn(&Status) -> bool) -> Status {
        eventually(what, || Some(self.status()).filter(&condition))
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let address: SocketAddr = eventually("the metrics' address", || {
            let log = self.appliance.log();
            let line = log
                .lines()
                .find(|line| line.contains("\"message\":\"metrics\""))?;
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            line["fields"]["address"].as_str()?.parse().ok()
        });
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The value of a sample.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let page = self.get("/metrics");
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{sample} is not in {page}"))
            .parse()
            .unwrap()
    }

    /// Whether it has a column of a device open.
    pub(crate) fn holds_a_column_of(&self, device: &Path) -> bool {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let mut files = open.filter_map(|open| fs::read_link(open.unwrap().path()).ok());
        files.any(|file| {
            file.starts_with(device) && file.extension().is_some_and(|end| end == "col")
        })
    }

    /// Bytes that it had from `read(2)` and its kin, as proc_pid_io(5) counts them.
    pub(crate) fn bytes_read(&self) -> u64 {
        let counted = fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
        let mut lines = counted.lines();
        let bytes = lines.find_map(|line| line.strip_prefix("rchar: "));
        bytes.unwrap().parse().unwrap()
    }

    /// Has it read its configuration again.
    pub(crate) fn hang_up(&self) {
        let process = self.child.id().to_string();
        let status = Command::new("kill").args(["-HUP", &process]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
