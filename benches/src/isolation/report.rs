//! Samples -> one row for each server and case -> table, JSON, and what was missed.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use super::case::Case;
use super::place::Proof;
use super::trace::Longest;
use crate::latency::median;
use crate::load::Window;
use crate::load::crowd::Tally;
use crate::server::Kind;
use crate::void::Tried;

/// Hot requests beside an ill device, per request alone.
pub(super) const LEAST_RATIO: f64 = 0.97;

/// What the longest hot request may take more than the longest alone.
pub(super) const MOST_MS: f64 = 20.0;

/// The longest that a worker may be in one call.
pub(super) const MOST_CALL_MS: f64 = 1.0;

/// Alone, and right afterwards beside.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Pair {
    alone: Sample,
    beside: Sample,
    proof: Proof,
    cold_served: u64,
    cold_failed: u64,
}

#[derive(Debug, Clone, Copy, serde::Serialize)]
struct Sample {
    requests_per_second: f64,
    worst_ms: f64,
    /// Requests that the load generator was too late for, of those that were due.
    missed_share: f64,
}

impl From<Window> for Sample {
    fn from(window: Window) -> Self {
        Self {
            requests_per_second: window.requests_per_second,
            worst_ms: window.worst.as_secs_f64() * 1e3,
            missed_share: window.missed_share,
        }
    }
}

impl Pair {
    pub(super) fn new(alone: Window, beside: Window, proof: Proof, cold: Tally) -> Self {
        Self {
            alone: alone.into(),
            beside: beside.into(),
            proof,
            cold_served: cold.served,
            cold_failed: cold.failed(),
        }
    }

    /// The larger one.
    pub(super) fn missed_share(&self) -> f64 {
        self.alone.missed_share.max(self.beside.missed_share)
    }

    fn ratio(&self) -> f64 {
        self.beside.requests_per_second / self.alone.requests_per_second
    }
}

/// What is tried with a server.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Trial {
    pub(super) server: Kind,
    pub(super) case: Case,
    pub(super) cold_clients: usize,
    pub(super) fill: bool,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fill = if self.fill { "fill" } else { "no fill" };
        let (server, case) = (self.server.name(), self.case.name());
        write!(
            f,
            "{server}, {case}, {} cold clients, {fill}",
            self.cold_clients
        )
    }
}

/// What came of it.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Row {
    pub(super) trial: Trial,
    pub(super) pairs: Vec<Pair>,
    /// The server's process has ended meanwhile, or there was another reason to go no further.
    pub(super) died: Option<String>,
    /// Of a run of its own.
    pub(super) longest_call: Option<Longest>,
    /// Why samples were taken again.
    pub(super) voids: Vec<String>,
    /// Samples that stayed void.
    pub(super) void: u32,
}

impl Row {
    pub(super) fn of(trial: Trial) -> Self {
        Self {
            trial,
            pairs: Vec::new(),
            died: None,
            longest_call: None,
            voids: Vec::new(),
            void: 0,
        }
    }

    /// One that could not be measured.
    pub(super) fn broken(trial: Trial, error: &anyhow::Error) -> Self {
        Self {
            died: Some(format!("not measured to the end: {error:#}")),
            ..Self::of(trial)
        }
    }

    /// What was taken, if anything was.
    pub(super) fn note<T>(&mut self, tried: Tried<T>) -> Option<T> {
        self.voids.extend(tried.voids);
        self.void += u32::from(tried.taken.is_none());
        tried.taken
    }

    /// NaN if all pairs were void.
    fn median(&self, of: fn(&Pair) -> f64) -> f64 {
        if self.pairs.is_empty() {
            return f64::NAN;
        }
        median(self.pairs.iter().map(of))
    }

    fn worst(&self, of: fn(&Pair) -> f64) -> f64 {
        self.pairs.iter().map(of).fold(0.0, f64::max)
    }

    /// What says nothing, and of ours what is not as it has to be. `alone_ms` is the worst that any of them showed alone.
    fn misses(&self, alone_ms: f64) -> Vec<String> {
        let mut misses = Vec::new();
        if self.void > 0 {
            let last = self.voids.last().map_or("", String::as_str);
            misses.push(format!("{} samples stayed void ({last})", self.void));
        }
        if self.pairs.is_empty() {
            misses.extend(self.died.clone());
        }
        if self.pairs.is_empty() || !self.trial.server.is_ours() {
            return misses;
        }
        let ratio = self.median(Pair::ratio);
        if ratio < LEAST_RATIO {
            misses.push(format!("hot requests {ratio:.3} of alone"));
        }
        let worst = self.worst(|pair| pair.beside.worst_ms);
        if worst >= alone_ms + MOST_MS {
            misses.push(format!(
                "a hot request took {worst:.1} ms, {alone_ms:.1} at most alone"
            ));
        }
        if let Some(Longest {
            call, milliseconds, ..
        }) = &self.longest_call
            && *milliseconds >= MOST_CALL_MS
        {
            misses.push(format!("a worker was in {call} for {milliseconds:.2} ms"));
        }
        misses.extend(self.died.clone());
        misses
    }
}

fn alone_ms(rows: &[Row]) -> f64 {
    let ours = rows.iter().filter(|row| row.trial.server.is_ours());
    ours.map(|row| row.worst(|pair| pair.alone.worst_ms))
        .fold(0.0, f64::max)
}

/// What was missed, in words.
pub(super) fn misses(rows: &[Row]) -> Vec<String> {
    let alone_ms = alone_ms(rows);
    let of = |row: &Row| -> Vec<String> {
        let say = |miss| format!("{}: {miss}", row.trial);
        row.misses(alone_ms).into_iter().map(say).collect()
    };
    rows.iter().flat_map(of).collect()
}

const COLUMNS: [&str; 17] = [
    "ill device",
    "cold clients",
    "fill",
    "server",
    "alone /s",
    "beside /s",
    "ratio",
    "worst alone ms",
    "worst beside ms",
    "longest call ms",
    "missed %",
    "void",
    "cold ok",
    "cold failed",
    "places",
    "MB/s",
    "ops/s",
];

/// To standard output.
pub(super) fn print(rows: &[Row]) {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_header(COLUMNS)
        .add_rows(rows.iter().map(Row::cells));
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
}

impl Row {
    fn cells(&self) -> [String; COLUMNS.len()] {
        let Trial {
            server,
            case,
            cold_clients,
            fill,
        } = self.trial;
        let call = self.longest_call.as_ref();
        let sum = |of: fn(&Pair) -> u64| self.pairs.iter().map(of).sum::<u64>().to_string();
        [
            case.name().to_owned(),
            cold_clients.to_string(),
            if fill { "yes" } else { "no" }.to_owned(),
            server.name().to_owned(),
            format!("{:.0}", self.median(|pair| pair.alone.requests_per_second)),
            format!("{:.0}", self.median(|pair| pair.beside.requests_per_second)),
            format!("{:.3}", self.median(Pair::ratio)),
            format!("{:.1}", self.worst(|pair| pair.alone.worst_ms)),
            format!("{:.1}", self.worst(|pair| pair.beside.worst_ms)),
            call.map_or("-".into(), |it| {
                format!("{:.2} {}", it.milliseconds, it.call)
            }),
            format!("{:.2}", self.worst(Pair::missed_share) * 100.0),
            match (self.voids.len(), self.void) {
                (again, 0) => again.to_string(),
                (again, void) => format!("{again}, {void} for good"),
            },
            sum(|pair| pair.cold_served),
            sum(|pair| pair.cold_failed),
            format!("{:.0}", self.worst(|pair| pair.proof.places_taken as f64)),
            format!(
                "{:.1}",
                self.median(|pair| pair.proof.bytes_per_second / 1e6)
            ),
            format!(
                "{:.0}",
                self.median(|pair| pair.proof.operations_per_second)
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(server: Kind, beside_per_second: f64, beside_ms: u64) -> Row {
        let window = |requests_per_second, ms| Window {
            requests_per_second,
            worst: Duration::from_millis(ms),
            missed_share: 0.0,
        };
        let pair = Pair::new(
            window(1000.0, 5),
            window(beside_per_second, beside_ms),
            Proof::default(),
            Tally::default(),
        );
        let mut row = Row::of(Trial {
            server,
            case: Case::Slow,
            cold_clients: 32,
            fill: true,
        });
        row.pairs = vec![pair; 3];
        row
    }

    #[test]
    fn what_stays_void_is_a_miss_of_the_run_whoever_was_looked_at() {
        let mut row = row(Kind::Nginx, 900.0, 5);
        let void = |taken| Tried {
            taken,
            voids: vec!["void: too late".to_owned()],
        };
        assert_eq!(row.note(void(Some(7))), Some(7));
        assert!(misses(&[row.clone()]).is_empty());
        assert_eq!(row.note(void(None)), None);
        let misses = misses(&[row]);
        assert!(misses[0].contains("1 samples stayed void"), "{misses:?}");
    }

    #[test]
    fn only_ours_can_miss() {
        assert!(misses(&[row(Kind::Nginx, 0.0, 9000)]).is_empty());
        assert!(misses(&[row(Kind::OcaUring, 970.0, 24)]).is_empty());
    }

    #[test]
    fn what_could_not_be_measured_is_a_miss_of_anybody() {
        let trial = row(Kind::Nginx, 1000.0, 3).trial;
        let broken = Row::broken(trial, &anyhow::anyhow!("no disk").context("making it ill"));
        let misses = misses(&[broken]);
        assert_eq!(misses.len(), 1, "{misses:?}");
        assert!(misses[0].ends_with("not measured to the end: making it ill: no disk"));
    }

    #[test]
    fn each_miss_is_named() {
        let mut bad = row(Kind::OcaEpoll, 960.0, 25);
        bad.died = Some("it has ended".into());
        bad.longest_call = Some(Longest {
            call: "close".into(),
            milliseconds: 1.0,
            calls: 1,
        });
        let misses = misses(&[bad]);
        assert_eq!(misses.len(), 4, "{misses:?}");
        assert!(
            misses[0].starts_with("oca (epoll), slow, 32 cold clients, fill: hot requests 0.960")
        );
    }
}
