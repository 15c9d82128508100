//! `/status`: everything that an operator wants to know, as one document. An [`Observation`] and the [`Standing`] in, the
//! document out. Pure.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use platform::file::Directness as FoundDirectness;
use protocol::fill::Facts;
use protocol::status::{
    Backend, Catalog, Device, Directness, Filling, Interface, Memory, Reporting, STATUS_FORMAT,
    Space, Status, Tls, TlsPath, Worker,
};

use super::About;
use super::observation::{Observation, ObservedDevice};
use super::words;
use crate::control::Standing;
use crate::interfaces::Serving;
use crate::tls::{Certificates, Path, Problem};

/// The document.
#[must_use]
pub fn document(observed: &Observation, standing: &Standing, about: &About) -> Status {
    let appliance = &observed.config.appliance;
    let objects = standing
        .held
        .by_device
        .iter()
        .copied()
        .chain(std::iter::repeat(0));
    let devices = observed.devices.iter().zip(objects);
    let capacity = standing.hint.facts.capacity.as_ref();
    Status {
        format: STATUS_FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        id: appliance.id.clone(),
        site: appliance.site.clone(),
        as_of: observed.unix.seconds(),
        started: observed.started_unix().seconds(),
        state: words::state(standing.hint.facts.state),
        causes: standing
            .hint
            .facts
            .causes
            .iter()
            .map(words::cause)
            .collect(),
        drain: standing.drain.clone(),
        self_test: standing.self_test.clone(),
        backend: Backend {
            name: observed.backend.clone(),
            reason: about.backend_reason.clone(),
        },
        sandbox: Some(about.sandbox.clone()),
        listeners: about.listeners.clone(),
        workers: workers(observed, about),
        devices: devices
            .map(|(device, objects)| described(observed, device, objects))
            .collect(),
        interfaces: observed.interfaces.serving.iter().map(interface).collect(),
        egress: standing.egress,
        capacity: capacity.map(|capacity| capacity.maximum_hard),
        memory: memory(observed),
        catalog: catalog(observed, standing),
        tls: observed
            .tls
            .as_deref()
            .map(|tls| secured(observed, &tls.certificates)),
        report: observed.report.as_ref().map(|report| Reporting {
            url: report.url.clone(),
            answered: report.answered.map(|at| observed.unix_at(at).seconds()),
            tried: report.tried.map(|at| observed.unix_at(at).seconds()),
            problem: report.problem.clone().unwrap_or_default(),
        }),
        fill: observed.fill.as_ref().map(|told| filling(observed, told)),
        bgp: observed.bgp.as_deref().cloned(),
    }
}

fn filling(observed: &Observation, told: &(Instant, Facts)) -> Filling {
    let (at, facts) = told;
    Filling {
        told: observed.unix_at(*at).seconds(),
        activity: facts.activity,
        why: facts.why.clone(),
        window_open: facts.window_open,
        rate_now: facts.rate_now,
        progress: facts.progress,
        manifest: facts.manifest.clone(),
        held: facts.held.clone(),
    }
}

fn workers(observed: &Observation, about: &About) -> Vec<Worker> {
    let worker =
        |(number, worker): (usize, &std::sync::Arc<crate::counters::WorkerCounters>)| Worker {
            index: number as u32,
            core: about
                .cores
                .get(number % about.cores.len().max(1))
                .map(|core| *core as u32),
            alive: !observed.is_stuck(worker),
            relieved_by: observed.relievers[number].map(|reliever| reliever as u32),
            connections: worker.connections.value(),
            loop_lag_ms: observed.lag(worker).as_millis() as u64,
        };
    observed.workers.iter().enumerate().map(worker).collect()
}

fn described(observed: &Observation, device: &ObservedDevice, objects: u64) -> Device {
    let seen = &device.snapshot;
    Device {
        name: device.name.clone(),
        path: device.path.clone(),
        tier: device.tier.clone(),
        role: Some(device.role),
        id: device.id.map(|id| id.to_string()),
        state: device.state(),
        cause: device.cause(),
        directness: match seen.directness {
            None => Directness::Unknown,
            Some(FoundDirectness::Direct) => Directness::Direct,
            Some(FoundDirectness::Buffered) => Directness::Buffered,
        },
        space: seen.space.map(|space| Space {
            total: space.total_bytes,
            available: space.available_bytes,
            read_only: space.read_only,
        }),
        objects,
        queue_length: device.queued(),
        in_flight: u64::from(seen.in_flight),
        errors: seen.errors,
        checksum_failures: seen.corrupt,
        wear: observed.disks_of(device).cloned().collect(),
    }
}

fn interface(serving: &Serving) -> Interface {
    let it = &serving.now;
    Interface {
        name: it.name.clone(),
        has_link: it.has_link,
        speed: it.speed,
        members: it.members.len() as u32,
        members_up: it.members.iter().filter(|member| member.carries).count() as u32,
        errors: it.errors,
        cause: serving.wrong.clone().unwrap_or_default(),
    }
}

fn secured(observed: &Observation, of: &Certificates) -> Tls {
    let reload = of.last_reload();
    let told = |problem: &Problem| problem.to_string();
    Tls {
        certificates: of.set().pairs.iter().map(|pair| pair.told()).collect(),
        reloaded: reload.at.map(steering::UnixTime::seconds),
        problems: reload.problems.iter().map(told).collect(),
        failures: of.failures(),
        paths: Path::ALL
            .map(|path| TlsPath {
                path: path.label().to_owned(),
                connections: observed.total(|worker| worker.tls.paths[path.number()].value()),
            })
            .to_vec(),
    }
}

fn memory(observed: &Observation) -> Memory {
    let devices = &observed.devices;
    Memory {
        budget: observed.memory.budget_bytes.load(Relaxed),
        locked: observed.memory.locked_bytes.load(Relaxed),
        remark: observed.memory_problem.clone().unwrap_or_default(),
        in_flight_budget: devices.iter().map(|device| device.in_flight_budget()).sum(),
        in_flight: devices.iter().map(|device| device.in_flight_bytes()).sum(),
    }
}

fn catalog(observed: &Observation, standing: &Standing) -> Catalog {
    let catalog = &observed.catalog;
    let age: Duration = observed.now.saturating_duration_since(catalog.loaded_at);
    Catalog {
        generation: catalog.generation.0,
        oldest_in_use: catalog.oldest_in_use.0,
        loaded: observed.unix.seconds().saturating_sub(age.as_secs()),
        paths: standing.held.paths,
        objects: catalog.objects,
        bytes: catalog.bytes,
        incomplete: standing.held.incomplete,
        problems: catalog.problem.iter().cloned().collect(),
    }
}
