//! `oca-bench cold`: content ten times as large as the memory that a server may use, so that nearly all of it comes from the device.
//!
//! `Arguments` -> servers, each in a memory cgroup of its own, checked byte by byte -> rounds of servers and `fio` in turn ->
//! [`report`]: medians, and whether each limit was kept. Then 2 000 viewers who do not read, beside some who do, and the most
//! that was read and not sent.
//!
//! Device bytes are those that the kernel charges to the processes of a server (`read_bytes` of proc_pid_io(5)), so that what others read
//! from the same disk does not count.

mod group;
mod report;
mod slow;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::content;
use crate::load::{self, Check, Load, Object, Rate, Until};
use crate::process::Place;
use crate::server::appliance::{Appliance, Import, Tier};
use crate::server::{self, Server, Setting};
use crate::setup::{self, Folder, Setup};
use crate::tls::{KeyKind, Security, Suite};
use group::MemoryGroup;
use report::{Report, Sample, Who};

/// Requests whose bodies are compared with the files, before anything is measured.
const COMPARED_REQUESTS: u64 = 200;

/// Lets queues fill before each sample.
const SETTLE: Duration = Duration::from_millis(300);

/// Reads under way on one device of ours, and of `fio`: `FLASH_READERS` of the daemon.
const IN_FLIGHT: u32 = 8;

/// Unit of reading of ours, and of `fio`.
const READ_UNIT_KIB: u32 = 256;

/// Content that fits into memory, for the figure that the cold one is compared with.
const HOT: content::Shape = content::Shape {
    files: 4,
    bytes: 16 << 20,
};

/// `oca-bench cold`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Memory that each server may use, in MiB
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(128..))]
    memory_mib: u64,
    /// Content, as a multiple of that memory
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..))]
    times: u64,
    /// Connections, each with one request of 1 MiB at a time
    #[arg(long, default_value_t = 64, value_parser = setup::count)]
    connections: usize,
    /// Viewers who do not read
    #[arg(long, default_value_t = 2_000)]
    slow: usize,
    /// Rounds; medians over them are compared
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of one sample
    #[arg(long, default_value_t = 3.0, value_parser = setup::seconds)]
    seconds: f64,
    /// TLS 1.3 with this suite
    #[arg(long)]
    tls: Option<Suite>,
    #[command(flatten)]
    setup: Setup,
    /// Folder for contents and configurations on the disk to be measured, emptied afterwards; it takes three times the content
    #[arg(long)]
    folder: PathBuf,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let (server_core, client_core) = arguments.setup.cores()?;
    let folder = Folder::make(Some(arguments.folder.clone()))?;
    let bytes = (arguments.memory_mib * arguments.times) << 20;
    let shape = content::Shape {
        files: 16,
        bytes: bytes / 16,
    };
    let cold = Corpus::make(&folder.0.join("cold"), shape)?;
    let hot = Corpus::make(&folder.0.join("hot"), HOT)?;
    let place = Place::from(server_core);
    let programs = arguments.setup.programs()?;
    let security = arguments
        .tls
        .map(|suite| Security::make(&folder.0.join("tls"), suite, KeyKind::Ecdsa));
    let security = security.transpose()?;
    let start = |who: Who| {
        let corpus = if who.is_hot() { &hot } else { &cold };
        let ground = Ground {
            folder: &folder.0,
            place: &place,
            programs: &programs,
            security: security.as_ref(),
        };
        Standing::start(arguments, who, corpus, &ground)
    };
    let mut standing = Who::all(security.is_some())
        .map(|who| start(who).with_context(|| who.name()))
        .collect::<Result<Vec<_>>>()?;
    // After the servers: they would inherit it.
    platform::cpu::pin_to_core(client_core)?;
    for one in &standing {
        one.prepare().with_context(|| one.who.name())?;
    }
    let mut report = Report::new(arguments.tls);
    for round in 0..arguments.rounds {
        report.fio.push(fio(arguments, &cold)?);
        // Another one begins each round: nobody is always the first after a pause.
        standing.rotate_left(1);
        for one in &standing {
            let sample = one.sample(arguments).with_context(|| one.who.name())?;
            report.samples.push(sample);
        }
        eprintln!("round {} of {}", round + 1, arguments.rounds);
    }
    for one in standing.iter().filter(|one| one.who.is_cold_and_ours()) {
        let held = slow::hold(arguments.slow, &one.server, one.objects)
            .with_context(|| format!("{}, slow viewers", one.who.name()))?;
        report.held.push((one.who, held));
    }
    report.print();
    arguments.setup.write(&report.document())?;
    let missed = report.missed();
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

/// Files, as every server gets them.
struct Corpus {
    folder: PathBuf,
    objects: Vec<Object>,
}

impl Corpus {
    fn make(folder: &Path, shape: content::Shape) -> Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            objects: content::make(folder, shape)?,
        })
    }
}

/// What all servers share.
struct Ground<'a> {
    folder: &'a Path,
    place: &'a Place,
    programs: &'a Path,
    security: Option<&'a Security>,
}

/// A server that runs in its group.
struct Standing<'a> {
    who: Who,
    objects: &'a [Object],
    server: Server,
    _group: MemoryGroup,
}

impl<'a> Standing<'a> {
    fn start(
        arguments: &Arguments,
        who: Who,
        corpus: &'a Corpus,
        ground: &Ground<'_>,
    ) -> Result<Self> {
        let folder = ground.folder.join(who.folder());
        // Beside what is locked, the same room for everything else.
        let hot_mib = if who.is_hot() {
            2 * (HOT.bytes >> 20) * u64::from(HOT.files)
        } else {
            0
        };
        let group = MemoryGroup::make(who.folder(), (arguments.memory_mib + hot_mib) << 20)?;
        let appliance = appliance(&folder, &corpus.folder, hot_mib, arguments.memory_mib / 4);
        let setting = Setting {
            folder: &folder,
            content: &corpus.folder,
            objects: &corpus.objects,
            place: ground.place,
            host: Ipv4Addr::LOCALHOST.into(),
            programs: ground.programs,
            tls: ground.security,
            appliance: Some(&appliance),
        };
        let server = group.inside(|| server::start(who.kind(), &setting))?;
        Ok(Self {
            who,
            objects: &corpus.objects,
            server,
            _group: group,
        })
    }

    fn prepare(&self) -> Result<()> {
        if self.who.is_hot() {
            self.server.warm(self.objects)?;
        }
        load::run(&self.load(8, Until::Requests(COMPARED_REQUESTS), Check::Content))?;
        Ok(())
    }

    fn load(&self, connections: usize, until: Until, check: Check) -> Load<'_> {
        Load {
            target: &self.server.target,
            objects: self.objects,
            connections,
            range_bytes: 1 << 20,
            rate: Rate::Full,
            until,
            check,
        }
    }

    fn sample(&self, arguments: &Arguments) -> Result<Sample> {
        let load = |elapsed| {
            let until = Until::Elapsed(elapsed);
            load::run(&self.load(arguments.connections, until, Check::Length))
        };
        load(SETTLE)?;
        let process = &self.server.process;
        let (cpu, read) = (process.cpu_seconds()?, process.device_bytes()?);
        let outcome = load(Duration::from_secs_f64(arguments.seconds))?;
        let cpu = process.cpu_seconds()? - cpu;
        ensure!(cpu > 0.0, "no CPU time was charged to the server");
        Ok(Sample {
            who: self.who,
            cpu_s_per_gb: cpu / (outcome.bytes as f64 / 1e9),
            read_per_sent: (process.device_bytes()? - read) as f64 / outcome.bytes as f64,
            bytes_per_second: outcome.bytes as f64 / outcome.elapsed.as_secs_f64(),
            p99_us: outcome.latency.p99_us,
        })
    }
}

/// All content on one device, so that as many reads are under way as there are readers of one.
fn appliance(folder: &Path, content: &Path, memory_mib: u64, in_flight_mib: u64) -> Appliance {
    Appliance {
        state: folder.join("state"),
        memory_mib,
        in_flight_mib: Some(in_flight_mib),
        tiers: vec![Tier {
            name: "nvme",
            role: "hot",
            shared_fs: true,
            devices: vec![folder.join("nvme0")],
        }],
        imports: vec![Import {
            folder: content.to_owned(),
            prefix: "/",
            tier: "nvme",
        }],
    }
}

/// What the disk gives to the same reads without a server, in bytes per second.
fn fio(arguments: &Arguments, corpus: &Corpus) -> Result<f64> {
    let files = corpus
        .objects
        .iter()
        .filter_map(|object| object.file.as_ref());
    let files: Vec<String> = files.map(|file| file.display().to_string()).collect();
    let words = [
        "--name=cold".to_owned(),
        format!("--filename={}", files.join(":")),
        "--rw=randread --direct=1 --ioengine=psync --thread --group_reporting".to_owned(),
        format!("--bs={READ_UNIT_KIB}k --numjobs={IN_FLIGHT}"),
        format!("--time_based --runtime={:.0}", arguments.seconds.max(1.0)),
        "--output-format=json".to_owned(),
    ];
    let output = Command::new("fio")
        .args(words.iter().take(2))
        .args(words.iter().skip(2).flat_map(|word| word.split(' ')))
        .output()
        .context("cannot start fio")?;
    ensure!(
        output.status.success(),
        "fio: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).context("fio's JSON")?;
    found["jobs"][0]["read"]["bw_bytes"]
        .as_f64()
        .context("fio says nothing of what it read")
}
