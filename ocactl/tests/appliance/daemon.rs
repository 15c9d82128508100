//! A daemon of a few lines, and what it may say.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

use super::Appliance;
use protocol::fill::Activity;
use protocol::operator::{self, Request, Response};
use protocol::status::{
    Backend, Catalog, Certificate, Device, DeviceState, Directness, Drain, Filling, Listener,
    ListenerPurpose, Memory, Reporting, SelfTest, Space, State, Status, Tls, Worker,
};

/// Answers each request with what `answer` says; notes what was asked.
pub(crate) fn daemon(
    appliance: &Appliance,
    mut answer: impl FnMut(&Request) -> Response + Send + 'static,
) -> Arc<Mutex<Vec<Request>>> {
    let listener = UnixListener::bind(appliance.path("run/daemon.sock")).expect("a new socket");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut line = Vec::new();
            let mut reader = BufReader::new(stream);
            let read = reader
                .read_until(b'\n', &mut line)
                .expect("ocactl writes a line");
            if read == 0 {
                continue;
            }
            let request = operator::decode(&line).expect("ocactl speaks the protocol");
            let response = answer(&request);
            notes.lock().expect("no panic holds it").push(request);
            reader
                .get_mut()
                .write_all(&operator::encode(&response))
                .expect("ocactl reads a line");
        }
    });
    asked
}

pub(crate) fn status(state: State) -> Status {
    Status {
        format: protocol::status::STATUS_FORMAT,
        version: "0.1.0".into(),
        id: "c001.fra001.example".into(),
        site: "fra001.example".into(),
        as_of: 1_790_000_000,
        started: 1_789_900_000,
        state,
        causes: Vec::new(),
        drain: None,
        self_test: SelfTest::Passed,
        backend: Backend {
            name: "uring".into(),
            reason: "all that is needed works".into(),
        },
        sandbox: None,
        listeners: vec![Listener {
            address: "127.0.0.1:8080".parse().expect("an address"),
            purpose: ListenerPurpose::Http,
        }],
        workers: vec![Worker {
            index: 0,
            core: Some(0),
            alive: true,
            relieved_by: None,
            connections: 12,
            loop_lag_ms: 1,
        }],
        devices: vec![device("hdd0", DeviceState::Ok)],
        interfaces: Vec::new(),
        egress: 4_000_000_000,
        capacity: Some(10_000_000_000),
        memory: Memory {
            budget: 1 << 30,
            locked: 1 << 29,
            ..Memory::default()
        },
        catalog: Catalog {
            generation: 7,
            oldest_in_use: 7,
            objects: 4,
            paths: 5,
            ..Catalog::default()
        },
        tls: Some(tls()),
        report: Some(reporting()),
        bgp: None,
        fill: Some(filling()),
    }
}

fn filling() -> Filling {
    Filling {
        told: 1_789_999_997,
        activity: Activity::Closed,
        why: "the window opens at 02:00".into(),
        window_open: false,
        rate_now: 0,
        progress: Default::default(),
        manifest: None,
        held: None,
    }
}

fn reporting() -> Reporting {
    Reporting {
        url: "https://control.example/".into(),
        answered: Some(1_789_999_940),
        tried: Some(1_789_999_998),
        problem: "answered 503: busy".into(),
    }
}

pub(crate) fn tls() -> Tls {
    Tls {
        certificates: vec![Certificate {
            cert: "/etc/oca/tls/chain.pem".into(),
            key: "/etc/oca/tls/key.pem".into(),
            names: vec!["media.example".into(), "*.media.example".into()],
            key_type: "ECDSA P-256".into(),
            not_after: 1_790_864_000,
            loaded: 1_789_900_000,
        }],
        reloaded: Some(1_789_999_940),
        problems: vec!["/etc/oca/tls/key.pem: is empty".into()],
        failures: 1,
        paths: Vec::new(),
    }
}

pub(crate) fn device(name: &str, state: DeviceState) -> Device {
    Device {
        name: name.into(),
        path: format!("/srv/oca/{name}"),
        tier: "hdd".into(),
        role: Some(protocol::config::TierRole::Capacity),
        id: None,
        state,
        cause: String::new(),
        directness: Directness::Direct,
        space: Some(Space {
            total: 2 << 40,
            available: 1 << 40,
            read_only: false,
        }),
        objects: 1,
        queue_length: 2,
        in_flight: 1,
        errors: 0,
        checksum_failures: 0,
        wear: Vec::new(),
    }
}

pub(crate) fn drain(transfers: u64) -> Drain {
    Drain {
        since: 1_789_999_940,
        by: "ada".into(),
        reason: Some("new fans".into()),
        transfers,
        connections: 3,
        hints_expire: 1_790_000_000,
        forced_at: 1_790_007_140,
        cut: 0,
    }
}
