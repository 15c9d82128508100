//! The test of everything, for `ocactl selftest` and before a drain ends: what health knows, as of now and without waiting for a third
//! look, and what only a test can tell: whether each listener answers, and each disk gives what is on it rather than in memory.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use content_store::device::IDENTITY_FILE;
use protocol::status::{Check, Listener, ListenerPurpose, Scope, SelfTestReport, State};
use steering::health::{Component, Sample};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::again::is_local;
use super::{ask_each, judged};
use crate::admin::observation::Observation;
use crate::admin::{health, words};
use crate::control::Control;
use crate::limits::SELF_TEST_WAIT;
use crate::shared::Service;

/// Trial reads that have not come back, by device: a disk that hangs gets no second one.
#[derive(Debug, Default)]
pub(in crate::control) struct Trials(Vec<Arc<AtomicBool>>);

impl Control {
    /// Lets connections in for the test if they are refused; the caller looks again how they are to be served.
    pub(in crate::control) async fn test_everything(&mut self) -> SelfTestReport {
        let begun = Instant::now();
        if self.shared.service().refuses() {
            self.shared.change_service(Service::Draining);
        }
        let config = self.shared.config.load_full();
        let roots: Vec<PathBuf> = config.devices().map(|it| it.1.to_path_buf()).collect();
        let addresses = &config.steering.service_addresses;
        let (asked, served, read) = tokio::join!(
            ask_each(&self.shared.listening),
            ask_services(addresses, &self.shared.listening),
            self.trials.read_each(roots)
        );
        self.testing.note(judged(&asked));
        let observed = Observation::of(&self.shared);
        let samples = health::samples(
            &observed,
            self.held.held(),
            &self.testing.latest,
            self.capacity_of(&observed).as_ref(),
        );
        let mut checks: Vec<Check> = asked.iter().map(of_listener).collect();
        checks.extend(served);
        let known = samples.iter().filter(|it| is_worth_a_line(it));
        checks.extend(known.map(of_sample));
        add_reads(&mut checks, &observed, &read);
        SelfTestReport {
            as_of: observed.unix.seconds(),
            took_ms: begun.elapsed().as_millis() as u64,
            result: worst(&checks),
            checks,
        }
    }
}

impl Trials {
    async fn read_each(&mut self, roots: Vec<PathBuf>) -> Vec<Result<(), String>> {
        self.0.resize_with(roots.len(), Arc::default);
        let mut reading = JoinSet::new();
        for (at, root) in roots.into_iter().enumerate() {
            let is_out = Arc::clone(&self.0[at]);
            reading.spawn(async move { (at, trial(root, is_out).await) });
        }
        let mut read = reading.join_all().await;
        read.sort_by_key(|(at, _)| *at);
        read.into_iter().map(|(_, result)| result).collect()
    }
}

/// Reads the device's identity past the page cache, on a thread that may hang with the disk.
async fn trial(root: PathBuf, is_out: Arc<AtomicBool>) -> Result<(), String> {
    let hangs = || "a read from it does not come back".to_owned();
    if is_out.swap(true, Relaxed) {
        return Err(hangs());
    }
    let reading = spawn_blocking(move || {
        let read = read(&root);
        is_out.store(false, Relaxed);
        read
    });
    match timeout(SELF_TEST_WAIT, reading).await {
        Ok(Ok(read)) => read.map_err(|error| format!("a read from it failed: {error}")),
        Ok(Err(panicked)) => Err(panicked.to_string()),
        Err(_) => Err(hangs()),
    }
}

fn read(root: &Path) -> std::io::Result<()> {
    platform::file::read_past_cache(&root.join(IDENTITY_FILE)).map(drop)
}

fn of_listener((listener, answered): &(Listener, Result<(), String>)) -> Check {
    let purpose = match listener.purpose {
        ListenerPurpose::Https => "https",
        _ => "http",
    };
    check(
        "listener",
        format!("{purpose} {}", listener.address),
        answered.clone().map_err(|why| (State::Down, why)),
    )
}

/// Viewers who are sent to an address that nobody serves here may be served elsewhere, as behind address translation: that is
/// said, and does not keep the box out of service. Of those that are served here, one must answer.
async fn ask_services(addresses: &[IpAddr], listening: &[Listener]) -> Vec<Check> {
    let here = addresses.iter().map(|ip| served_here(*ip, listening));
    let here: Vec<Result<Listener, String>> = here.collect();
    let served: Vec<Listener> = here.iter().flatten().cloned().collect();
    let mut asked = ask_each(&served).await.into_iter();
    let none_answers = !served.is_empty() && asked.as_slice().iter().all(|it| it.1.is_err());
    let found = here.into_iter().map(|here| match here {
        Ok(_) => asked.next().map_or(Ok(()), |(_, answered)| answered),
        Err(why) => Err(why),
    });
    let line = |(ip, found): (&IpAddr, Result<(), String>)| {
        let found = found.map_err(|why| (State::Degraded, why));
        check("service-address", ip.to_string(), found)
    };
    let mut checks: Vec<Check> = addresses.iter().zip(found).map(line).collect();
    if none_answers {
        let found = Err((State::Down, "no service address answers".to_owned()));
        checks.push(check("service-address", String::new(), found));
    }
    checks
}

/// Where viewers of `ip` come in.
///
/// # Errors
/// It is not served here: why.
pub(crate) fn served_here(ip: IpAddr, listening: &[Listener]) -> Result<Listener, String> {
    let serves = |it: &&Listener| {
        let own = it.address.ip();
        own == ip || own.is_unspecified() && own.is_ipv4() == ip.is_ipv4()
    };
    let listener = listening.iter().find(serves);
    let listener = listener.ok_or_else(|| format!("nothing listens at {ip}: see [listen]"))?;
    let address = SocketAddr::new(ip, listener.address.port());
    is_local(address)?;
    Ok(Listener {
        address,
        ..listener.clone()
    })
}

/// That not all workers hang, say, is no news beside a line for each of them.
fn is_worth_a_line(sample: &Sample) -> bool {
    let is_summary = sample.subject.is_empty()
        && matches!(
            sample.component,
            Component::Device | Component::Worker | Component::Interface | Component::Certificate
        );
    let is_fine = sample.severity == steering::health::Severity::Ok;
    // Listeners and service addresses were just asked.
    let was_asked = matches!(
        sample.component,
        Component::SelfTest | Component::ServiceAddress
    );
    !(was_asked || is_summary && is_fine)
}

fn of_sample(sample: &Sample) -> Check {
    Check {
        component: sample.component.as_str().to_owned(),
        subject: sample.subject.clone(),
        scope: words::scope(sample.component.scope()),
        result: words::severity(sample.severity),
        detail: sample.detail.clone(),
    }
}

/// A device that health believes in must give what is on it.
fn add_reads(checks: &mut Vec<Check>, observed: &Observation, read: &[Result<(), String>]) {
    let mut none_works = true;
    for (device, read) in observed.devices.iter().zip(read) {
        let is_its = |it: &&mut Check| it.component == "device" && it.subject == device.name;
        match (read, device.state().is_read()) {
            (Ok(()), true) => none_works = false,
            (Err(why), true) => {
                if let Some(check) = checks.iter_mut().find(is_its) {
                    check.result = State::Degraded;
                    check.detail.clone_from(why);
                }
            }
            (_, false) => {}
        }
    }
    let is_said = |it: &Check| it.component == "device" && it.subject.is_empty();
    if none_works && !checks.iter().any(is_said) {
        let found = Err((State::Down, "no device gives what is on it".to_owned()));
        checks.push(check("device", String::new(), found));
    }
}

fn check(component: &str, subject: String, found: Result<(), (State, String)>) -> Check {
    let (result, detail) = found.err().unwrap_or((State::Ok, String::new()));
    Check {
        component: component.to_owned(),
        subject,
        scope: Scope::Local,
        result,
        detail,
    }
}

/// Of this box's own.
fn worst(checks: &[Check]) -> State {
    let is = |state| {
        let mut local = checks.iter().filter(|it| it.scope == Scope::Local);
        local.any(|it| it.result == state)
    };
    if is(State::Down) {
        State::Down
    } else if is(State::Degraded) {
        State::Degraded
    } else {
        State::Ok
    }
}
