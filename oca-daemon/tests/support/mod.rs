//! A real box in a folder: devices, catalog, configuration, and the real daemon as a process.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use content_store::catalog::CatalogProblem;
use content_store::chunk_tree::ChunkTree;
use content_store::device::{self, InitOptions};
use content_store::{Store, StoreConfig, StoreError, TierConfig, TierRole};
use protocol::operator::{self, Request, Response};
use protocol::status::{ListenerPurpose, State, Status};
use tempfile::TempDir;

pub(crate) mod control;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod publish;
pub(crate) mod tls;

use publish::publish;

/// The backends of this machine; every test of behaviour runs on each.
pub(crate) const BACKENDS: [&str; 2] = ["uring", "epoll"];

/// Waits until `condition` holds; fails with `what` after 20 s.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "did not happen within 20 s: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Bytes that look like media (they do not compress, and every place differs), the same for the same seed.
pub(crate) fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// How a box is made.
pub(crate) struct Plan<'a> {
    pub(crate) devices: usize,
    pub(crate) stripe_width: u8,
    pub(crate) backend: &'a str,
    pub(crate) workers: u16,
    /// Memory tier, as in the configuration.
    pub(crate) memory: &'a str,
    /// Bytes read and not yet sent, as in the configuration.
    pub(crate) in_flight: &'a str,
    /// Base URL of the control endpoint; empty: there is none.
    pub(crate) control: &'a str,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            devices: 4,
            stripe_width: 2,
            backend: "auto",
            workers: 1,
            memory: "4 MiB",
            in_flight: "64 MiB",
            control: "",
        }
    }
}

/// A box.
pub(crate) struct Site {
    folder: TempDir,
    devices: usize,
    stripe_width: u8,
}

impl Site {
    pub(crate) fn new(plan: &Plan<'_>) -> Self {
        let folder = TempDir::new_in(scratch()).expect("a folder");
        let site = Self {
            folder,
            devices: plan.devices,
            stripe_width: plan.stripe_width,
        };
        fs::create_dir_all(site.path("state")).expect("state_dir");
        for device in 0..plan.devices {
            fs::create_dir_all(site.device(device)).expect("device folder");
            let options = InitOptions {
                now_s: now(),
                tier: Some("nvme".into()),
                shared_fs: true,
            };
            device::initialise(&site.device(device), &options).expect("a fresh device");
        }
        let mut configuration = site.configuration(plan);
        if !plan.control.is_empty() {
            fs::write(site.path("control.pub"), "not read by the daemon").expect("a key");
            fs::write(site.path("token"), "secret-1\n").expect("a token");
            configuration += &site.control(plan.control);
        }
        fs::write(site.config(), configuration).expect("configuration");
        site
    }

    fn configuration(&self, plan: &Plan<'_>) -> String {
        let devices: Vec<String> = (0..self.devices)
            .map(|at| format!("{:?}", self.device(at)))
            .collect();
        format!(
            "[appliance]\nid = \"c001.test.example\"\nstate_dir = {:?}\nrun_dir = {:?}\n\
             [listen]\nhttp = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
             [workers]\ncount = {}\nbackend = \"{}\"\nmemory = \"{}\"\nin_flight = \"{}\"\n\
             [[tier]]\nname = \"nvme\"\nrole = \"hot\"\nshared_fs = true\nstripe_width = {}\ndevices = [{}]\n",
            self.path("state"),
            self.path("run"),
            plan.workers,
            plan.backend,
            plan.memory,
            plan.in_flight,
            plan.stripe_width,
            devices.join(", ")
        )
    }

    fn control(&self, url: &str) -> String {
        format!(
            "[control]\nurl = {url:?}\nkeys = [{:?}]\ntoken_file = {:?}\nreport_interval = \"1 s\"\n\
             [fill]\nwindow = \"02:00-14:00\"\n",
            self.path("control.pub"),
            self.path("token"),
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("oca.toml")
    }

    /// Writes more behind what is configured.
    pub(crate) fn configure(&self, more: &str) {
        let text = fs::read_to_string(self.config()).expect("a configuration");
        fs::write(self.config(), text + more).expect("written");
    }

    pub(crate) fn device(&self, at: usize) -> PathBuf {
        self.path(&format!("nvme{at}"))
    }

    fn store_config(&self) -> StoreConfig {
        StoreConfig {
            state_dir: self.path("state"),
            tiers: vec![TierConfig {
                name: "nvme".into(),
                role: TierRole::Hot,
                stripe_unit: 1 << 20,
                read_unit: 256 << 10,
                stripe_width: self.stripe_width,
                devices: (0..self.devices).map(|at| self.device(at)).collect(),
            }],
            program: "test".into(),
        }
    }

    pub(crate) fn store(&self) -> Store {
        // A process that another test of this program is just starting holds a copy of every lock until it is the program it
        // is to be.
        eventually("the writer's lock is free", || {
            match Store::open(self.store_config()) {
                Err(StoreError::Catalog(CatalogProblem::Locked { .. })) => None,
                opened => Some(opened.expect("the store opens")),
            }
        })
    }

    /// Publishes `bytes` at `path`.
    pub(crate) fn publish(&self, path: &str, bytes: &[u8]) {
        publish(&mut self.store(), path, bytes);
    }

    /// The numbers of the devices that hold a column of the object with these bytes.
    pub(crate) fn devices_of(&self, bytes: &[u8]) -> Vec<usize> {
        let object = ChunkTree::of(bytes).object();
        let store = self.store();
        let holds = |at: &usize| {
            let device = device::open(&store.devices()[*at].root).expect("device");
            device.column_path(&object).exists()
        };
        (0..self.devices).filter(holds).collect()
    }

    /// Changes a bit at `at` of the one column of the object with these bytes, as a disk does that goes bad.
    pub(crate) fn flip(&self, bytes: &[u8], at: usize) {
        let device = self.device(self.devices_of(bytes)[0]);
        let object = ChunkTree::of(bytes).object();
        let column = device::open(&device).expect("device").column_path(&object);
        let column = fs::OpenOptions::new().write(true).open(column);
        let column = column.expect("a column");
        column
            .write_all_at(&[bytes[at] ^ 0x10], at as u64)
            .expect("written");
    }

    /// What `ocactl catalog rebuild` does.
    pub(crate) fn rebuild(&self) -> content_store::Rebuilt {
        content_store::rebuild(
            &self.store_config(),
            since_1970().as_millis() as u64,
            |_| (),
        )
        .expect("rebuilt")
    }

    pub(crate) fn start(&self) -> Daemon {
        Daemon::start(&self.config(), &self.path("run"))
    }
}

/// Where tests put their devices: a real disk, where O_DIRECT works, not a tmpfs.
fn scratch() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&folder).expect("scratch folder");
    folder
}

fn now() -> u64 {
    since_1970().as_secs()
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Where TLS is spoken, if the configuration says so.
    pub(crate) https: Option<SocketAddr>,
    run_dir: PathBuf,
}

impl Daemon {
    fn start(config: &Path, run_dir: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oca-daemon"));
        command
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        Self::spawn(command, run_dir)
    }

    /// Starts it as `command` says.
    pub(crate) fn spawn(mut command: Command, run_dir: &Path) -> Self {
        let mut child = command.spawn().expect("the daemon starts");
        let status = eventually("the daemon answers on its socket", || {
            if let Some(ended) = child.try_wait().expect("a child") {
                panic!("the daemon ended: {ended}");
            }
            ask_status(run_dir)
        });
        let address = |purpose: ListenerPurpose| {
            let listener = status
                .listeners
                .iter()
                .find(|listener| listener.purpose == purpose);
            listener.expect("a listener of each purpose").address
        };
        let (http, admin) = (
            address(ListenerPurpose::Http),
            address(ListenerPurpose::Admin),
        );
        let https = status
            .listeners
            .iter()
            .find(|listener| listener.purpose == ListenerPurpose::Https);
        Self {
            child,
            http,
            admin,
            https: https.map(|listener| listener.address),
            run_dir: run_dir.to_path_buf(),
        }
    }

    pub(crate) fn status(&self) -> Status {
        ask_status(&self.run_dir).expect("the daemon answers")
    }

    pub(crate) fn ask(&self, request: &Request) -> Response {
        ask(&self.run_dir, request).expect("the daemon answers")
    }

    /// Begins a drain.
    pub(crate) fn drain(&self) {
        let by = "ada".to_owned();
        let answer = self.ask(&Request::Drain {
            by,
            reason: None,
            force: false,
        });
        assert!(matches!(answer, Response::Drain(_)), "{answer:?}");
    }

    /// Drains a box without viewers, to the end; its hints are to last a second or so.
    pub(crate) fn drain_to_the_end(&self) {
        self.drain();
        eventually("drained", || {
            (self.status().state == State::Drained).then_some(())
        });
    }

    /// As [`Self::ask`], for what takes its time.
    pub(crate) fn ask_long(&self, request: &Request) -> Response {
        ask_within(&self.run_dir, request, Duration::from_secs(120)).expect("the daemon answers")
    }

    /// The sum of the samples of `/metrics` of this name whose line holds `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let page = http::get(self.admin, "/metrics", &[]).expect("metrics");
        let text = String::from_utf8(page.body).expect("text");
        let samples = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        });
        let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask_status(run_dir: &Path) -> Option<Status> {
    match ask(run_dir, &Request::Status)? {
        Response::Status(status) => Some(*status),
        _ => None,
    }
}

fn ask(run_dir: &Path, request: &Request) -> Option<Response> {
    ask_within(run_dir, request, Duration::from_secs(5))
}

fn ask_within(run_dir: &Path, request: &Request, patience: Duration) -> Option<Response> {
    let mut stream = UnixStream::connect(run_dir.join(operator::DAEMON_SOCKET)).ok()?;
    // One that was killed and cannot end still has its socket.
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.write_all(&operator::encode(request)).ok()?;
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line).ok()?;
    operator::decode(&line).ok()
}

/// Fails with the first place where they differ, rather than with megabytes of output.
pub(crate) fn assert_same(got: &[u8], expected: &[u8], what: &str) {
    if got == expected {
        return;
    }
    let at = got
        .iter()
        .zip(expected)
        .position(|(got, expected)| got != expected);
    panic!(
        "{what}: {} bytes instead of {}, first difference at {at:?}",
        got.len(),
        expected.len()
    );
}
