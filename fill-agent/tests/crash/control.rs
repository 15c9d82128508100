//! The real `oca-control` as a process, with files to give.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{eventually, program};

pub(crate) const APPLIANCE: &str = "c001.fra001.example";

pub(crate) struct Control {
    folder: TempDir,
    serving: Option<Child>,
    /// By the processes that were killed, as they last said.
    sent_before: u64,
    /// Of all objects.
    pub(crate) bytes: u64,
    pub(crate) objects: usize,
    pub(crate) token: String,
}

impl Control {
    /// Serves an object of each size, for a box with one tier.
    pub(crate) fn new(sizes: &[usize]) -> Self {
        Self::with_tiers(sizes, &["--tier", "hot=1TB"])
    }

    /// The same, with the room of a box in the words of `appliance add`.
    pub(crate) fn with_tiers(sizes: &[usize], tiers: &[&str]) -> Self {
        let mut control = Self {
            folder: tempfile::tempdir().unwrap(),
            serving: None,
            sent_before: 0,
            bytes: sizes.iter().map(|size| *size as u64).sum(),
            objects: sizes.len(),
            token: String::new(),
        };
        control.listen("127.0.0.1:0");
        control.done(&["keygen", control.path("").to_str().unwrap()]);
        fs::create_dir(control.path("media")).unwrap();
        for (number, size) in sizes.iter().enumerate() {
            let file = control.path(&format!("media/{number}.mp4"));
            fs::write(file, content(number as u64, *size)).unwrap();
        }
        control.done(&["ingest", control.path("media").to_str().unwrap()]);
        let add = ["appliance", "add", APPLIANCE, "--site", "fra001.example"];
        let cluster = ["--cluster", "fra001"];
        control.token = control.done(&[&add[..], &cluster[..], tiers].concat());
        control.done(&["build"]);
        control.serve();
        // The agent finds it there again after each kill.
        control.listen(&control.address());
        control
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Viewers are expected to ask for so much of an object a day, from the next manifest on.
    pub(crate) fn expect(&self, number: usize, demand: &str) {
        let file = self.path(&format!("media/{number}.mp4"));
        self.done(&["ingest", file.to_str().unwrap(), "--demand", demand]);
        self.done(&["build"]);
    }

    fn listen(&self, address: &str) {
        let folder = self.folder.path().display();
        let text = format!(
            "listen = [\"{address}\"]\nstate_dir = \"{folder}/state\"\nsigning_keys = [\"{folder}/control-1.key\"]\n"
        );
        fs::write(self.path("oca-control.toml"), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program::of("control-endpoint", "oca-control"));
        command.arg("--config").arg(self.path("oca-control.toml"));
        command
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        said.trim_end().to_owned()
    }

    /// Starts it; again, if somebody else has its port just then.
    pub(crate) fn serve(&mut self) {
        let place = self.path("state/address");
        let _ = fs::remove_file(&place);
        eventually("the control endpoint listens", || {
            if let Some(child) = &mut self.serving
                && child.try_wait().unwrap().is_none()
            {
                return place.exists().then_some(());
            }
            let log = fs::File::create(self.path("log")).unwrap();
            let mut command = self.command();
            let child = command.arg("serve").stdout(Stdio::null()).stderr(log);
            self.serving = Some(child.spawn().unwrap());
            None
        });
    }

    pub(crate) fn address(&self) -> String {
        let addresses = fs::read_to_string(self.path("state/address")).unwrap();
        addresses.lines().next().unwrap().to_owned()
    }

    /// SIGKILL, and it is gone when this returns. What it sends after its last word is not counted: some milliseconds.
    pub(crate) fn kill(&mut self) {
        self.sent_before = self.sent();
        end(&mut self.serving);
    }

    /// Bytes of objects sent to the agent, over all restarts.
    pub(crate) fn sent(&self) -> u64 {
        self.sent_before + self.metric("oca_control_sent_bytes_total{what=\"bytes\"}")
    }

    /// Waits until nothing is being sent.
    pub(crate) fn until_idle(&self) {
        eventually("the control endpoint sends nothing", || {
            (self.metric("oca_control_free_fills") == MAX_FILLS).then_some(())
        });
    }

    fn metric(&self, sample: &str) -> u64 {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("{sample} is not in {page}"));
        value.parse().unwrap()
    }
}

/// The default of `max_fills`.
const MAX_FILLS: u64 = 64;

impl Drop for Control {
    fn drop(&mut self) {
        end(&mut self.serving);
    }
}

pub(crate) fn end(process: &mut Option<Child>) {
    if let Some(mut child) = process.take() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}
