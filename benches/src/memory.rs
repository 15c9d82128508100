//! `oca-bench memory`: how much of what viewers ask for comes from memory.
//!
//! `Arguments` -> [`trace`] of requests -> `simulate`: through the daemon's own policy, LRU, 2Q and who knows the future ->
//! `live` (Linux): by HTTP, from each server under the same limit of memory -> [`report`], [`plot`].

mod caches;
#[cfg(target_os = "linux")]
mod live;
mod plot;
mod report;
mod simulate;
mod trace;

use std::path::PathBuf;

use anyhow::Result;

use crate::server::Kind;
use crate::setup::{self, Setup};
use report::Report;
use simulate::Who;
use trace::Shape;

/// One request.
const REQUEST_BYTES: u64 = 1 << 20;

/// One title of the simulated library: longer than a piece of the memory tier.
const TITLE_BYTES: u64 = 32 << 20;

/// One title of the library that is served.
const LIVE_TITLE_BYTES: u64 = 8 << 20;

/// `oca-bench memory`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Titles of the simulated library, of 32 MiB
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    titles: u32,
    /// Exponent of Zipf's law
    #[arg(long, default_value_t = 0.9)]
    exponent: f64,
    /// Share of the titles whose popularity changes from day to day
    #[arg(long, default_value_t = 0.1)]
    drift: f64,
    /// Days of the simulation; the first one fills the memory and is not counted
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(2..))]
    days: u32,
    /// Of all random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Memory of the simulation, as shares of the library
    #[arg(long, value_delimiter = ',', default_values_t = [0.01, 0.02, 0.05, 0.1, 0.2], value_parser = setup::share)]
    shares: Vec<f64>,
    /// Which servers get a trace by HTTP as well; needs root. Linux only
    #[arg(long, value_delimiter = ',', default_values = ["nginx", "oca-uring"])]
    servers: Vec<Kind>,
    /// Only simulate
    #[arg(long)]
    simulate_only: bool,
    /// Memory of each server, in MiB
    #[arg(long, default_value_t = 384, value_parser = clap::value_parser!(u64).range(128..))]
    limit_mib: u64,
    /// Titles that are served, of 8 MiB; twice their bytes are needed on the disk
    #[arg(long, default_value_t = 384, value_parser = clap::value_parser!(u32).range(1..))]
    live_titles: u32,
    /// Days for the servers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..))]
    live_days: u32,
    /// Requests of 1 MiB that a server gets in a day
    #[arg(long, default_value_t = 8192, value_parser = clap::value_parser!(u64).range(64..))]
    live_requests: u64,
    #[command(flatten)]
    setup: Setup,
    /// Folder for the disk and for configurations, emptied afterwards; default: a new one among the temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Draw it there, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    prepare(arguments)?;
    let report = Report {
        shape: arguments.shape(),
        simulated: simulate(arguments),
        live: live(arguments)?,
    };
    report.print();
    arguments.setup.write(&report)?;
    if let Some(file) = &arguments.plot {
        setup::write(file, &plot::svg(&report))?;
    }
    Ok(())
}

impl Arguments {
    fn shape(&self) -> Shape {
        Shape {
            titles: self.titles,
            title_bytes: TITLE_BYTES,
            request_bytes: REQUEST_BYTES,
            exponent: self.exponent,
            days: self.days,
            // As many as the library has bytes.
            requests_per_day: u64::from(self.titles) * (TITLE_BYTES / REQUEST_BYTES),
            drift: self.drift,
            seed: self.seed,
        }
    }
}

fn simulate(arguments: &Arguments) -> Vec<simulate::Outcome> {
    let shape = arguments.shape();
    let trace = shape.trace();
    let each = |&share| Who::ALL.map(|who| simulate::run(&shape, &trace, share, who));
    arguments.shares.iter().flat_map(each).collect()
}

/// What the servers need is mounted where nobody else sees it.
#[cfg(target_os = "linux")]
fn prepare(arguments: &Arguments) -> Result<()> {
    if arguments.simulate_only {
        return Ok(());
    }
    crate::isolation::place::enter_namespace()
}

#[cfg(not(target_os = "linux"))]
fn live(_: &Arguments) -> Result<Option<report::Live>> {
    Ok(None)
}

#[cfg(not(target_os = "linux"))]
fn prepare(_: &Arguments) -> Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn live(arguments: &Arguments) -> Result<Option<report::Live>> {
    use anyhow::Context as _;

    use crate::setup::Folder;

    if arguments.simulate_only {
        return Ok(None);
    }
    let shape = Shape {
        titles: arguments.live_titles,
        title_bytes: LIVE_TITLE_BYTES,
        days: arguments.live_days,
        requests_per_day: arguments.live_requests,
        ..arguments.shape()
    };
    let (core, client_core) = arguments.setup.cores()?;
    let programs = arguments.setup.programs()?;
    let folder = Folder::make(arguments.folder.clone())?;
    let mut stage = live::Stage::make(live::Conditions {
        shape,
        limit_mib: arguments.limit_mib,
        folder: &folder.0,
        programs: &programs,
        core,
    })?;
    platform::cpu::pin_to_core(client_core)?;
    let mut outcomes = Vec::new();
    for &kind in &arguments.servers {
        eprintln!("{}", kind.name());
        outcomes.push(stage.run(kind).with_context(|| kind.name())?);
    }
    Ok(Some(report::Live {
        shape,
        limit_mib: arguments.limit_mib,
        outcomes,
    }))
}
