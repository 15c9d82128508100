//! Runs -> table and JSON, and whether they are good enough.

use comfy_table::{CellAlignment, Table, presets};

use super::seen::{Group, Seen};
use super::shape::Shape;
use crate::server::Kind;

/// A generator that was later than this, in microseconds, may have been what viewers waited for: an eighth of a second is a thirtieth of a
/// segment, and nothing against a buffer of 30 s.
const LATE_US: u32 = 125_000;

/// One server, one shape.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Run {
    pub(super) server: Kind,
    pub(super) shape: Shape,
    pub(super) seconds: f64,
    pub(super) seen: Seen,
    pub(super) server_cpu_seconds: f64,
    /// Share of its core that the generator used.
    pub(super) generator_busy: f64,
    /// Share of the bytes that came from devices, where the server can tell.
    pub(super) device_share: Option<f64>,
}

impl Run {
    fn is_void(&self) -> bool {
        self.seen.lateness.max_us > LATE_US
    }

    /// What a viewer could have noticed.
    fn faults(&self) -> Option<String> {
        let (rebuffers, errors) = (self.seen.rebuffers(), self.seen.errors);
        let not_started = self.seen.not_started();
        if rebuffers == 0 && errors == 0 && not_started == 0 {
            return None;
        }
        let first = self.seen.first_error.as_deref().unwrap_or("no error");
        Some(format!(
            "{}, {}: {rebuffers} rebuffers, {errors} errors ({first}), {not_started} viewers saw nothing",
            self.server.name(),
            self.shape
        ))
    }
}

/// Why this proves nothing, or is not good enough; nothing of peers is asked for.
pub(super) fn judge(runs: &[Run]) -> Vec<String> {
    let mut words = Vec::new();
    for run in runs.iter().filter(|run| run.server.is_ours()) {
        if run.is_void() {
            words.push(format!(
                "{}, {}: void, the generator was up to {} ms late",
                run.server.name(),
                run.shape,
                run.seen.lateness.max_us / 1000
            ));
        }
        words.extend(run.faults());
    }
    words
}

/// What viewers saw, then what it cost.
pub(super) fn print(runs: &[Run]) {
    let seen = runs.iter().flat_map(|run| {
        let groups = run.seen.groups.iter();
        groups.map(|group| of_group(run, group))
    });
    print_table(
        &[
            "shape",
            "server",
            "rule",
            "viewers",
            "start p50 ms",
            "p99",
            "max",
            "rebuffers",
            "s",
            "QoE mean",
            "least",
        ],
        seen.collect(),
    );
    print_table(
        &[
            "shape",
            "server",
            "errors",
            "rate",
            "GB",
            "CPU s/GB",
            "server busy",
            "from devices",
            "generator busy",
            "late p99 ms",
            "max",
        ],
        runs.iter().map(of_run).collect(),
    );
}

fn print_table(header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_header(header)
        .add_rows(rows);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
}

fn milliseconds(microseconds: u32) -> String {
    format!("{:.1}", f64::from(microseconds) / 1000.0)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn of_group(run: &Run, group: &Group) -> Vec<String> {
    let start = group.start_time;
    vec![
        run.shape.to_string(),
        run.server.name().to_owned(),
        group.rule.name().to_owned(),
        group.viewers.to_string(),
        milliseconds(start.p50_us),
        milliseconds(start.p99_us),
        milliseconds(start.max_us),
        group.rebuffers.to_string(),
        format!("{:.1}", group.rebuffer_seconds),
        format!("{:.3}", group.mean_quality),
        format!("{:.3}", group.least_quality),
    ]
}

fn of_run(run: &Run) -> Vec<String> {
    let seen = &run.seen;
    vec![
        run.shape.to_string(),
        run.server.name().to_owned(),
        seen.errors.to_string(),
        format!("{:.2} %", seen.error_rate() * 100.0),
        format!("{:.1}", seen.bytes as f64 / 1e9),
        format!("{:.3}", run.server_cpu_seconds / (seen.bytes as f64 / 1e9)),
        percent(run.server_cpu_seconds / run.seconds),
        run.device_share.map_or_else(|| "-".to_owned(), percent),
        percent(run.generator_busy),
        milliseconds(seen.lateness.p99_us),
        milliseconds(seen.lateness.max_us),
    ]
}
