//! `oca-bench hot`: content that is in memory, served by each server on one core to a client on another.
//!
//! `Arguments` -> servers started, checked byte by byte, warmed -> rounds -> `Sample`s -> [`report`].
//!
//! All servers stand ready at once and take turns within each round, so that whatever the machine does beside affects
//! all of them; medians over the rounds are compared. A sample counts only if every response was exactly right, the server was
//! charged CPU time, and nothing was read from a device.

mod report;
mod shape;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::content;
use crate::load::{self, Check, Load, Object, Rate, Until};
use crate::long_path::{self, LongPath};
use crate::namespace::Namespace;
use crate::process::{Place, own_cpu_seconds};
use crate::server::{self, Kind, Server, Setting};
use crate::setup::{self, Folder, Setup};
use crate::tls::{KeyKind, Security, Suite};
use report::{Report, Sample};
use shape::Shape;

/// Requests whose bodies are compared with the files, before anything is measured.
const COMPARED_REQUESTS: u64 = 200;

/// Lets caches and windows settle before each sample.
const SETTLE: Duration = Duration::from_millis(200);

/// `oca-bench hot`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which servers; default: nginx, lighttpd, both of ours, and without TLS the floor
    #[arg(long, value_delimiter = ',')]
    servers: Vec<Kind>,
    /// Range and connections, as in 64KiBx64; default: 64KiBx64, 256KiBx256, 1MiBx16, and without TLS 16KiBx64
    #[arg(long, value_delimiter = ',')]
    shapes: Vec<Shape>,
    /// TLS 1.3 with this suite; an error if ours pays more than 0.95 of nginx's CPU per GB
    #[arg(long)]
    tls: Option<Suite>,
    /// Rounds; medians over them are compared
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of one sample
    #[arg(long, default_value_t = 2.0, value_parser = setup::seconds)]
    seconds: f64,
    /// Files served
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    files: u32,
    /// Length of each file, in MiB
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    file_mib: u64,
    /// Clients that read bodies into memory, as players do, instead of throwing them away in the kernel
    #[arg(long)]
    read: bool,
    /// Workers of each server, on the first cores; with more than one the client has no core of its own
    #[arg(long, default_value_t = 1, conflicts_with = "server_core", value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// Servers in a network namespace, behind a veth pair of MTU 1500, instead of on loopback (root)
    #[arg(long)]
    veth: bool,
    /// Servers behind a path with a round trip of so many milliseconds, by a device whose packets are held back (root, socat)
    #[arg(long, value_name = "MILLISECONDS", conflicts_with = "veth", value_parser = clap::value_parser!(u64).range(1..=1000))]
    round_trip: Option<u64>,
    #[command(flatten)]
    setup: Setup,
    /// Folder for contents and configurations, emptied afterwards; default: a new one among the temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let (server_cores, client_core) = placement(arguments)?;
    let namespace = arguments.veth.then(Namespace::make).transpose()?;
    let place = Place {
        cores: server_cores,
        namespace: namespace.as_ref().map(|made| made.name().to_owned()),
        group: None,
    };
    let folder = Folder::make(arguments.folder.clone())?;
    let path = arguments.round_trip.map(|round_trip| {
        LongPath::make(&[], &folder.0, Duration::from_millis(round_trip)).context("a long path")
    });
    let path = path.transpose()?;
    let host = match (&namespace, &path) {
        (Some(made), _) => made.inside,
        (None, Some(_)) => long_path::NEAR.into(),
        (None, None) => Ipv4Addr::LOCALHOST.into(),
    };
    let contents = folder.0.join("content");
    let shape = content::Shape {
        files: arguments.files,
        bytes: arguments.file_mib << 20,
    };
    let objects = content::make(&contents, shape)?;
    let security = arguments
        .tls
        .map(|suite| Security::make(&folder.0.join("tls"), suite, KeyKind::Ecdsa));
    let security = security.transpose()?;
    let mut servers = Vec::new();
    for kind in arguments.servers() {
        let setting = Setting {
            folder: &folder.0.join(kind.short()),
            content: &contents,
            objects: &objects,
            place: &place,
            host,
            programs: &arguments.setup.programs()?,
            tls: security.as_ref(),
            appliance: None,
        };
        servers.push(server::start(kind, &setting)?);
    }
    // After the servers: they would inherit it.
    if let Some(core) = client_core {
        platform::cpu::pin_to_core(core)?;
    }
    for server in &servers {
        prepare(server, &objects).with_context(|| server.kind.name())?;
    }
    if path.is_some() {
        for server in &mut servers {
            server.target.address.set_ip(long_path::FAR.into());
        }
    }
    let samples = measure(arguments, &servers, &objects)?;
    let report = Report::of(samples, arguments.tls);
    report.print();
    arguments.setup.write(&report)?;
    let missed = report.missed();
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

impl Arguments {
    fn servers(&self) -> Vec<Kind> {
        if !self.servers.is_empty() {
            return self.servers.clone();
        }
        let mut servers = vec![Kind::Nginx, Kind::Lighttpd, Kind::OcaUring, Kind::OcaEpoll];
        servers.extend(self.tls.is_none().then_some(Kind::Floor));
        servers
    }

    fn shapes(&self) -> Vec<Shape> {
        if !self.shapes.is_empty() {
            return self.shapes.clone();
        }
        let first = if self.tls.is_some() { 1 } else { 0 };
        Shape::USUAL[first..].to_vec()
    }
}

/// The cores of the servers, and the client's if it has one to itself.
fn placement(arguments: &Arguments) -> Result<(Vec<usize>, Option<usize>)> {
    if arguments.workers == 1 {
        let (server, client) = arguments.setup.cores()?;
        return Ok((vec![server], Some(client)));
    }
    let mut usable = platform::cpu::usable_cores()?;
    let workers = arguments.workers as usize;
    ensure!(
        usable.len() >= workers,
        "{workers} workers need a core each; this process may use {usable:?}"
    );
    usable.truncate(workers);
    Ok((usable, arguments.setup.named_client_core()))
}

fn prepare(server: &Server, objects: &[Object]) -> Result<()> {
    server.warm(objects)?;
    load::run(&Load {
        target: &server.target,
        objects,
        connections: 8,
        range_bytes: 256 * 1024,
        rate: Rate::Full,
        until: Until::Requests(COMPARED_REQUESTS),
        check: Check::Content,
    })?;
    Ok(())
}

fn measure(arguments: &Arguments, servers: &[Server], objects: &[Object]) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for shape in arguments.shapes() {
        for round in 0..arguments.rounds {
            for turn in 0..servers.len() {
                // Another one begins each round: nobody is always the first after a pause.
                let server = &servers[(turn + round as usize) % servers.len()];
                let sample = sample(arguments, server, objects, shape)
                    .with_context(|| format!("{}, {shape}", server.kind.name()))?;
                samples.push(sample);
            }
            eprintln!("{shape}: round {} of {}", round + 1, arguments.rounds);
        }
    }
    Ok(samples)
}

fn sample(
    arguments: &Arguments,
    server: &Server,
    objects: &[Object],
    shape: Shape,
) -> Result<Sample> {
    let load = |elapsed| Load {
        target: &server.target,
        objects,
        connections: shape.connections,
        range_bytes: shape.range_bytes,
        rate: Rate::Full,
        until: Until::Elapsed(elapsed),
        check: if arguments.read {
            Check::Read
        } else {
            Check::Length
        },
    };
    load::run(&load(SETTLE))?;
    let device_bytes = server.device_bytes()?;
    let (server_before, client_before) = (server.process.cpu_seconds()?, own_cpu_seconds()?);
    let outcome = load::run(&load(Duration::from_secs_f64(arguments.seconds)))?;
    let server_cpu = server.process.cpu_seconds()? - server_before;
    let client_cpu = own_cpu_seconds()? - client_before;
    ensure!(
        server_cpu > 0.0,
        "no CPU time was charged to the server: this would prove nothing"
    );
    ensure!(
        server.device_bytes()? == device_bytes,
        "content was read from a device: this is not a measurement of memory"
    );
    Ok(Sample::new(
        server.kind,
        shape,
        &outcome,
        server_cpu,
        client_cpu,
    ))
}
