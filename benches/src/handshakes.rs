//! `oca-bench handshakes`: what a TLS handshake costs each server, and what many of them cost its viewers.
//!
//! `Arguments` -> for each kind of certificate: servers started -> rounds of versions, full and resumed -> `Sample`s -> [`report`].
//! With `--flood`: [`beside`].
//!
//! A handshake is a connection, the words of TLS, close_notify, and the server's end of the connection, by which it is known to have heard
//! all of it. Nothing is asked for. What counts is the server's CPU time, so the client may be the slower one.

mod beside;
pub(crate) mod flood;
mod report;
mod shaker;
mod tickets;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::client::Resumption;

use crate::content;
use crate::load::{Object, Rate, Until};
use crate::process::{Place, own_cpu_seconds};
use crate::server::{self, Kind, Server, Setting};
use crate::setup::{self, Folder, Setup};
use crate::tls::{Client, KeyKind, Security, Suite, Version};
use report::{Case, Report, Sample};
use shaker::{Plan, Resuming, shake};
use tickets::Tickets;

/// Lets caches settle before each sample.
const SETTLE: Duration = Duration::from_millis(200);

/// What is served to whoever asks beside the flood; nobody does otherwise.
const CONTENT: content::Shape = content::Shape {
    files: 16,
    bytes: 4 << 20,
};

/// `oca-bench handshakes`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which servers
    #[arg(long, value_delimiter = ',', default_values = ["nginx", "lighttpd", "oca-uring", "oca-epoll"])]
    servers: Vec<Kind>,
    /// What they sign with
    #[arg(long, value_delimiter = ',', default_values = ["ecdsa", "rsa"])]
    keys: Vec<KeyKind>,
    /// Versions of TLS
    #[arg(long, value_delimiter = ',', default_values = ["1.3", "1.2"])]
    versions: Vec<Version>,
    /// Rounds, or with --flood pairs of samples; medians over them are compared
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of one sample
    #[arg(long, default_value_t = 2.0, value_parser = setup::seconds)]
    seconds: f64,
    /// Handshakes under way at once
    #[arg(long, default_value_t = 16, value_parser = setup::count)]
    connections: usize,
    /// Instead: what so many full handshakes a second (TLS 1.3, ECDSA) do to viewers of what is in memory, over TLS
    #[arg(long, value_name = "PER_SECOND", value_parser = setup::rate)]
    flood: Option<f64>,
    /// With --flood: what viewers ask for, of what the server serves as fast as it can
    #[arg(long, default_value_t = 0.25, value_parser = setup::share)]
    share: f64,
    #[command(flatten)]
    setup: Setup,
    /// Folder for contents and configurations, emptied afterwards; default: a new one among the temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let (server_core, client_core) = arguments.setup.cores()?;
    // All that is not a server stays on the clients' core.
    platform::cpu::pin_to_core(client_core)?;
    let folder = Folder::make(arguments.folder.clone())?;
    let contents = folder.0.join("content");
    let ground = Ground {
        objects: content::make(&contents, CONTENT)?,
        contents,
        folder: &folder.0,
        place: server_core.into(),
        programs: arguments.setup.programs()?,
    };
    if let Some(rate) = arguments.flood {
        return beside::main(arguments, &ground, rate, client_core);
    }
    let mut samples = Vec::new();
    for &key in &arguments.keys {
        let standing = ground.start(&arguments.servers, key)?;
        samples.extend(measure(arguments, &standing, key)?);
    }
    let report = Report::of(samples);
    report.print();
    arguments.setup.write(&report)?;
    let missed = report.missed();
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

/// What all servers share.
struct Ground<'a> {
    folder: &'a Path,
    contents: PathBuf,
    objects: Vec<Object>,
    place: Place,
    programs: PathBuf,
}

/// Servers with one certificate.
struct Standing {
    security: Security,
    servers: Vec<Server>,
}

impl Ground<'_> {
    fn start(&self, kinds: &[Kind], key: KeyKind) -> Result<Standing> {
        let folder = self.folder.join(key.short());
        std::fs::create_dir(&folder)?;
        let security = Security::make(&folder.join("tls"), Suite::Aes128, key)?;
        let start = |&kind: &Kind| {
            let setting = Setting {
                folder: &folder.join(kind.short()),
                content: &self.contents,
                objects: &self.objects,
                place: &self.place,
                host: Ipv4Addr::LOCALHOST.into(),
                programs: &self.programs,
                tls: Some(&security),
                appliance: None,
            };
            server::start(kind, &setting)
        };
        let servers = kinds.iter().map(start).collect::<Result<_>>()?;
        Ok(Standing { security, servers })
    }
}

fn measure(arguments: &Arguments, standing: &Standing, key: KeyKind) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for &version in &arguments.versions {
        for resuming in [Resuming::Never, Resuming::Always] {
            let case = Case {
                key,
                version,
                resuming,
            };
            for round in 0..arguments.rounds {
                let servers = &standing.servers;
                for turn in 0..servers.len() {
                    // Another one begins each round: nobody is always the first after a pause.
                    let server = &servers[(turn + round as usize) % servers.len()];
                    let sample = sample(arguments, standing, server, case);
                    let about = || format!("{case}, {}", server.kind.name());
                    samples.push(sample.with_context(about)?);
                }
                eprintln!("{case}: round {} of {}", round + 1, arguments.rounds);
            }
        }
    }
    Ok(samples)
}

fn sample(
    arguments: &Arguments,
    standing: &Standing,
    server: &Server,
    case: Case,
) -> Result<Sample> {
    let certificate = &standing.security.certificate;
    let client = Client::new(certificate, standing.security.suite, case.version)?;
    let tickets = Arc::new(Tickets::default());
    let with_tickets = client.resuming(Resumption::store(Arc::clone(&tickets) as _));
    let plan = |resuming, until| Plan {
        address: server.target.address,
        client: match case.resuming {
            Resuming::Never => &client,
            Resuming::Always => &with_tickets,
        },
        resuming,
        tickets: Some(&tickets),
        slots: arguments.connections,
        rate: Rate::Full,
        until,
    };
    let length = Duration::from_secs_f64(arguments.seconds);
    if case.resuming == Resuming::Always {
        // Each slot gets a ticket to begin with.
        let slots = arguments.connections as u64;
        shake(&plan(Resuming::Never, Until::Requests(slots)))?;
    }
    shake(&plan(case.resuming, Until::Elapsed(SETTLE)))?;
    if case.resuming == Resuming::Always && !tickets.any() {
        // lighttpd gives no other ticket to who shows one.
        shake(&plan(Resuming::Never, Until::Elapsed(length)))?;
    }
    let (server_before, client_before) = (server.process.cpu_seconds()?, own_cpu_seconds()?);
    let shaken = shake(&plan(case.resuming, Until::Elapsed(length)))?;
    let server_cpu = server.process.cpu_seconds()? - server_before;
    let client_cpu = own_cpu_seconds()? - client_before;
    ensure!(
        server_cpu > 0.0,
        "no CPU time was charged to the server: this would prove nothing"
    );
    Ok(Sample::new(
        server.kind,
        case,
        &shaken,
        server_cpu,
        client_cpu,
    ))
}
