//! What `ocactl check` looks at, with what to do about it, and whether the daemon sees the devices as this command does.

use std::path::Path;

use protocol::config::Config;
use protocol::fill::{Activity, Request};
use protocol::service::{self, Service};
use protocol::status::{Device, DeviceState, Directness, SelfTest, State, Status};

use super::{Finding, Level};
use crate::agent::Agent;
use crate::check::{self, Check};
use crate::daemon::Daemon;
use crate::store::{self, Probed};

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let probed = store::probe(config);
    let mut findings: Vec<Finding> = check::besides_devices(config, &probed)
        .iter()
        .map(of_check)
        .collect();
    let status = Daemon::at(config.daemon_socket()).status().ok();
    if let Some(status) = &status {
        findings.extend(of_daemon(status));
    }
    findings.extend(probed.iter().map(|device| {
        let judged = status.as_ref().and_then(|it| judged(it, &device.root));
        of_device(config, device, judged)
    }));
    findings.extend(of_agent(config));
    findings
}

/// A line of `ocactl check`, with why and what to do.
fn of_check(check: &Check) -> Finding {
    let level = match check.level {
        check::Level::Ok => return Finding::ok(&check.subject, &check.detail),
        check::Level::Warn => Level::Warn,
        check::Level::Fail => Level::Fail,
    };
    let (subject, argument) = check
        .subject
        .split_once(' ')
        .unwrap_or((&check.subject, ""));
    let (why, mend) = match subject {
        "state_dir" => (
            "catalog and progress lie there",
            format!("install -d -o oca -g oca -m 0750 {argument}"),
        ),
        "run_dir" => (
            "the sockets by which the programs are asked lie there",
            format!("install -d -o oca -g oca -m 0750 {argument}"),
        ),
        "user" => (
            "some of what follows may be seen wrongly",
            "runuser -u oca -- ocactl doctor".to_owned(),
        ),
        "catalog" => (
            "it says what is served, and where it lies",
            "ocactl catalog check; ocactl catalog rebuild".to_owned(),
        ),
        "objects" => (
            "they are answered 503 until it is back, or what it held is fetched again",
            "ocactl device ls".to_owned(),
        ),
        "memory" => (
            "what is watched most would come from the devices instead",
            more_memory(),
        ),
        "daemon" => ("nobody is served without it", enabled(service::DAEMON)),
        "certificate" | "certificates" => (
            "viewers are shown what was loaded before, until it ends",
            "ocactl tls check".to_owned(),
        ),
        _ => ("the appliance needs it", "ocactl check".to_owned()),
    };
    Finding::new(&check.subject, level, &check.detail, why, mend)
}

/// Starts it, and shows what comes of it.
fn enabled(service: Service) -> String {
    format!("{}; {}", service.enable(), service.log())
}

fn more_memory() -> String {
    let advice = platform::file::lock_limit_advice();
    format!("{advice}; or a smaller workers.memory")
}

fn of_daemon(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    for cause in &status.causes {
        let level = match cause.severity {
            State::Down => Level::Fail,
            _ => Level::Warn,
        };
        let subject = format!("{} {}", cause.component, cause.subject);
        let why = match cause.severity {
            State::Down => "no viewer is sent here",
            _ => "the box serves, and not all of what it could",
        };
        findings.push(Finding::new(
            subject.trim(),
            level,
            &cause.detail,
            why,
            format!("ocactl status; {}", service::DAEMON.log()),
        ));
    }
    if let SelfTest::Failed(detail) = &status.self_test {
        let why =
            "the daemon could not fetch from itself what a viewer would, so no viewer is sent here";
        findings.push(Finding::new(
            "self-test",
            Level::Fail,
            detail,
            why,
            service::DAEMON.log(),
        ));
    }
    if !status.memory.remark.is_empty() {
        let why = "what is watched most would come from the devices instead";
        let mend = more_memory();
        findings.push(Finding::new(
            "memory tier",
            Level::Warn,
            &status.memory.remark,
            why,
            mend,
        ));
    }
    findings
}

fn judged<'s>(status: &'s Status, root: &Path) -> Option<&'s Device> {
    let mut devices = status.devices.iter();
    devices.find(|device| Path::new(&device.path) == root)
}

/// What is found here, held against the daemon's word: one that reads a disk which nobody else can read, or the other way round,
/// is not to be believed.
fn of_device(config: &Config, device: &Probed, judged: Option<&Device>) -> Finding {
    let root = device.root.display().to_string();
    let subject = format!("device {root}");
    let (state, detail) = match &device.found {
        Ok(_) => {
            let check = check::of_device(config, device);
            if check.level != check::Level::Ok {
                let why = "its speed, or what is placed on it, is not what the tier promises";
                return Finding::new(
                    subject,
                    Level::Warn,
                    check.detail,
                    why,
                    "ocactl device ls; the [[tier]] of the configuration",
                );
            }
            (DeviceState::Ok, check.detail)
        }
        Err(complaint) => (
            DeviceState::of_word(complaint.condition.as_str()),
            complaint.to_string(),
        ),
    };
    if let Some(finding) = judged.and_then(|judged| of_verdict(&root, state, judged)) {
        return finding;
    }
    if state == DeviceState::Ok {
        return Finding::ok(subject, detail);
    }
    let level = if state.is_read() {
        Level::Warn
    } else {
        Level::Fail
    };
    let why = if state.is_read() {
        "it is read; nothing new is written to it"
    } else {
        "what it alone holds is answered 503; what has a copy comes from there"
    };
    Finding::new(subject, level, detail, why, mend_device(state, &root))
}

/// What the daemon says of it otherwise.
fn of_verdict(root: &str, state: DeviceState, judged: &Device) -> Option<Finding> {
    let subject = format!("device {root}");
    if judged.state.is_read() != state.is_read() {
        let what = format!(
            "this command finds it {}, the daemon {}: {}",
            state.as_str(),
            judged.state.as_str(),
            judged.cause
        );
        let why = "one of the two is wrong: a device that only now came back, or a service that sees other mounts than you do";
        let mend = format!(
            "findmnt {root}; nsenter -t $(pgrep -xo oca-daemon) -m findmnt {root}; ocactl device online {root}"
        );
        return Some(Finding::new(subject, Level::Warn, what, why, mend));
    }
    if state == DeviceState::Ok && judged.directness == Directness::Buffered {
        let why = "each read then goes through the page cache, which costs memory bandwidth and throws out what is watched";
        return Some(Finding::new(
            subject,
            Level::Advice,
            "its file system refuses O_DIRECT",
            why,
            format!("a disk of its own with ext4 or xfs at {root}"),
        ));
    }
    None
}

fn mend_device(state: DeviceState, root: &str) -> String {
    match state {
        DeviceState::Ok => String::new(),
        DeviceState::Missing => {
            format!("findmnt {root}; mount {root}; a new disk: ocactl device add {root}")
        }
        DeviceState::Empty => format!("ocactl device replace {root}"),
        DeviceState::Swapped => "ocactl device ls; mount each disk where it belongs".to_owned(),
        DeviceState::Offline | DeviceState::Returned => format!("ocactl device online {root}"),
        DeviceState::Evacuating => format!("ocactl device ls; ocactl device remove {root}"),
        DeviceState::Full => format!("df -h {root}; df -i {root}"),
        DeviceState::ReadOnly | DeviceState::Suspect | DeviceState::Failed => {
            format!(
                "dmesg | tail; smartctl -a $(findmnt -no SOURCE {root}); ocactl device evacuate {root}"
            )
        }
    }
}

fn of_agent(config: &Config) -> Option<Finding> {
    config.fill.as_ref()?;
    let subject = "fill agent";
    Some(match Agent::of(config).status(&Request::Status) {
        Ok(status) if status.activity == Activity::Blocked => {
            let why = "the box serves what it has, and gets nothing new";
            Finding::new(subject, Level::Warn, &status.why, why, "ocactl fill status")
        }
        Ok(status) => Finding::ok(
            subject,
            format!("{}: {}", status.activity.as_str(), status.why),
        ),
        Err(error) => {
            let why = "the box serves what it has; nothing new comes, nothing is repaired, and takedowns wait";
            Finding::new(
                subject,
                Level::Warn,
                error,
                why,
                enabled(service::FILL_AGENT),
            )
        }
    })
}
