//! `ocactl status`: the daemon's document, for a reader.

mod screen;

use std::fmt::Write;

use protocol::config::Config;
use protocol::status::{Cause, Drain, Filling, Reporting, Scope, SelfTest, State, Status};
use serde::Serialize;

use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, bytes, count, number, seconds};
use crate::watch;

/// Asks the daemon, and prints it: once, or every second until Ctrl-C.
pub(crate) fn run(config: &Config, format: Format, watch: bool) -> Result<Outcome, Failure> {
    let daemon = Daemon::at(config.daemon_socket());
    if watch {
        return watch::run(format, move || daemon.status());
    }
    let status = daemon.status()?;
    output::print(format, &Shown(&status))?;
    Ok(Outcome::Done)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown<'s>(&'s Status);

impl Report for Shown<'_> {
    fn text(&self) -> String {
        let status = self.0;
        let parts = [
            head(status),
            causes(status),
            drain(status),
            facts(status),
            workers(status),
            devices(status),
        ];
        parts
            .iter()
            .filter(|part| !part.is_empty())
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n\n")
    }
}

fn head(status: &Status) -> String {
    format!("{}: {}\n{}", status.id, status.state, meaning(status))
}

fn meaning(status: &Status) -> &'static str {
    match (status.state, &status.self_test) {
        (State::Ok | State::Degraded, SelfTest::Running) => "starting: the self-test is running",
        (State::Ok, _) => "all is well",
        (State::Degraded, _) => "serving, with something broken",
        (State::Draining, _) => "leaving service; running transfers go on. Do not unplug yet",
        (State::Drained, _) => {
            "out of service, nothing runs. Safe to unplug; back with: ocactl undrain"
        }
        (State::DrainedForced, _) => {
            "out of service, transfers were cut. Safe to unplug; back with: ocactl undrain"
        }
        (State::Down, _) => "cannot serve",
    }
}

fn causes(status: &Status) -> String {
    let mut lines: Vec<String> = status
        .causes
        .iter()
        .map(|cause| cause_line(cause, status.as_of))
        .collect();
    if let SelfTest::Failed(detail) = &status.self_test {
        lines.push(format!("! self-test: {detail}"));
    }
    lines.extend(
        status
            .catalog
            .problems
            .iter()
            .map(|problem| format!("! catalog: {problem}")),
    );
    lines.join("\n")
}

fn cause_line(cause: &Cause, now: u64) -> String {
    let mut line = format!("! {}", cause.component);
    if !cause.subject.is_empty() {
        let _ = write!(line, " {}", cause.subject);
    }
    let age = seconds(now.saturating_sub(cause.since));
    let _ = write!(line, ": {} for {age}: {}", cause.severity, cause.detail);
    if cause.scope == Scope::Shared {
        line.push_str(" (shared: does not change the state)");
    }
    line
}

fn drain(status: &Status) -> String {
    let Some(drain) = &status.drain else {
        return String::new();
    };
    drain_text(drain, status.state, status.as_of)
}

/// Who, why, and how far it is.
pub(crate) fn drain_text(drain: &Drain, state: State, now: u64) -> String {
    let mut text = format!(
        "drain by {}, {} ago",
        drain.by,
        seconds(now.saturating_sub(drain.since))
    );
    if let Some(reason) = &drain.reason {
        let _ = write!(text, ": {reason}");
    }
    let until = |time: u64| seconds(time.saturating_sub(now));
    match state {
        State::Draining => {
            let running = count(drain.transfers, "transfer");
            let open = count(drain.connections, "connection");
            let _ = write!(
                text,
                "\n{running} running, {open} open; cut in {}",
                until(drain.forced_at)
            );
            if drain.hints_expire > now {
                let _ = write!(
                    text,
                    "; new viewers may come for {}",
                    until(drain.hints_expire)
                );
            }
        }
        State::DrainedForced => {
            let _ = write!(text, "\n{} cut", count(drain.cut, "transfer"));
        }
        _ => {}
    }
    text
}

fn facts(status: &Status) -> String {
    let listeners: Vec<String> = status
        .listeners
        .iter()
        .map(|listener| format!("{} {}", word(&listener.purpose), listener.address))
        .collect();
    let (memory, catalog, now) = (&status.memory, &status.catalog, status.as_of);
    let mut lines = vec![
        format!(
            "version    {}, up {}",
            status.version,
            seconds(status.as_of.saturating_sub(status.started))
        ),
        format!(
            "backend    {}: {}",
            status.backend.name, status.backend.reason
        ),
        format!("listening  {}", listeners.join(", ")),
        sandboxed(status),
        format!(
            "memory     {} of {} locked{}",
            bytes(memory.locked),
            bytes(memory.budget),
            remark(&memory.remark)
        ),
        format!(
            "buffers    {} of {} in use",
            bytes(memory.in_flight),
            bytes(memory.in_flight_budget)
        ),
        format!(
            "catalog    generation {}, loaded {} ago: {}, {}, {}",
            catalog.generation,
            seconds(status.as_of.saturating_sub(catalog.loaded)),
            count(catalog.paths, "path"),
            count(catalog.objects, "object"),
            bytes(catalog.bytes)
        ),
    ];
    if catalog.incomplete > 0 {
        lines.push(format!(
            "           {} cannot be served whole",
            count(catalog.incomplete, "object")
        ));
    }
    lines.extend(status.report.as_ref().map(|report| reporting(report, now)));
    lines.extend(status.fill.as_ref().map(|fill| filling(fill, now)));
    lines.join("\n")
}

/// Whether the daemon is kept to its own files.
fn sandboxed(status: &Status) -> String {
    let Some(sandbox) = &status.sandbox else {
        return "sandbox    not said".to_owned();
    };
    let kept = match sandbox.enforced {
        true => "kept to its own files",
        false => "not kept to its own files",
    };
    let privileges = match sandbox.no_new_privileges {
        true => ", no new privileges",
        false => "",
    };
    format!("sandbox    {kept}{privileges}{}", remark(&sandbox.detail))
}

fn reporting(report: &Reporting, now: u64) -> String {
    let answered = match report.answered {
        Some(at) => format!("answered {} ago", seconds(now.saturating_sub(at))),
        None => "not answered yet".to_owned(),
    };
    let problem = remark(&report.problem);
    format!("report     {answered} by {}{problem}", report.url)
}

fn filling(fill: &Filling, now: u64) -> String {
    let age = seconds(now.saturating_sub(fill.told));
    let activity = fill.activity.as_str();
    format!("fill       {activity}: {} (told {age} ago)", fill.why)
}

fn remark(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(" ({text})")
    }
}

/// The word that an enum has in JSON.
fn word(value: &impl Serialize) -> String {
    let json = serde_json::to_value(value).ok();
    json.and_then(|json| json.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn workers(status: &Status) -> String {
    let mut table = output::table(["WORKER", "CORE", "CONNECTIONS", "LAG", ""]);
    for worker in &status.workers {
        table.add_row(vec![
            number(worker.index),
            number(worker.core.map_or("-".to_owned(), |core| core.to_string())),
            number(worker.connections),
            number(format!("{} ms", worker.loop_lag_ms)),
            comfy_table::Cell::new(match (worker.alive, worker.relieved_by) {
                (true, _) => String::new(),
                (false, None) => "does not turn".to_owned(),
                (false, Some(other)) => format!("does not turn; {other} accepts for it"),
            }),
        ]);
    }
    output::rendered(&table)
}

fn devices(status: &Status) -> String {
    let all = status.catalog.objects;
    let mut table = output::table([
        "DEVICE", "TIER", "STATE", "FREE", "SIZE", "TOUCHES", "READ", "QUEUE", "ERRORS", "CAUSE",
    ]);
    for device in &status.devices {
        let (free, size) = match device.space {
            Some(space) => (bytes(space.available), bytes(space.total)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        table.add_row(vec![
            comfy_table::Cell::new(&device.name),
            comfy_table::Cell::new(&device.tier),
            comfy_table::Cell::new(device.state.as_str()),
            number(free),
            number(size),
            number(share(device.objects, all)),
            comfy_table::Cell::new(device.directness.as_str()),
            number(device.queue_length + device.in_flight),
            number(device.errors + device.checksum_failures),
            comfy_table::Cell::new(&device.cause),
        ]);
    }
    output::rendered(&table)
}

/// Of 100 objects, how many a failure would touch.
pub(crate) fn share(objects: u64, all: u64) -> String {
    match all {
        0 => "-".to_owned(),
        all => format!(
            "{} %",
            (u128::from(objects) * 100).div_ceil(u128::from(all))
        ),
    }
}
