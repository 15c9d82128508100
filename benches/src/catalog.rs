//! `oca-bench catalog`: what a million objects cost a daemon, beside a hundred.
//!
//! `Arguments` -> two boxes with the same files, one of them with records of many more -> rounds of the same requests to each, in turn
//! -> requests to the large one while its catalog is committed to -> the same catalog loaded here, step by step -> [`report`].
//!
//! The further objects are records of the catalog alone: nobody asks for them, and no disk has room for them.

mod report;
mod stand;
mod steps;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::content;
use crate::latency::Summary;
use crate::load::{self, Check, Load, Rate, Until};
use crate::process::Place;
use crate::setup::{self, Folder, Setup};
use report::Report;
use stand::Stand;

/// Content that is asked for.
const FILES: content::Shape = content::Shape {
    files: 100,
    bytes: 1 << 20,
};

/// One request.
const RANGE_BYTES: u64 = 64 << 10;

/// A request may take so much longer than in a small box.
const RATIO_BOUND: f64 = 1.2;

/// `oca-bench catalog`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Objects of the large box
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..))]
    objects: u32,
    /// Rounds; medians over them are compared
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of one sample
    #[arg(long, default_value_t = 3.0, value_parser = setup::seconds)]
    seconds: f64,
    /// Requests a second
    #[arg(long, default_value_t = 4000.0, value_parser = setup::rate)]
    rate: f64,
    #[command(flatten)]
    setup: Setup,
    /// Folder for contents and catalogs, emptied afterwards; default: a new one among the temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let (core, client_core) = arguments.setup.cores()?;
    let programs = arguments.setup.programs()?;
    let folder = Folder::make(arguments.folder.clone())?;
    let contents = folder.0.join("content");
    let objects = content::make(&contents, FILES)?;
    let conditions = stand::Conditions {
        programs: &programs,
        content: &contents,
        objects: &objects,
        place: &Place::from(core),
    };
    let few = Stand::start(&folder.0.join("few"), &conditions, FILES.files)?;
    let many = Stand::start(&folder.0.join("many"), &conditions, arguments.objects)?;
    platform::cpu::pin_to_core(client_core)?;
    for stand in [&few, &many] {
        stand.admin.warm(&stand.target, &objects)?;
    }
    let mut samples = Vec::new();
    for round in 1..=arguments.rounds {
        samples.push((sample(arguments, &few)?, sample(arguments, &many)?));
        eprintln!("round {round} of {}", arguments.rounds);
    }
    let committing = many.commit_meanwhile(|| sample(arguments, &many))?;
    let report = Report {
        objects: arguments.objects,
        few: few.facts()?,
        many: many.facts()?,
        listed: many.list_a_page()?,
        steps: steps::take(&many)?,
        samples,
        committing,
    };
    report.print();
    arguments.setup.write(&report)?;
    let ratio = report.ratio();
    ensure!(
        ratio <= RATIO_BOUND,
        "missed: half of the requests take {ratio:.2} of what they take with {} objects",
        FILES.files
    );
    Ok(())
}

fn sample(arguments: &Arguments, stand: &Stand<'_>) -> Result<Summary> {
    let outcome = load::run(&Load {
        target: &stand.target,
        objects: stand.objects,
        connections: 16,
        range_bytes: RANGE_BYTES,
        rate: Rate::PerSecond(arguments.rate),
        until: Until::Elapsed(Duration::from_secs_f64(arguments.seconds)),
        check: Check::Length,
    })?;
    Ok(outcome.latency)
}
