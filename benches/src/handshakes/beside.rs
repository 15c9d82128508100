//! `oca-bench handshakes --flood`: viewers of what is in memory, over TLS, alone and beside a [`flood`](super::flood).
//!
//! Viewers ask at a steady rate, a share of what the server can do, which is looked at before each pair: a virtual machine may be twice as
//! fast a minute later, and a core that is full by that says nothing of the flood. What waits for a free connection counts from when it was due. A pair of
//! samples is void, and taken again, if the load generator missed some of it, the host of a virtual machine held it up, or the flood did not reach its
//! rate.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};

use super::flood::{Flood, Flooded};
use super::{Arguments, Ground};
use crate::latency::{Summary, median};
use crate::load::{self, Check, Load, MOST_MISSED, Outcome, Rate, Until};
use crate::server::{Kind, Server};
use crate::tls::KeyKind;
use crate::void::{Void, take_again, undisturbed};

/// What viewers ask for at once, and on how many connections.
const RANGE_BYTES: u64 = 64 << 10;
const CONNECTIONS: usize = 16;

/// A flood of a smaller share of its rate is none.
const LEAST_REACHED: f64 = 0.9;

/// A flood lasts so much longer than the sample beside it.
const LEAD_S: f64 = 1.0;

/// The most that a flood may do to the p99 of ours.
const WORST_RATIO: f64 = 2.0;

/// One pair of samples.
#[derive(Debug, Clone, Copy, serde::Serialize)]
struct Pair {
    /// Of the viewers.
    requests_per_second: f64,
    alone: Summary,
    beside: Summary,
    flood: Flooded,
}

#[derive(Debug, serde::Serialize)]
struct Row {
    server: Kind,
    pairs: Vec<Pair>,
    /// Why pairs were taken again.
    voids: Vec<String>,
    /// Pairs that stayed void.
    void: u32,
}

pub(super) fn main(
    arguments: &Arguments,
    ground: &Ground<'_>,
    rate: f64,
    client_core: usize,
) -> Result<()> {
    let standing = ground.start(&arguments.servers, KeyKind::Ecdsa)?;
    let mut rows = Vec::new();
    for server in &standing.servers {
        let trying = Trying {
            arguments,
            ground,
            server,
            certificate: &standing.security.certificate,
            flood_rate: rate,
            client_core,
        };
        rows.push(trying.row().with_context(|| server.kind.name())?);
        eprintln!("{}", server.kind.name());
    }
    print(&rows);
    arguments.setup.write(&rows)?;
    let missed: Vec<String> = rows.iter().flat_map(Row::misses).collect();
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

struct Trying<'a> {
    arguments: &'a Arguments,
    ground: &'a Ground<'a>,
    server: &'a Server,
    certificate: &'a std::path::Path,
    flood_rate: f64,
    client_core: usize,
}

impl Trying<'_> {
    fn row(&self) -> Result<Row> {
        self.server.warm(&self.ground.objects)?;
        let mut row = Row {
            server: self.server.kind,
            pairs: Vec::new(),
            voids: Vec::new(),
            void: 0,
        };
        for _ in 0..self.arguments.rounds {
            let tried = take_again(|| undisturbed(|| self.pair()))?;
            row.voids.extend(tried.voids);
            row.void += u32::from(tried.taken.is_none());
            row.pairs.extend(tried.taken);
        }
        Ok(row)
    }

    fn pair(&self) -> Result<Pair> {
        let full = self.look(Rate::Full)?.requests_per_second();
        let requests_per_second = full * self.arguments.share;
        let rate = Rate::PerSecond(requests_per_second);
        let alone = self.look(rate)?;
        let flood = Flood::start(
            (self.server.target.address, self.certificate),
            (self.flood_rate, self.arguments.seconds + LEAD_S),
            self.client_core,
            &self.ground.folder.join("flood.log"),
        )?;
        let beside = self.look(rate)?;
        let flood = flood.end()?;
        let void = |why| Err(Void(why).into());
        let missed = alone.missed_share.max(beside.missed_share);
        if missed > MOST_MISSED {
            return void(format!(
                "{:.1} % of the requests were missed",
                missed * 100.0
            ));
        }
        if flood.per_second < self.flood_rate * LEAST_REACHED {
            return void(format!("only {:.0} handshakes/s", flood.per_second));
        }
        Ok(Pair {
            requests_per_second,
            alone: alone.latency,
            beside: beside.latency,
            flood,
        })
    }

    fn look(&self, rate: Rate) -> Result<Outcome> {
        load::run(&Load {
            target: &self.server.target,
            objects: &self.ground.objects,
            connections: CONNECTIONS,
            range_bytes: RANGE_BYTES,
            rate,
            until: Until::Elapsed(Duration::from_secs_f64(self.arguments.seconds)),
            check: Check::Length,
        })
    }
}

impl Row {
    /// NaN if all pairs are void.
    fn median(&self, of: impl Fn(&Pair) -> f64) -> f64 {
        if self.pairs.is_empty() {
            return f64::NAN;
        }
        median(self.pairs.iter().map(of))
    }

    fn ratio(&self) -> f64 {
        self.median(|pair| f64::from(pair.beside.p99_us) / f64::from(pair.alone.p99_us))
    }

    fn misses(&self) -> Vec<String> {
        let mut misses = Vec::new();
        let (server, ratio) = (self.server.name(), self.ratio());
        if self.void > 0 {
            let last = self.voids.last().map_or("", String::as_str);
            misses.push(format!(
                "{server}: {} pairs stayed void ({last})",
                self.void
            ));
        }
        if self.server.is_ours() && ratio > WORST_RATIO {
            misses.push(format!(
                "{server}: p99 is {ratio:.2} of alone, at most {WORST_RATIO}"
            ));
        }
        misses
    }
}

fn print(rows: &[Row]) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([
        "server",
        "requests/s",
        "p50 alone us",
        "beside",
        "p99 alone us",
        "beside",
        "ratio",
        "max alone us",
        "beside",
        "handshakes/s",
        "their p99 us",
        "void",
    ]);
    for row in rows {
        let of = |figure: fn(&Pair) -> u32| format!("{:.0}", row.median(|it| figure(it).into()));
        table.add_row([
            row.server.name().to_owned(),
            format!("{:.0}", row.median(|pair| pair.requests_per_second)),
            of(|pair| pair.alone.p50_us),
            of(|pair| pair.beside.p50_us),
            of(|pair| pair.alone.p99_us),
            of(|pair| pair.beside.p99_us),
            format!("{:.2}", row.ratio()),
            of(|pair| pair.alone.max_us),
            of(|pair| pair.beside.max_us),
            format!("{:.0}", row.median(|pair| pair.flood.per_second)),
            of(|pair| pair.flood.p99_us),
            match (row.voids.len(), row.void) {
                (again, 0) => again.to_string(),
                (again, void) => format!("{again}, {void} for good"),
            },
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
}
