//! `oca-bench fill`: what a fill at its full rate does to viewers of what is in memory.
//!
//! One box (daemon and agent) and one control endpoint, all real. Viewers ask at a steady rate, in pairs of samples: with the
//! fill paused, then with the fill running; the medians of both p99 are compared. A sample counts only if nothing was fetched in the first,
//! or the rate was reached in the second, and if neither the load generator nor the host of a virtual machine held it up; else it is taken
//! again, and said how often. At the end none of what was fetched may lie in the page cache: that belongs to others.

mod site;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::content;
use crate::latency::median;
use crate::load::{self, Check, Load, MOST_MISSED, Object, Rate, Until};
use crate::setup::{self, Folder, Setup};
use crate::void::{Void, take_again, undisturbed};
use site::Site;

/// Bytes asked for at once.
const RANGE_BYTES: u64 = 64 * 1024;

/// Connections of viewers.
const VIEWERS: usize = 8;

/// Objects that are filled. A rendition of a film is larger still; what small ones cost besides is work of the file system.
const FILL_OBJECT_BYTES: u64 = 32 << 20;

/// The least share of the rate that a fill must reach for its sample to count.
const REACHED: f64 = 0.9;

/// The most that a fill may cost.
const WORST_RATIO: f64 = 1.5;

/// There is so much more to fetch than the samples need.
const SPARE: f64 = 4.0;

/// A fill begins and ends within this after it was asked to.
const TURN_BOUND: Duration = Duration::from_secs(20);

/// `oca-bench fill`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The fill's rate, in Mbit/s
    #[arg(long, default_value_t = 800)]
    rate: u64,
    /// Pairs of samples; medians over them are compared
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Length of one sample
    #[arg(long, default_value_t = 2.0, value_parser = setup::seconds)]
    seconds: f64,
    /// Ranges of 64 KiB that viewers ask for in a second. What they leave of two cores is for the fill
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    #[command(flatten)]
    setup: Setup,
    /// Folder for contents and configurations, emptied afterwards; default: a new one among the temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// One half of a pair.
#[derive(Debug, Clone, Copy, serde::Serialize)]
struct Sample {
    filling: bool,
    requests_per_second: f64,
    p50_us: u32,
    p99_us: u32,
    max_us: u32,
    /// Requests that the client was too late for, of those that were due.
    missed_share: f64,
    fetched_mbit_per_second: f64,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let (server_core, client_core) = arguments.setup.cores()?;
    let folder = Folder::make(arguments.folder.clone())?;
    let make = |name: &str, files, bytes| {
        let path = folder.0.join(name);
        content::make(&path, content::Shape { files, bytes }).map(|objects| (path, objects))
    };
    let (hot_folder, hot) = make("hot", 16, 16 << 20)?;
    // Starting and stopping fetches too, and some samples are taken again.
    let busy = arguments.seconds * f64::from(arguments.pairs) * SPARE + 10.0;
    let fill_bytes = (arguments.rate as f64 * 1e6 / 8.0 * busy) as u64;
    let files = u32::try_from(fill_bytes.div_ceil(FILL_OBJECT_BYTES))?;
    let (fill_folder, fill) = make("fill", files, FILL_OBJECT_BYTES)?;

    let site = Site::start(&site::Setting {
        folder: &folder.0,
        programs: &arguments.setup.programs()?,
        hot: &hot_folder,
        fill: &fill_folder,
        rate_mbit: arguments.rate,
        server_core,
        client_core,
    })?;
    platform::cpu::pin_to_core(client_core)?;
    site.pause()?;
    site.warm(&hot)?;
    let mut samples = Vec::new();
    let mut again = 0;
    let mut take = |filling| -> Result<()> {
        let tried = take_again(|| undisturbed(|| sample(arguments, &site, &hot, filling)))?;
        again += tried.voids.len();
        samples.push(tried.taken.context("a sample stayed void")?);
        Ok(())
    };
    for pair in 0..arguments.pairs {
        take(false)?;
        site.resume()?;
        await_rate(&site, arguments.rate)?;
        take(true)?;
        site.pause()?;
        await_silence(&site)?;
        eprintln!("pair {} of {}", pair + 1, arguments.pairs);
    }
    let cached = site.cached_share(&fill)?;
    report(&samples, again, cached);
    arguments.setup.write(&samples)?;
    ensure!(ratio(&samples) <= WORST_RATIO, "more than {WORST_RATIO}");
    ensure!(cached <= 0.01, "the fill has used the page cache");
    Ok(())
}

fn sample(arguments: &Arguments, site: &Site, hot: &[Object], filling: bool) -> Result<Sample> {
    let before = site.fetched_bytes()?;
    let begun = Instant::now();
    let outcome = load::run(&Load {
        target: &site.target,
        objects: hot,
        connections: VIEWERS,
        range_bytes: RANGE_BYTES,
        rate: Rate::PerSecond(arguments.requests.into()),
        until: Until::Elapsed(Duration::from_secs_f64(arguments.seconds)),
        check: Check::Length,
    })?;
    let fetched = (site.fetched_bytes()? - before) as f64 * 8.0 / 1e6;
    let sample = Sample {
        filling,
        requests_per_second: outcome.requests_per_second(),
        p50_us: outcome.latency.p50_us,
        p99_us: outcome.latency.p99_us,
        max_us: outcome.latency.max_us,
        missed_share: outcome.missed_share,
        fetched_mbit_per_second: fetched / begun.elapsed().as_secs_f64(),
    };
    let wanted = arguments.rate as f64 * REACHED;
    let as_wanted = if filling {
        sample.fetched_mbit_per_second >= wanted
    } else {
        sample.fetched_mbit_per_second < wanted / 100.0
    };
    if !as_wanted || sample.missed_share > MOST_MISSED {
        return Err(Void(format!("{sample:?}")).into());
    }
    Ok(sample)
}

/// Waits until half a second brings what the rate allows.
fn await_rate(site: &Site, rate_mbit: u64) -> Result<()> {
    let wanted = rate_mbit as f64 * 1e6 / 8.0 * 0.5 * REACHED;
    await_steps(site, |step| step >= wanted).context("the fill does not reach its rate")
}

fn await_silence(site: &Site) -> Result<()> {
    await_steps(site, |step| step == 0.0).context("the fill does not stop")
}

fn await_steps(site: &Site, enough: impl Fn(f64) -> bool) -> Result<()> {
    let begun = Instant::now();
    let mut before = site.fetched_bytes()?;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = site.fetched_bytes()?;
        if enough((now - before) as f64) {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < TURN_BOUND,
            "{}",
            site.fill_status().unwrap_or_default()
        );
        before = now;
    }
}

fn of(samples: &[Sample], filling: bool, value: fn(&Sample) -> f64) -> f64 {
    median(
        samples
            .iter()
            .filter(|sample| sample.filling == filling)
            .map(value),
    )
}

fn ratio(samples: &[Sample]) -> f64 {
    let p99 = |filling| of(samples, filling, |sample| f64::from(sample.p99_us));
    p99(true) / p99(false)
}

fn report(samples: &[Sample], again: usize, cached: f64) {
    for filling in [false, true] {
        println!(
            "{:<9} {:>8.0} requests/s  p50 {:>5.0} us  p99 {:>6.0} us  max {:>6.0} us  missed {:>5.2} %  fetched {:>6.0} Mbit/s",
            if filling { "filling" } else { "alone" },
            of(samples, filling, |sample| sample.requests_per_second),
            of(samples, filling, |sample| f64::from(sample.p50_us)),
            of(samples, filling, |sample| f64::from(sample.p99_us)),
            of(samples, filling, |sample| f64::from(sample.max_us)),
            of(samples, filling, |sample| sample.missed_share * 100.0),
            of(samples, filling, |sample| sample.fetched_mbit_per_second),
        );
    }
    println!(
        "p99 beside a fill / alone: {:.2}; of what was fetched, {:.2} % lies in the page cache; {again} samples were void and taken again",
        ratio(samples),
        cached * 100.0,
    );
}
