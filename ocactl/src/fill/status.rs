//! What the agent says of itself, in 80 columns.

use comfy_table::Cell;
use protocol::fill::{DeviceFill, Failure, SourceStatus, Status, Transfer};

use crate::agent::Aged;
use crate::clock::Clock;
use crate::layout::{bar, end_of, joined, labelled, of, rate, start_of, wrapped};
use crate::output::{self, Report, bytes, count, number, seconds};

impl Report for Aged<'_, Status> {
    fn text(&self) -> String {
        let (status, clock) = (self.answer, self.clock);
        let parts = [
            wrapped(&headline(status), 0),
            facts(status, clock),
            sources(&status.sources, clock),
            devices(&status.devices),
            transfers(&status.transfers),
            failures(&status.failures, clock),
            clock.as_of(status.as_of),
        ];
        joined(&parts, "\n\n")
    }
}

/// One word and one sentence.
pub(super) fn headline(status: &Status) -> String {
    format!("{}: {}", status.activity.as_str(), status.why)
}

fn facts(status: &Status, clock: &Clock) -> String {
    let mut lines = vec![
        pause(status, clock),
        held(status, clock),
        labelled("window", &window(status, clock)),
        labelled("rate", &rates(status)),
        progress(status, clock),
        labelled("no room", &no_room(status)),
        labelled("manifest", &manifest(status, clock)),
        labelled("control", &control(status, clock)),
        labelled("clock", clock_words(status)),
    ];
    let waiting = status.waiting.iter().enumerate();
    lines.extend(
        waiting.map(|(index, words)| labelled(if index == 0 { "waiting" } else { "" }, words)),
    );
    joined(&lines, "\n")
}

/// Nothing, or the line about a pause.
pub(super) fn pause(status: &Status, clock: &Clock) -> String {
    let Some(pause) = &status.pause else {
        return String::new();
    };
    let end = pause.until.map_or_else(
        || "`ocactl fill resume`".to_owned(),
        |until| clock.to_come(until),
    );
    let words = format!("until {end}; by {}, {}", pause.by, clock.ago(pause.since));
    labelled("paused", &words)
}

/// Nothing, or the lines about a held manifest.
pub(super) fn held(status: &Status, clock: &Clock) -> String {
    let Some(held) = &status.held else {
        return String::new();
    };
    let words = format!(
        "manifest {} for {}: {}; let it through with `ocactl fill accept {}`",
        held.serial,
        seconds(clock.now.saturating_sub(held.since)),
        held.why,
        held.serial
    );
    labelled("held", &words)
}

fn window(status: &Status, clock: &Clock) -> String {
    let (word, next) = if status.window_open {
        ("open", "closes")
    } else {
        ("closed", "opens")
    };
    status.window_changes.map_or_else(
        || word.to_owned(),
        |at| format!("{word}; {next} {}", clock.to_come(at)),
    )
}

fn rates(status: &Status) -> String {
    let limit = status.rate.map_or_else(
        || "no rate is configured, so nothing is fetched".to_owned(),
        |limit| format!("at most {}", rate(limit)),
    );
    format!("{} now, {limit}", rate(status.rate_now))
}

fn progress(status: &Status, clock: &Clock) -> String {
    let progress = &status.progress;
    if progress.objects == 0 {
        return labelled("to fetch", "nothing");
    }
    let end = status
        .eta
        .map_or_else(String::new, |eta| format!("; done {}", clock.to_come(eta)));
    joined(
        &[
            labelled("to fetch", &bar(progress.bytes_done, progress.bytes)),
            labelled(
                "",
                &format!(
                    "{} of {}, {}{end}",
                    progress.objects_done,
                    count(progress.objects, "object"),
                    of(progress.bytes_done, progress.bytes)
                ),
            ),
        ],
        "\n",
    )
}

fn no_room(status: &Status) -> String {
    let progress = &status.progress;
    match progress.objects_without_room {
        0 => String::new(),
        objects => format!(
            "for {} of {} that are wanted",
            count(objects, "object"),
            bytes(progress.bytes_without_room)
        ),
    }
}

fn manifest(status: &Status, clock: &Clock) -> String {
    let Some(manifest) = &status.manifest else {
        return "none yet".to_owned();
    };
    let end = if manifest.not_after > clock.now {
        format!("ends in {}", seconds(manifest.not_after - clock.now))
    } else {
        format!("ended {}", clock.ago(manifest.not_after))
    };
    format!(
        "{}, built {}, {end}; here are {} of {}, {}",
        manifest.serial,
        clock.ago(manifest.built_at),
        manifest.objects_held,
        count(manifest.objects, "object"),
        of(manifest.bytes_held, manifest.bytes)
    )
}

fn control(status: &Status, clock: &Clock) -> String {
    let contact = &status.control;
    let reached = contact.succeeded.map_or_else(
        || "not reached yet".to_owned(),
        |at| format!("reached {}", clock.ago(at)),
    );
    if contact.problem.is_empty() {
        return reached;
    }
    let tried = contact
        .tried
        .map_or_else(String::new, |at| format!(" {}", clock.ago(at)));
    format!("{reached}; tried{tried}: {}", contact.problem)
}

fn clock_words(status: &Status) -> &'static str {
    if status.clock_synchronised {
        ""
    } else {
        "the system does not say that its clock is synchronised"
    }
}

fn sources(sources: &[SourceStatus], clock: &Clock) -> String {
    let mut table = output::table(["SOURCE", "KIND", "RATE", "FETCHED", "ERRORS", ""]);
    for source in sources {
        table.add_row(vec![
            Cell::new(start_of(&source.name, 24)),
            Cell::new(source.kind.as_str()),
            number(rate(source.rate)),
            number(bytes(source.bytes)),
            number(source.errors),
            Cell::new(mark(&source.state)),
        ]);
    }
    let notes = sources.iter().map(|source| {
        let retry = source.retry_at.filter(|at| *at > clock.now);
        let retry = retry.map_or_else(String::new, |at| {
            format!("; asked again in {}", seconds(at - clock.now))
        });
        note(&source.name, &source.state, &retry)
    });
    with_notes(&table, notes.collect())
}

fn devices(devices: &[DeviceFill]) -> String {
    let mut table = output::table(["DEVICE", "TIER", "WRITES", "QUEUE", "ROOM", "SIZE", ""]);
    for device in devices {
        table.add_row(vec![
            Cell::new(start_of(&device.name, 16)),
            Cell::new(start_of(&device.tier, 10)),
            number(rate(device.rate)),
            number(device.queue),
            number(bytes(device.room)),
            number(bytes(device.total)),
            Cell::new(mark(&device.state)),
        ]);
    }
    let notes = devices
        .iter()
        .map(|device| note(&device.name, &device.state, ""));
    with_notes(&table, notes.collect())
}

fn mark(state: &str) -> &'static str {
    if state == "ok" { "ok" } else { "!" }
}

fn note(name: &str, state: &str, more: &str) -> String {
    if state == "ok" {
        return String::new();
    }
    wrapped(&format!("! {name}: {state}{more}"), 2)
}

/// The table with what is wrong in it below; nothing for a table of nothing.
fn with_notes(table: &comfy_table::Table, notes: Vec<String>) -> String {
    if notes.is_empty() {
        return String::new();
    }
    joined(&[vec![output::rendered(table)], notes].concat(), "\n")
}

fn transfers(transfers: &[Transfer]) -> String {
    if transfers.is_empty() {
        return String::new();
    }
    let is_moved = |transfer: &Transfer| transfer.moves_to.is_some();
    let what = match transfers.iter().any(is_moved) {
        true => "MOVING",
        false => "FETCHING",
    };
    let mut table = output::table([what, "DONE", "SIZE", "FROM", "WAITS FOR"]);
    for transfer in transfers {
        let from = match &transfer.moves_to {
            Some(to) => format!("{} to {to}", transfer.source),
            None => transfer.source.clone(),
        };
        let percent = u128::from(transfer.bytes_done) * 100 / u128::from(transfer.bytes.max(1));
        table.add_row(vec![
            Cell::new(end_of(&transfer.path, 27)),
            number(format!("{percent} %")),
            number(bytes(transfer.bytes)),
            Cell::new(start_of(&from, 14)),
            Cell::new(start_of(&transfer.waits_for, 15)),
        ]);
    }
    output::rendered(&table)
}

fn failures(failures: &[Failure], clock: &Clock) -> String {
    let lines: Vec<String> = failures
        .iter()
        .map(|failure| {
            let words = format!(
                "{}, from {}, {}: {}",
                failure.path,
                failure.source,
                clock.ago(failure.at),
                failure.reason
            );
            labelled("failed", &words)
        })
        .collect();
    joined(&lines, "\n")
}
