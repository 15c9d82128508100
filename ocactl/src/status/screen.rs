//! `ocactl status --watch`: what the status page shows, in a terminal of 80 columns and 24 lines. What is wrong comes first, so that a
//! long list of devices that work is what falls off the end.

use comfy_table::Cell;
use protocol::bgp::Neighbor;
use protocol::status::{Device, DeviceState, SelfTest, Status};

use super::{causes, drain_text, filling, meaning, reporting};
use crate::clock::Clock;
use crate::layout::{bar, joined, labelled, of, rate, start_of, wrapped};
use crate::output::{self, bytes, count, number};
use crate::watch::View;

impl View for Status {
    fn text(&self) -> String {
        screen(self, &Clock::now_in_utc())
    }

    fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    fn is_as(&self, before: &Self) -> bool {
        let as_of = self.as_of;
        let before = Self {
            as_of,
            ..before.clone()
        };
        *self == before
    }
}

fn screen(status: &Status, clock: &Clock) -> String {
    let head = format!("{}: {}: {}", status.id, status.state, meaning(status));
    let parts = [
        joined(&[wrapped(&head, 0), clock.as_of(status.as_of)], "\n"),
        wrong(status),
        facts(status),
        devices(&status.devices),
    ];
    joined(&parts, "\n\n")
}

fn wrong(status: &Status) -> String {
    let drain = status.drain.as_ref();
    let drain = drain.map_or_else(String::new, |drain| {
        drain_text(drain, status.state, status.as_of)
    });
    let causes = causes(status);
    let lines = drain.lines().chain(causes.lines());
    let lines: Vec<String> = lines.map(|line| wrapped(line, 2)).collect();
    lines.join("\n")
}

fn facts(status: &Status) -> String {
    let mut lines = vec![
        labelled("sent", &sent(status)),
        labelled("memory", &memory(status)),
        labelled("catalog", &catalog(status)),
        labelled("workers", &workers(status)),
    ];
    if let Some(fill) = &status.fill {
        lines.push(wrapped(&filling(fill, status.as_of), 11));
        if fill.progress.bytes > 0 {
            let (done, all) = (fill.progress.bytes_done, fill.progress.bytes);
            lines.push(labelled("", &bar(done, all)));
            let now = rate(fill.rate_now);
            lines.push(labelled("", &format!("{}, {now} now", of(done, all))));
        }
    }
    let report = status.report.as_ref();
    lines.extend(report.map(|report| wrapped(&reporting(report, status.as_of), 11)));
    let routers = status.bgp.iter().flat_map(|bgp| &bgp.neighbors);
    lines.extend(routers.map(|router| labelled("router", &neighbor(router))));
    lines.extend(tiers(&status.devices));
    joined(&lines, "\n")
}

/// What viewers are sent, and how much of what can be sent that is.
fn sent(status: &Status) -> String {
    let connections = status.workers.iter().map(|worker| worker.connections).sum();
    let share = status.capacity.filter(|capacity| *capacity > 0);
    let share = share.map_or_else(String::new, |capacity| {
        let percent = u128::from(status.egress) * 100 / u128::from(capacity);
        format!(", {percent} % of {}", rate(capacity))
    });
    format!(
        "{}{share}; {}",
        rate(status.egress),
        count(connections, "connection")
    )
}

fn memory(status: &Status) -> String {
    let memory = &status.memory;
    format!(
        "{} locked; buffers {}",
        of(memory.locked, memory.budget),
        of(memory.in_flight, memory.in_flight_budget)
    )
}

fn catalog(status: &Status) -> String {
    let catalog = &status.catalog;
    let broken = match catalog.incomplete {
        0 => String::new(),
        broken => format!("; {broken} cannot be served whole"),
    };
    format!(
        "{}, {}{broken}",
        count(catalog.objects, "object"),
        bytes(catalog.bytes)
    )
}

fn workers(status: &Status) -> String {
    let workers = &status.workers;
    let lag = workers.iter().map(|worker| worker.loop_lag_ms).max();
    let stuck = workers.iter().filter(|worker| !worker.alive);
    let stuck: Vec<String> = stuck.map(|worker| worker.index.to_string()).collect();
    let stuck = match stuck.as_slice() {
        [] => String::new(),
        _ => format!("; do not turn: {}", stuck.join(", ")),
    };
    let test = match status.self_test {
        SelfTest::Running => "; the self-test is running",
        SelfTest::Passed | SelfTest::Failed(_) => "",
    };
    format!(
        "{} on {}, longest turn {} ms{stuck}{test}",
        workers.len(),
        status.backend.name,
        lag.unwrap_or(0)
    )
}

fn neighbor(router: &Neighbor) -> String {
    let learned = router.learned.as_ref();
    let learned = learned.map_or_else(
        || count(router.advertised.len() as u64, "address") + " announced",
        |learned| format!("{} + {} prefixes learned", learned.ipv4, learned.ipv6),
    );
    let ending = match router.ending.as_str() {
        ending if router.state != "established" && !ending.is_empty() => format!("; {ending}"),
        _ => String::new(),
    };
    format!(
        "{} AS{} {}, {learned}{ending}",
        router.address, router.remote_as, router.state
    )
}

/// Each tier in a line: how many of its devices work, and the room on them.
fn tiers(devices: &[Device]) -> Vec<String> {
    let mut names: Vec<&str> = devices.iter().map(|device| device.tier.as_str()).collect();
    names.dedup();
    let line = |name: &str| {
        let of_tier: Vec<&Device> = devices
            .iter()
            .filter(|device| device.tier == name)
            .collect();
        let well = of_tier.iter().filter(|device| is_well(device)).count();
        let spaces = of_tier.iter().filter_map(|device| device.space);
        let (free, all) = spaces.fold((0, 0), |(free, all), space| {
            (free + space.available, all + space.total)
        });
        let text = format!(
            "{}: {well} of {} ok, {} free",
            start_of(name, 24),
            count(of_tier.len() as u64, "device"),
            of(free, all)
        );
        labelled("tier", &text)
    };
    names.into_iter().map(line).collect()
}

fn is_well(device: &Device) -> bool {
    device.state == DeviceState::Ok
}

/// Those with trouble first.
fn devices(devices: &[Device]) -> String {
    let mut table = output::table([
        "DEVICE", "TIER", "STATE", "FREE", "SIZE", "WAITING", "ERRORS",
    ]);
    let (well, ill): (Vec<&Device>, Vec<&Device>) =
        devices.iter().partition(|device| is_well(device));
    for device in ill.into_iter().chain(well) {
        let space = |of: fn(&protocol::status::Space) -> u64| {
            let space = device.space.as_ref().map(of);
            number(space.map_or_else(|| "-".to_owned(), bytes))
        };
        table.add_row(vec![
            Cell::new(start_of(&device.name, 12)),
            Cell::new(start_of(&device.tier, 8)),
            Cell::new(device.state.as_str()),
            space(|space| space.available),
            space(|space| space.total),
            number(device.queue_length + device.in_flight),
            number(device.errors + device.checksum_failures),
        ]);
    }
    output::rendered(&table)
}

#[cfg(test)]
mod tests;
