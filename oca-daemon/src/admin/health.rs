//! What is found wrong in an [`Observation`], as samples for the health machine; and the answers of `/healthz` and `/readyz`.
//! Pure.
//!
//! | component | degraded | down |
//! |---|---|---|
//! | device | it is not read: suspect, failed, missing, swapped, empty, offline; or a column on it is bad | - |
//! | device, no subject | - | none answers |
//! | wear | a disk says that it wears out, or has lost data | - |
//! | worker | its loop does not turn | - |
//! | worker, no subject | - | no loop turns |
//! | interface | it serves, and has no link, lost links or speed, or errs | - |
//! | interface, no subject | - | of those that serve, none has a link |
//! | egress | more than the soft limit is sent | - |
//! | catalog | it cannot be followed | - |
//! | certificate | it ends within two weeks, or has ended | - |
//! | certificate, `reload` | a changed file cannot be used | - |
//! | certificate, no subject | - | none is valid, and nobody is served in clear |
//! | self-test | - | it failed |
//! | service-address | it does not answer, and others do | - |
//! | service-address, no subject | - | none answers |
//! | strict | - | no report was answered for as long as `control.strict` allows |
//! | control | no report was answered for some intervals | - |
//! | route-feed | there is no session with a router that says whom to serve | - |
//! | agent | it is to fill, and has not told of itself for a while | - |
//!
//! The last three are shared causes: they are shown, and never change the state.
//!
//! A memory tier that is smaller than wanted is a remark in `/status`, and no cause: the box serves all that it has, and a
//! machine that lets nobody lock memory would otherwise never be well.

mod certificate;

use std::iter::repeat;
use std::time::Duration;

use platform::device::Verdict;
use protocol::bgp::{Neighbor, Service};
use protocol::config::NeighborRole;
use protocol::status::SelfTest;
use steering::health::{Component, Sample, Severity};
use steering::hint::Capacity;

use super::held::Held;
use super::observation::{Observation, ObservedDevice};
use super::words;
use crate::control::Standing;
use crate::interfaces::{Interfaces, Serving};
use crate::limits::AGENT_SILENCE;
use crate::wear::Worn;

/// One sample for every subject that there is.
#[must_use]
pub fn samples(
    observed: &Observation,
    held: &Held,
    self_test: &SelfTest,
    capacity: Option<&Capacity>,
) -> Vec<Sample> {
    let mut samples = device_samples(observed, held);
    samples.extend(observed.worn.iter().map(wear_sample));
    samples.extend(worker_samples(observed));
    samples.extend(interface_samples(&observed.interfaces));
    samples.push(egress_sample(capacity));
    samples.push(catalog_sample(observed));
    samples.extend(certificate::samples(observed));
    samples.push(self_test_sample(self_test));
    samples.extend(service_samples(observed));
    samples.extend(control_samples(observed));
    samples.extend(agent_sample(observed));
    samples.extend(route_feed_samples(observed));
    samples
}

/// Service addresses that are announced to routers, or would be. Those of other systems are nobody's trouble here.
fn service_samples(observed: &Observation) -> Vec<Sample> {
    let services = observed.bgp.iter().flat_map(|bgp| &bgp.services);
    let asked: Vec<&Service> = services.filter(|it| it.is_here).collect();
    let one = |it: &&Service| {
        let lost = it.lost.clone();
        let severity = lost.as_ref().map(|_| Severity::Degraded);
        let subject = it.address.to_string();
        sample(Component::ServiceAddress, &subject, severity, || {
            lost.unwrap_or_default()
        })
    };
    let mut samples: Vec<Sample> = asked.iter().map(one).collect();
    let lost = asked.iter().map(|it| it.lost.is_some());
    samples.push(none_left(
        Component::ServiceAddress,
        lost,
        "no service address answers",
    ));
    samples
}

/// Sessions with routers that are listened to.
fn route_feed_samples(observed: &Observation) -> Vec<Sample> {
    let neighbors = observed.bgp.iter().flat_map(|bgp| &bgp.neighbors);
    let listened = neighbors.filter(|it| it.role == NeighborRole::Listen);
    let sample = |neighbor: &Neighbor| {
        let broken = neighbor.agreed.is_none().then_some(Severity::Degraded);
        sample(
            Component::RouteFeed,
            &neighbor.address.to_string(),
            broken,
            || {
                let why = match neighbor.ending.as_str() {
                    "" => "none has come about yet",
                    ending => ending,
                };
                format!("no BGP session with {}: {why}", neighbor.address)
            },
        )
    };
    listened.map(sample).collect()
}

/// The time is said as a point: a detail that changed with every look would be news each time.
fn control_samples(observed: &Observation) -> Vec<Sample> {
    let Some(report) = &observed.report else {
        return Vec::new();
    };
    let unheard = || {
        let since = report.answered.map_or_else(
            || "the start".to_owned(),
            |at| words::date(observed.unix_at(at)),
        );
        let problem = report.problem.as_deref().unwrap_or("none came in time");
        format!("no report was answered since {since}: {problem}")
    };
    let overdue = report.is_overdue(observed.now, observed.started);
    let overdue = overdue.then_some(Severity::Degraded);
    let mut samples = vec![sample(Component::Control, "", overdue, unheard)];
    let control = observed.config.control.as_ref();
    if let Some(strict) = control.and_then(|control| control.strict) {
        let silence = report.silence(observed.now, observed.started);
        let ended = (silence > strict.duration()).then_some(Severity::Down);
        samples.push(sample(Component::Strict, "", ended, || {
            format!("{}; control.strict allows {strict}", unheard())
        }));
    }
    samples
}

fn agent_sample(observed: &Observation) -> Option<Sample> {
    observed.config.fill.as_ref()?;
    let told = observed.fill.as_ref().map(|told| told.0);
    let last = told.unwrap_or(observed.started);
    let silence = observed.now.saturating_duration_since(last);
    Some(silence_sample(silence, || match told {
        Some(at) => words::date(observed.unix_at(at)),
        None => "the start".to_owned(),
    }))
}

fn silence_sample(silence: Duration, since: impl FnOnce() -> String) -> Sample {
    let silent = silence > AGENT_SILENCE;
    sample(
        Component::Agent,
        "",
        silent.then_some(Severity::Degraded),
        || {
            let since = since();
            format!("fill agent silent since {since}: is oca-fill-agent running?")
        },
    )
}

fn device_samples(observed: &Observation, held: &Held) -> Vec<Sample> {
    let bad = held.bad_by_device.iter().copied().chain(repeat(0));
    let devices = observed.devices.iter().zip(bad);
    let mut samples: Vec<Sample> = devices
        .map(|(device, bad)| device_sample(device, bad))
        .collect();
    let devices = observed.devices.iter();
    let lost = devices.map(|device| device.snapshot.verdict != Verdict::Ok);
    samples.push(none_left(Component::Device, lost, "no device answers"));
    samples
}

fn device_sample(device: &ObservedDevice, bad_columns: u64) -> Sample {
    let state = device.state();
    let is_ill = !state.is_read();
    let severity = (is_ill || bad_columns > 0).then_some(Severity::Degraded);
    sample(Component::Device, &device.name, severity, || {
        if is_ill {
            return format!("{}: {}", state.as_str(), device.cause());
        }
        format!(
            "{bad_columns} of its columns are bad and wait to be repaired: see `ocactl scrub status` and `ocactl fill status`"
        )
    })
}

/// Early: the disk is read on, and there is time to copy what it alone holds.
fn wear_sample(worn: &Worn) -> Sample {
    let Worn { disk, devices } = worn;
    let severity = (!disk.warnings.is_empty()).then_some(Severity::Degraded);
    sample(Component::Wear, &disk.name, severity, || {
        let said = disk.warnings.join("; ");
        match devices.first() {
            Some(device) => format!(
                "{said}. Copy what lies on it alone: ocactl device evacuate {}",
                device.display()
            ),
            None => said,
        }
    })
}

fn worker_samples(observed: &Observation) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (number, worker) in observed.workers.iter().enumerate() {
        let severity = observed.is_stuck(worker).then_some(Severity::Degraded);
        let detail = || {
            let late = observed.lag(worker).as_secs_f64();
            match observed.relievers[number] {
                Some(other) => format!(
                    "its loop has not turned for {late:.1} s; worker {other} accepts for it"
                ),
                None => format!("its loop has not turned for {late:.1} s"),
            }
        };
        samples.push(sample(
            Component::Worker,
            &number.to_string(),
            severity,
            detail,
        ));
    }
    let workers = observed.workers.iter();
    let lost = workers.map(|worker| observed.is_stuck(worker));
    samples.push(none_left(Component::Worker, lost, "no worker's loop turns"));
    samples
}

fn interface_samples(interfaces: &Interfaces) -> Vec<Sample> {
    let serving = &interfaces.serving;
    let one = |it: &Serving| {
        let wrong = it.wrong.clone();
        let severity = wrong.as_ref().map(|_| Severity::Degraded);
        sample(Component::Interface, &it.now.name, severity, || {
            wrong.unwrap_or_default()
        })
    };
    let mut samples: Vec<Sample> = serving.iter().map(one).collect();
    let lost = serving.iter().map(|it| !it.now.has_link);
    samples.push(none_left(
        Component::Interface,
        lost,
        "no interface that serves has a link",
    ));
    samples
}

fn egress_sample(capacity: Option<&Capacity>) -> Sample {
    let over = capacity.filter(|capacity| capacity.current > capacity.maximum_soft);
    let detail = || {
        over.map_or_else(String::new, |capacity| {
            format!(
                "{} bit/s are sent, the soft limit is {} bit/s",
                capacity.current, capacity.maximum_soft
            )
        })
    };
    sample(
        Component::Egress,
        "",
        over.map(|_| Severity::Degraded),
        detail,
    )
}

fn catalog_sample(observed: &Observation) -> Sample {
    let problem = observed.catalog.problem.as_ref();
    sample(
        Component::Catalog,
        "",
        problem.map(|_| Severity::Degraded),
        || problem.cloned().unwrap_or_default(),
    )
}

fn self_test_sample(self_test: &SelfTest) -> Sample {
    let SelfTest::Failed(why) = self_test else {
        return sample(Component::SelfTest, "", None, String::new);
    };
    sample(Component::SelfTest, "", Some(Severity::Down), || {
        why.clone()
    })
}

/// Of all subjects of a component: down if there are some, and every one is lost.
fn none_left(
    component: Component,
    mut lost: impl ExactSizeIterator<Item = bool>,
    detail: &str,
) -> Sample {
    let none = lost.len() > 0 && lost.all(|it| it);
    sample(component, "", none.then_some(Severity::Down), || {
        detail.to_owned()
    })
}

/// `wrong` is how bad it is, if something is wrong at all.
fn sample(
    component: Component,
    subject: &str,
    wrong: Option<Severity>,
    detail: impl FnOnce() -> String,
) -> Sample {
    Sample {
        component,
        subject: subject.to_owned(),
        severity: wrong.unwrap_or(Severity::Ok),
        detail: wrong.map(|_| detail()).unwrap_or_default(),
    }
}

/// `/healthz`: whether the process does its work, and a line that says how it is.
#[must_use]
pub fn is_alive(standing: &Standing) -> (bool, String) {
    let state = standing.hint.facts.state;
    (state.is_alive(), told(standing))
}

/// `/readyz`: whether new viewers may be sent here, and a line that says how it is.
#[must_use]
pub fn is_ready(standing: &Standing) -> (bool, String) {
    (standing.hint.facts.accepting, told(standing))
}

/// The state, and a line for each cause.
fn told(standing: &Standing) -> String {
    let mut lines = super::words::state(standing.hint.facts.state).to_string();
    lines.push('\n');
    if standing.stopping {
        lines.push_str("the daemon is stopping\n");
    }
    if standing.self_test == SelfTest::Running {
        lines.push_str("the self-test has not passed yet\n");
    }
    for cause in &standing.hint.facts.causes {
        let subject = if cause.subject.is_empty() {
            String::new()
        } else {
            format!(" {}", cause.subject)
        };
        lines.push_str(&format!(
            "{}{subject}: {}\n",
            cause.component.as_str(),
            cause.detail
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use steering::UnixTime;
    use steering::health::{Health, Scope, Thresholds};

    #[test]
    fn a_silent_agent_is_a_cause_that_changes_no_state() {
        let mut health = Health::new(Thresholds::default());
        let mut look = |silence| {
            let sample = silence_sample(silence, || "noon".to_owned());
            for seconds in 0..3 {
                let now = UnixTime::from_milliseconds(seconds * 1000);
                health.observe(now, std::slice::from_ref(&sample));
            }
            (health.causes(), health.worst_local())
        };
        assert_eq!(look(AGENT_SILENCE).0, []);
        let (causes, worst_local) = look(AGENT_SILENCE + Duration::from_secs(1));
        assert_eq!(causes.len(), 1);
        assert_eq!(causes[0].scope, Scope::Shared);
        assert!(causes[0].detail.contains("silent since noon"));
        assert_eq!(worst_local, Severity::Ok);
        assert_eq!(look(Duration::ZERO).0, []);
    }
}
