//! What the admin port and the operator socket answer: the whole control loop, over real sockets, with devices in folders and
//! made-up counters instead of workers.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

#[path = "support/http.rs"]
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod http;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use content_store::device::{self, InitOptions};
use oca_daemon::control::{Control, Doors};
use oca_daemon::devices::{self, Identities};
use oca_daemon::shared::{Service, Shared};
use platform::inherited::Inherited;
use platform::reactor::choose_backend;
use protocol::config;
use protocol::operator::{self, Fault, Request, Response};
use protocol::paths::Paths;
use protocol::status::{DeviceState, ListenerPurpose, Sandbox, State, Status};
use steering::hint::Hint;

/// A box with two devices, an admin port, and a port for metrics; without workers.
struct Appliance {
    shared: Arc<Shared>,
    admin: SocketAddr,
    metrics: SocketAddr,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

fn confined() -> Sandbox {
    Sandbox {
        enforced: true,
        detail: String::new(),
        no_new_privileges: true,
    }
}

impl Appliance {
    /// `folder` holds everything; `more` is appended to the configuration.
    fn start(folder: &Path, more: &str) -> Self {
        let devices = ["nvme0", "nvme1"].map(|name| folder.join(name));
        for device in devices.iter().filter(|device| !device.exists()) {
            std::fs::create_dir_all(device).unwrap();
            let options = InitOptions {
                now_s: 1_790_000_000,
                tier: None,
                shared_fs: true,
            };
            device::initialise(device, &options).unwrap();
        }
        std::fs::create_dir_all(folder.join("state")).unwrap();
        let text = format!(
            "[appliance]\nid = \"c001.fra001.example\"\nstate_dir = {:?}\nrun_dir = {:?}\n\
             [listen]\nhttp = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nmetrics = [\"127.0.0.1:0\"]\nmetrics_allow = [\"127.0.0.0/8\"]\n{more}\n\
             [[tier]]\nname = \"nvme\"\nrole = \"hot\"\nshared_fs = true\ndevices = [{:?}, {:?}]\n",
            folder.join("state"),
            folder.join("run"),
            devices[0],
            devices[1],
        );
        let config = config::parse(&text, Path::new("oca.toml"), Paths::here()).unwrap();
        let doors = Doors::open(&config, &mut Inherited::default()).unwrap();
        let identities = Identities::new(2);
        let services = devices::start(&config, &identities, &Arc::default(), 16 << 20).unwrap();
        let chosen = choose_backend(None).unwrap();
        let shared = Shared::new(
            Arc::new(config),
            Arc::default(),
            services,
            2,
            Vec::new(),
            chosen,
        );
        let shared = Arc::new(shared.with_identities(identities));
        // Workers would say so themselves.
        shared.workers.iter().for_each(|worker| {
            worker.turns.add(1);
            worker.due_ms.set(u64::MAX);
        });
        let control = Control::new(doors, &shared, folder.join("oca.toml"), confined());
        let of = |purpose| {
            control
                .listeners()
                .iter()
                .find(|listener| listener.purpose == purpose)
                .unwrap()
                .address
        };
        let (admin, metrics) = (of(ListenerPurpose::Admin), of(ListenerPurpose::Metrics));
        let thread = Some(std::thread::spawn(move || control.run()));
        let appliance = Self {
            shared,
            admin,
            metrics,
            thread,
        };
        appliance.eventually("the first look", |it| it.get("/readyz").body != b"");
        appliance
    }

    fn get(&self, path: &str) -> http::Response {
        http::get(self.admin, path, &[]).unwrap()
    }

    fn status(&self) -> Status {
        serde_json::from_slice(&self.get("/status").body).unwrap()
    }

    fn hint(&self) -> Hint {
        serde_json::from_slice(&self.get("/steering").body).unwrap()
    }

    fn metrics(&self) -> String {
        String::from_utf8(self.get("/metrics").body).unwrap()
    }

    fn ask(&self, request: &Request) -> Response {
        let path = self.shared.config.load().daemon_socket();
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(&operator::encode(request)).unwrap();
        let mut line = Vec::new();
        BufReader::new(stream).read_until(b'\n', &mut line).unwrap();
        operator::decode(&line).unwrap()
    }

    fn eventually(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "not within 20 s: {what}"
            );
            std::thread::yield_now();
        }
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.shared.change_service(Service::Stopping {
            until: Instant::now(),
        });
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
        self.shared.devices.iter().for_each(|device| device.stop());
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn metrics_pass_the_linter_and_say_what_was_counted() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), "");
    let worker = &appliance.shared.workers[1];
    worker.answered(206);
    worker.answered(206);
    worker.answered(503);
    worker.devices[1].device_bytes.add(4096);
    worker.devices[0].memory_bytes.add(1 << 20);
    worker.first_byte.record(Duration::from_micros(300));
    worker.connections.set(7);
    let response = appliance.get("/metrics");
    assert_eq!(
        response.field("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = appliance.metrics();
    check_with_promtool(&text);
    for line in [
        "oca_http_requests_total{class=\"2xx\",code=\"206\"} 2",
        "oca_http_requests_total{class=\"5xx\",code=\"503\"} 1",
        "oca_http_requests_total{class=\"4xx\",code=\"404\"} 0",
        "oca_sent_bytes_total{tier=\"nvme\",device=\"nvme1\",source=\"device\"} 4096",
        "oca_sent_bytes_total{tier=\"nvme\",device=\"nvme0\",source=\"memory\"} 1048576",
        "oca_http_first_byte_seconds_bucket{le=\"0.0005\"} 1",
        "oca_http_first_byte_seconds_count 1",
        "oca_connections{worker=\"1\"} 7",
        "oca_device_state{tier=\"nvme\",device=\"nvme0\",state=\"ok\"} 1",
        "oca_device_state{tier=\"nvme\",device=\"nvme0\",state=\"failed\"} 0",
        "oca_worker_lag_seconds{worker=\"0\"} 0",
        "oca_state{state=\"ok\"} 1",
        "oca_objects 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn the_status_page_is_one_file_that_asks_nobody_else() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), "");
    let response = appliance.get("/");
    assert_eq!(response.status, 200);
    assert_eq!(
        response.field("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    let policy = response.field("Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    let page = String::from_utf8(response.body).unwrap();
    assert!(page.contains("name=\"viewport\"") && page.contains("fetch('status'"));
    for other in ["src=", "href=", "http:", "https:", "@import", "url("] {
        assert!(!page.contains(other), "{other}");
    }
}

/// `promtool` comes with Debian's package `prometheus`.
fn check_with_promtool(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn every_metric_has_a_help_line_and_a_type() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), "");
    let text = appliance.metrics();
    let described = |kind: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
        lines
            .filter_map(|rest| rest.split(' ').next())
            .map(str::to_owned)
            .collect()
    };
    let (helped, typed) = (described("# HELP "), described("# TYPE "));
    assert_eq!(helped, typed);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let stem = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        assert!(
            typed.iter().any(|known| known == name || known == stem),
            "{line}"
        );
    }
}

#[test]
fn only_questions_are_answered() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), "");
    let mut client = http::Client::connect(appliance.admin).unwrap();
    for path in ["/metrics", "/healthz", "/readyz", "/status", "/steering"] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let refused = client
                .request(method, path, &["Content-Length: 0"])
                .unwrap();
            assert_eq!(
                (refused.status, refused.field("Allow")),
                (405, Some("GET,HEAD")),
                "{method} {path}"
            );
        }
        let head = client.request("HEAD", path, &[]).unwrap();
        assert!(head.status == 200 && head.body.is_empty(), "{path}");
    }
    assert_eq!(client.get("/drain", &[]).unwrap().status, 404);
}

#[test]
fn the_metrics_address_is_for_those_who_are_named() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), "");
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(
            http::get(appliance.metrics, path, &[]).unwrap().status,
            200,
            "{path}"
        );
    }
    for path in ["/status", "/steering"] {
        assert_eq!(
            http::get(appliance.metrics, path, &[]).unwrap().status,
            404,
            "{path}"
        );
    }
    let mut config = (*appliance.shared.config.load_full()).clone();
    config.listen.metrics_allow = vec!["192.0.2.0/24".parse().unwrap()];
    appliance.shared.config.store(Arc::new(config));
    let refused = http::get(appliance.metrics, "/metrics", &[]).unwrap();
    assert_eq!(refused.status, 403);
    assert!(
        String::from_utf8(refused.body)
            .unwrap()
            .contains("127.0.0.1 is not in listen.metrics_allow")
    );
    assert_eq!(appliance.get("/metrics").status, 200);
}

#[test]
fn the_status_tells_of_the_whole_box() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), "");
    appliance.eventually("the devices are known", |it| {
        it.status().devices.iter().all(|device| device.id.is_some())
    });
    let status = appliance.status();
    assert_eq!(
        (status.id.as_str(), status.site.as_str()),
        ("c001.fra001.example", "fra001.example")
    );
    assert_eq!((status.state, status.causes.len()), (State::Ok, 0));
    assert!(!status.backend.name.is_empty() && !status.backend.reason.is_empty());
    assert!(
        status
            .sandbox
            .as_ref()
            .is_some_and(|sandbox| sandbox.enforced)
    );
    assert_eq!(status.workers.len(), 2);
    assert!(status.workers.iter().all(|worker| worker.alive));
    let names: Vec<&str> = status
        .devices
        .iter()
        .map(|device| device.name.as_str())
        .collect();
    assert_eq!(names, ["nvme0", "nvme1"]);
    assert!(status.memory.in_flight_budget > 0);
    let Response::Status(same) = appliance.ask(&Request::Status) else {
        panic!("no status")
    };
    assert_eq!((same.id, same.devices.len()), (status.id, 2));
}

#[test]
fn a_dead_device_is_a_cause_and_no_reason_to_leave() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), "");
    appliance.eventually("ready", |it| it.get("/readyz").status == 200);
    std::fs::rename(folder.path().join("nvme1"), folder.path().join("elsewhere")).unwrap();
    appliance.eventually("the cause is shown", |it| {
        it.status().state == State::Degraded
    });
    let status = appliance.status();
    assert_eq!(
        (
            status.causes[0].component.as_str(),
            status.causes[0].subject.as_str()
        ),
        ("device", "nvme1")
    );
    assert_ne!(status.devices[1].state, DeviceState::Ok);
    let ready = appliance.get("/readyz");
    assert!(
        ready.status == 200
            && String::from_utf8(ready.body)
                .unwrap()
                .contains("device nvme1")
    );
    std::fs::rename(
        folder.path().join("nvme0"),
        folder.path().join("elsewhere0"),
    )
    .unwrap();
    appliance.eventually("no device is left", |it| it.status().state == State::Down);
    assert_eq!(
        (
            appliance.get("/healthz").status,
            appliance.get("/readyz").status
        ),
        (503, 503)
    );
    assert!(!appliance.hint().facts.accepting);
    std::fs::rename(folder.path().join("elsewhere"), folder.path().join("nvme1")).unwrap();
    std::fs::rename(
        folder.path().join("elsewhere0"),
        folder.path().join("nvme0"),
    )
    .unwrap();
    appliance.eventually("well again", |it| it.status().state == State::Ok);
}

#[test]
fn a_worker_that_stands_still_is_a_cause() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), "");
    appliance.shared.workers[0].due_ms.set(0);
    appliance.eventually("the cause is shown", |it| {
        it.status().state == State::Degraded
    });
    let status = appliance.status();
    assert_eq!(
        (
            status.causes[0].component.as_str(),
            status.causes[0].subject.as_str()
        ),
        ("worker", "0")
    );
    assert!(!status.workers[0].alive && status.workers[1].alive);
    assert_eq!(status.workers[0].relieved_by, Some(1));
    let detail = &status.causes[0].detail;
    assert!(detail.ends_with("; worker 1 accepts for it"), "{detail}");
    appliance.shared.workers[1].due_ms.set(0);
    appliance.eventually("none turns", |it| it.get("/healthz").status == 503);
}

const QUICK: &str = "[steering]\nservice_addresses = [\"192.0.2.1\"]\nhint_lifetime = \"1 s\"\ncapacity = \"10 Gbit/s\"\n";

fn drain() -> Request {
    Request::Drain {
        by: "ada".into(),
        reason: Some("new fans".into()),
        force: false,
    }
}

#[test]
fn a_drain_lasts_until_undrain_over_restarts() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), QUICK);
    appliance.eventually("ready", |it| it.get("/readyz").status == 200);
    let before = appliance.hint();
    assert_eq!(before.facts.capacity.unwrap().left, 9_000_000_000);
    appliance.shared.workers[0].transfers.set(3);

    let Response::Drain(told) = appliance.ask(&drain()) else {
        panic!("refused")
    };
    assert_eq!((told.by.as_str(), told.transfers), ("ada", 3));
    let hint = appliance.hint();
    assert!(hint.serial > before.serial && !hint.facts.accepting);
    assert_eq!(
        (hint.facts.state, hint.facts.capacity.unwrap().left),
        (steering::State::Draining, 0)
    );
    assert_eq!(
        (
            appliance.get("/readyz").status,
            appliance.get("/healthz").status
        ),
        (503, 200)
    );
    appliance.eventually("new viewers are refused once no hint counts", |it| {
        it.shared.service() == Service::Drained
    });
    assert_eq!(appliance.status().state, State::Draining);
    appliance.shared.workers[0].transfers.set(0);
    appliance.eventually("nothing runs", |it| it.status().state == State::Drained);
    drop(appliance);

    let appliance = Appliance::start(folder.path(), QUICK);
    assert_eq!(appliance.shared.service(), Service::Drained);
    assert_eq!(
        appliance.status().drain.unwrap().reason.as_deref(),
        Some("new fans")
    );
    assert_eq!(
        appliance.ask(&Request::Undrain { by: "bob".into() }),
        Response::Undrain { state: State::Ok }
    );
    assert_eq!(
        (appliance.shared.service(), appliance.get("/readyz").status),
        (Service::Serving, 200)
    );
    drop(appliance);
    let appliance = Appliance::start(folder.path(), QUICK);
    assert_eq!(
        (appliance.shared.service(), appliance.status().drain),
        (Service::Serving, None)
    );
}

#[test]
fn what_outlasts_the_bound_of_a_drain_is_cut() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), &format!("{QUICK}drain_bound = \"2 s\"\n"));
    appliance.shared.workers[1].transfers.set(2);
    assert!(matches!(appliance.ask(&drain()), Response::Drain(_)));
    appliance.eventually("the bound passes", |it| it.shared.service() == Service::Cut);
    appliance.eventually("it is told", |it| it.status().state == State::DrainedForced);
    assert_eq!(appliance.status().drain.unwrap().cut, 2);
}

#[test]
fn a_drain_that_cannot_be_kept_says_so_and_happens() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), "");
    std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    let Response::Refused(refusal) = appliance.ask(&drain()) else {
        panic!("kept where there is no folder")
    };
    assert_eq!(refusal.fault, Fault::Disk);
    assert!(
        refusal.message.contains("is draining") && refusal.message.contains("drain.json"),
        "{refusal}"
    );
    assert_eq!(appliance.status().state, State::Draining);
}

#[test]
fn the_operator_socket_refuses_garbage_and_goes_on() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), "");
    let mut stream = UnixStream::connect(appliance.shared.config.load().daemon_socket()).unwrap();
    let mut reading = BufReader::new(stream.try_clone().unwrap());
    let mut asked = |line: &[u8]| -> Response {
        stream.write_all(line).unwrap();
        let mut answer = Vec::new();
        reading.read_until(b'\n', &mut answer).unwrap();
        operator::decode(&answer).unwrap()
    };
    for garbage in [
        &b"hello\n"[..],
        b"\n",
        b"{\"protocol\":9,\"request\":\"status\"}\n",
        b"\xff\xfe\n",
    ] {
        let Response::Refused(refusal) = asked(garbage) else {
            panic!("not refused")
        };
        assert_eq!(refusal.fault, Fault::Request);
    }
    assert!(matches!(
        asked(&operator::encode(&Request::Generation)),
        Response::Generation(_)
    ));
    let Response::Refused(refusal) = asked(&[b'x'; 100_000]) else {
        panic!("not refused")
    };
    assert_eq!(refusal.fault, Fault::Request);
}

#[test]
fn the_serial_of_a_hint_rises_only_when_it_says_something_else() {
    let folder = folder();
    let appliance = Appliance::start(folder.path(), QUICK);
    appliance.eventually("ready", |it| it.hint().facts.accepting);
    let first = appliance.hint();
    appliance.eventually("a new expiry", |it| it.hint().expires > first.expires);
    assert_eq!(appliance.hint().serial, first.serial);
    // A stream of 1 Gbit/s and more.
    appliance.eventually("egress is seen", |it| {
        it.shared.workers[0].body_bytes.add(1 << 26);
        it.hint().facts.capacity.unwrap().current > 0
    });
    let loaded = appliance.hint();
    assert!(loaded.serial > first.serial && loaded.facts.capacity.unwrap().left < 9_000_000_000);
}
