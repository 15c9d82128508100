//! The screen as a whole, and never larger than a terminal.

use jiff::tz::TimeZone;
use protocol::bgp::{Bgp, Feed, Learned, Neighbor};
use protocol::config::{NeighborRole, TierRole};
use protocol::fill::{Activity, Progress};
use protocol::status::{
    Backend, Catalog, Cause, Device, DeviceState, Directness, Drain, Filling, Memory, Reporting,
    STATUS_FORMAT, Scope, SelfTest, Space, State, Status, Worker,
};

use super::screen;
use crate::clock::Clock;
use crate::layout::COLUMNS;

const NOW: u64 = 1_795_255_083;
const ROWS: usize = 24;

fn serving() -> Status {
    Status {
        format: STATUS_FORMAT,
        version: "0.1.0".into(),
        id: "c001.fra001.example".into(),
        site: "fra001.example".into(),
        as_of: NOW - 2,
        started: NOW - 90_000,
        state: State::Degraded,
        causes: vec![cause()],
        drain: None,
        self_test: SelfTest::Passed,
        backend: Backend {
            name: "uring".into(),
            reason: String::new(),
        },
        sandbox: None,
        listeners: Vec::new(),
        workers: vec![worker(0, true), worker(1, true)],
        devices: [
            ("nvme0", "nvme"),
            ("nvme1", "nvme"),
            ("hdd0", "hdd"),
            ("hdd1", "hdd"),
        ]
        .map(|(name, tier)| device(name, tier))
        .into(),
        interfaces: Vec::new(),
        egress: 41_200_000_000,
        capacity: Some(85_000_000_000),
        memory: Memory {
            budget: 96 << 30,
            locked: 95 << 30,
            in_flight_budget: 16 << 30,
            in_flight: 3 << 30,
            remark: String::new(),
        },
        catalog: Catalog {
            generation: 7,
            objects: 181_204,
            bytes: 61 << 40,
            incomplete: 812,
            ..Catalog::default()
        },
        tls: None,
        report: Some(Reporting {
            url: "https://control.example/".into(),
            answered: Some(NOW - 5),
            tried: Some(NOW - 5),
            problem: String::new(),
        }),
        fill: Some(filling()),
        bgp: Some(bgp()),
    }
}

fn cause() -> Cause {
    Cause {
        component: "device".into(),
        subject: "nvme1".into(),
        scope: Scope::Local,
        severity: State::Degraded,
        detail: "no read has come back for 30 s; what it alone holds is not served".into(),
        since: NOW - 1_000,
    }
}

fn filling() -> Filling {
    Filling {
        told: NOW - 5,
        activity: Activity::Filling,
        why: "fetching 3 objects from 2 sources".into(),
        window_open: true,
        rate_now: 1_187_000_000,
        progress: Progress {
            objects: 880,
            objects_done: 357,
            bytes: 1000 << 30,
            bytes_done: 412 << 30,
            ..Progress::default()
        },
        manifest: None,
        held: None,
    }
}

fn worker(index: u32, alive: bool) -> Worker {
    Worker {
        index,
        core: Some(index),
        alive,
        relieved_by: None,
        connections: 4_100,
        loop_lag_ms: 1,
    }
}

fn device(name: &str, tier: &str) -> Device {
    Device {
        name: name.into(),
        path: format!("/srv/oca/{name}"),
        tier: tier.into(),
        role: Some(TierRole::Hot),
        id: None,
        state: match name {
            "nvme1" => DeviceState::Failed,
            _ => DeviceState::Ok,
        },
        cause: String::new(),
        directness: Directness::Direct,
        space: (name != "nvme1").then_some(Space {
            total: 16 << 40,
            available: 2 << 40,
            read_only: false,
        }),
        objects: 90_000,
        queue_length: 4,
        in_flight: 8,
        errors: 0,
        checksum_failures: 0,
        wear: Vec::new(),
    }
}

fn bgp() -> Bgp {
    Bgp {
        router_id: [192, 0, 2, 1].into(),
        neighbors: vec![Neighbor {
            address: [198, 51, 100, 1].into(),
            local_as: 64_512,
            remote_as: 64_496,
            role: NeighborRole::Listen,
            state: "established".into(),
            established: Some(80_000),
            agreed: None,
            ending: String::new(),
            ended: None,
            learned: Some(Learned {
                ipv4: 812,
                ipv6: 64,
                stale: 0,
                maximum: 2_000,
                refused: Vec::new(),
            }),
            advertised: Vec::new(),
            messages: Vec::new(),
            sessions: 1,
            discarded: 0,
            withdrawn: 0,
            late_keepalives: 0,
        }],
        services: Vec::new(),
        feed: Feed::Learned,
    }
}

fn shown(status: &Status) -> String {
    let clock = Clock {
        now: NOW,
        zone: TimeZone::UTC,
    };
    let text = screen(status, &clock);
    for line in text.lines() {
        assert!(line.chars().count() <= COLUMNS, "{line}");
    }
    text
}

#[test]
fn a_serving_box_fits_into_a_terminal() {
    let text = shown(&serving());
    assert_eq!(text, include_str!("tests/serving.txt").trim_end());
    assert!(text.lines().count() <= ROWS, "{text}");
}

#[test]
fn what_is_wrong_is_said_before_what_is_well() {
    let mut status = serving();
    status.state = State::Draining;
    status.drain = Some(Drain {
        since: NOW - 62,
        by: "ada".into(),
        reason: Some("new fans".into()),
        transfers: 3,
        connections: 9,
        hints_expire: NOW + 30,
        forced_at: NOW + 7_138,
        cut: 0,
    });
    status.workers = vec![worker(0, true), worker(1, false)];
    status
        .devices
        .extend((0..40).map(|number| device(&format!("hdd{number}"), "cold")));
    let neighbor = &mut status.bgp.as_mut().unwrap().neighbors[0];
    neighbor.state = "active".into();
    neighbor.ending = "the neighbour sent Cease/Administrative Shutdown".into();
    let text = shown(&status);
    let first: Vec<&str> = text.lines().take(ROWS).collect();
    assert_eq!(
        first.join("\n").trim_end(),
        include_str!("tests/draining.txt").trim_end()
    );
}

/// The largest amounts and the longest words, and nothing at all.
#[test]
fn nothing_is_wider_than_a_terminal() {
    let mut status = serving();
    for device in &mut status.devices {
        device.name = "n".repeat(60);
        device.tier = "t".repeat(60);
        device.state = DeviceState::Evacuating;
        device.queue_length = 99_999;
        device.errors = 99_999_999;
        device.space = Some(Space {
            total: 1023 << 40,
            available: 1023 << 40,
            read_only: false,
        });
    }
    status.egress = 999_900_000_000;
    status.capacity = Some(999_900_000_000);
    shown(&status);
    status.devices.clear();
    status.workers.clear();
    status.causes.clear();
    status.capacity = Some(0);
    status.fill = None;
    status.report = None;
    status.bgp = None;
    shown(&status);
}
