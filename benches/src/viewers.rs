//! `oca-bench viewers`: an audience that watches, and whether it would have noticed the server.
//!
//! `Arguments` -> titles written -> for each server: started, warmed by an audience of its own, each shape once -> `Run`s -> [`report`].
//!
//! An [`audience`] of viewers keeps a buffer of half a minute each ([`playback`]), in segments of four seconds, half of them always in the
//! best rendition and half of them by a [`rule`]; [`quality`] sums up what they saw. Ours has memory for some of the titles, so that part of
//! the bytes comes from devices; peers have all of them in the page cache, where they were written.
//!
//! Servers run one after the other, not interleaved: what is asked of a server is that nobody waits, and a run is as long as it must be
//! for that. A run in which the generator itself was late is void.

mod audience;
mod playback;
mod quality;
mod report;
mod rule;
mod seen;
mod shape;
mod titles;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::{Place, own_cpu_seconds};
use crate::server::{self, Kind, Server, Setting};
use crate::setup::{Folder, Setup};
use audience::Plan;
use report::Run;
use rule::Rule;
use shape::Shape;
use titles::{Titles, segment_bytes};

/// Play-out time of a segment.
const SEGMENT: Duration = Duration::from_secs(4);

/// The buffer that viewers keep.
const TARGET: Duration = Duration::from_secs(30);

/// The memory tier takes in what viewers ask for; they do so for so long before anything is measured.
const WARM: Duration = Duration::from_secs(20);

/// `oca-bench viewers`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which of ours
    #[arg(long, value_delimiter = ',', default_values = ["oca-uring", "oca-epoll"])]
    servers: Vec<Kind>,
    /// Also nginx and lighttpd, afterwards
    #[arg(long)]
    peers: bool,
    /// Viewers and bit rate of the best rendition, as in 1000x5Mbps
    #[arg(long, value_delimiter = ',', default_values = ["1000x5Mbps", "2000x3Mbps", "500x15Mbps"])]
    shapes: Vec<Shape>,
    /// Length of a run
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Viewers arrive within this time; default: the first half of the run
    #[arg(long)]
    arrivals: Option<u64>,
    /// Titles, each in three renditions; the n-th is wanted 1/n times as often as the first
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    titles: u32,
    /// Length of the best rendition of each title, in MiB; the others have a half and a quarter of it
    #[arg(long, default_value_t = 96, value_parser = clap::value_parser!(u64).range(4..))]
    title_mib: u64,
    /// Ours has memory for so many percent of the titles
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    memory_percent: u32,
    /// Another audience
    #[arg(long, default_value_t = 0x0CA, value_parser = clap::value_parser!(u64).range(1..))]
    seed: u64,
    #[command(flatten)]
    setup: Setup,
    /// Folder for contents and configurations, emptied afterwards; default: a new one among the temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let (server_core, client_core) = arguments.setup.cores()?;
    platform::cpu::pin_to_core(client_core)?;
    let folder = Folder::make(arguments.folder.clone())?;
    let titles = Titles::make(
        &folder.0.join("content"),
        arguments.titles,
        arguments.title_mib << 20,
    )?;
    let mut kinds = arguments.servers.clone();
    if arguments.peers {
        kinds.extend([Kind::Nginx, Kind::Lighttpd]);
    }
    let mut runs = Vec::new();
    for kind in kinds {
        let of_kind = serve(arguments, &folder.0, kind, server_core, &titles);
        runs.extend(of_kind.with_context(|| kind.name())?);
    }
    report::print(&runs);
    arguments.setup.write(&runs)?;
    let words = report::judge(&runs);
    ensure!(words.is_empty(), "{}", words.join("\n"));
    Ok(())
}

/// All shapes against one server, which is removed afterwards with its copy of the titles.
fn serve(
    arguments: &Arguments,
    folder: &Path,
    kind: Kind,
    core: usize,
    titles: &Titles,
) -> Result<Vec<Run>> {
    let fit = titles.count() * arguments.memory_percent as usize / 100;
    let own = folder.join("server");
    let setting = Setting {
        folder: &own,
        content: &folder.join("content"),
        objects: &titles.most_popular(fit.max(1)),
        place: &Place::from(core),
        host: Ipv4Addr::LOCALHOST.into(),
        programs: &arguments.setup.programs()?,
        tls: None,
        appliance: None,
    };
    let server = server::start(kind, &setting)?;
    let runs = run_all(arguments, &server, titles);
    drop(server);
    std::fs::remove_dir_all(&own).with_context(|| own.display().to_string())?;
    runs
}

fn run_all(arguments: &Arguments, server: &Server, titles: &Titles) -> Result<Vec<Run>> {
    if let Some(&first) = arguments.shapes.first() {
        let plan = Plan {
            seed: arguments.seed.wrapping_add(1).max(1),
            arrivals: WARM / 2,
            length: WARM,
            ..plan(arguments, server, titles, first)
        };
        audience::watch(&plan)?;
    }
    let shapes = arguments.shapes.iter();
    shapes
        .map(|&shape| run(server, shape, &plan(arguments, server, titles, shape)))
        .collect()
}

fn plan<'a>(
    arguments: &Arguments,
    server: &'a Server,
    titles: &'a Titles,
    shape: Shape,
) -> Plan<'a> {
    let length = Duration::from_secs(arguments.seconds);
    Plan {
        server: &server.target,
        titles,
        rules: &Rule::ALL,
        viewers: shape.viewers,
        segment_bytes: segment_bytes(shape.bits_per_second, SEGMENT),
        segment: SEGMENT,
        target: TARGET,
        arrivals: arguments.arrivals.map_or(length / 2, Duration::from_secs),
        length,
        seed: arguments.seed,
    }
}

fn run(server: &Server, shape: Shape, plan: &Plan<'_>) -> Result<Run> {
    eprintln!("{}, {shape}: {:?}", server.kind.name(), plan.length);
    let sent_before = server.sent_bytes()?;
    let (server_before, own_before) = (server.process.cpu_seconds()?, own_cpu_seconds()?);
    let seen = audience::watch(plan)?;
    let server_cpu_seconds = server.process.cpu_seconds()? - server_before;
    let generator_busy = (own_cpu_seconds()? - own_before) / plan.length.as_secs_f64();
    ensure!(
        server_cpu_seconds > 0.0 && seen.bytes > 0,
        "nothing was served: this would prove nothing"
    );
    let device_share = sent_before
        .zip(server.sent_bytes()?)
        .map(|(before, after)| after.device_share_since(before));
    Ok(Run {
        server: server.kind,
        shape,
        seconds: plan.length.as_secs_f64(),
        seen,
        server_cpu_seconds,
        generator_busy,
        device_share,
    })
}
