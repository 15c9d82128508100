//! A box with so many objects in its catalog.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use content_store::catalog::{self, CatalogReader, ObjectRecord, WriterLock};
use content_store::{ObjectId, PathEntry};

use crate::load::{Object, Random, Target};
use crate::process::{Place, Process};
use crate::server::oca::Admin;
use crate::server::{self, Kind, Setting};

/// For a daemon to have loaded its catalog, or a commit.
const LOAD_BOUND: Duration = Duration::from_secs(60);

/// Between two commits while requests are made.
const COMMIT_EVERY: Duration = Duration::from_millis(500);

/// What both boxes have alike.
pub(super) struct Conditions<'a> {
    pub(super) programs: &'a Path,
    pub(super) content: &'a Path,
    pub(super) objects: &'a [Object],
    pub(super) place: &'a Place,
}

pub(super) struct Stand<'a> {
    pub(super) target: Target,
    pub(super) admin: Admin,
    pub(super) objects: &'a [Object],
    pub(super) state: PathBuf,
    count: u32,
    /// What all further objects look like.
    model: ObjectRecord,
    process: Process,
    started: Duration,
    memory: Memory,
}

/// What is known of one without asking for content.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Facts {
    /// From the start of the process until all objects are served.
    pub(super) start_s: f64,
    /// After the start.
    pub(super) memory: Memory,
    /// After all that was done to it.
    pub(super) memory_at_end: Memory,
}

/// What a process has in memory (proc_pid_status(5)).
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Memory {
    /// Its own: the index, beside all else.
    pub(super) anonymous_bytes: u64,
    /// Pages of files that it has mapped, which the kernel takes back when it needs them: programs, and the catalog.
    pub(super) mapped_bytes: u64,
    /// The most that both ever were.
    pub(super) peak_bytes: u64,
}

impl Memory {
    fn of(process: u32) -> Result<Self> {
        Ok(Self {
            anonymous_bytes: resident(process, "RssAnon:")?,
            mapped_bytes: resident(process, "RssFile:")?,
            peak_bytes: resident(process, "VmHWM:")?,
        })
    }
}

/// Commits while requests were made.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Committing {
    pub(super) latency: crate::latency::Summary,
    /// From each commit until it was served.
    pub(super) served_s: Vec<f64>,
}

impl<'a> Stand<'a> {
    pub(super) fn start(folder: &Path, conditions: &Conditions<'a>, count: u32) -> Result<Self> {
        let setting = Setting {
            folder,
            content: conditions.content,
            objects: conditions.objects,
            place: conditions.place,
            host: Ipv4Addr::LOCALHOST.into(),
            programs: conditions.programs,
            tls: None,
            appliance: None,
        };
        // It makes the devices, and imports what is asked for.
        drop(server::start(Kind::OcaUring, &setting)?);
        let state = folder.join("state");
        let published = conditions.objects.len() as u32;
        let snapshot = CatalogReader::open(&state)?.load()?;
        let model = snapshot.objects.first().context("an empty catalog")?;
        seed(&state, model, published..count)?;

        let configuration = folder.join("oca.toml");
        let arguments = ["--config", &configuration.display().to_string()];
        let (daemon, ocactl) = (
            conditions.programs.join("oca-daemon"),
            conditions.programs.join("ocactl"),
        );
        let begun = Instant::now();
        let mut process = Process::start(
            &daemon,
            &arguments,
            conditions.place.clone(),
            &folder.join("log"),
        )?;
        let (target, admin) = Admin::of(&mut process, ocactl, configuration, None)?;
        process.wait_until(LOAD_BOUND, || {
            let status = admin.status().ok()?;
            (status["catalog"]["objects"] == count).then_some(())
        })?;
        Ok(Self {
            started: begun.elapsed(),
            memory: Memory::of(process.id())?,
            target,
            admin,
            objects: conditions.objects,
            model: model.clone(),
            state,
            count,
            process,
        })
    }

    pub(super) fn facts(&self) -> Result<Facts> {
        Ok(Facts {
            start_s: self.started.as_secs_f64(),
            memory: self.memory,
            memory_at_end: Memory::of(self.process.id())?,
        })
    }

    /// Seconds that `ocactl content ls` takes for a page from the middle.
    pub(super) fn list_a_page(&self) -> Result<f64> {
        let after = entry(self.count / 2).path;
        let begun = Instant::now();
        let page = self
            .admin
            .ask(&["content", "ls", "--limit", "100", "--after", &after])?;
        let paths = page["paths"].as_array().context("a list of paths")?.len();
        ensure!(paths == 100, "a page of 100 has {paths}");
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Adds an object to the catalog again and again while `requests` are made.
    pub(super) fn commit_meanwhile(
        &self,
        requests: impl FnOnce() -> Result<crate::latency::Summary>,
    ) -> Result<Committing> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let committing = scope.spawn(|| self.commit_until(&done));
            let latency = requests();
            done.store(true, Relaxed);
            let served_s = committing
                .join()
                .map_err(|_| anyhow::anyhow!("the commits have panicked"))??;
            Ok(Committing {
                latency: latency?,
                served_s,
            })
        })
    }

    /// Adds as many objects as one commit of the fill agent publishes; none of them is there yet.
    pub(super) fn commit_batch(&self) -> Result<()> {
        let first = u32::MAX - content_store::limits::MAX_BATCH_OBJECTS as u32;
        seed(&self.state, &self.model, first..u32::MAX).map(drop)
    }

    fn commit_until(&self, done: &AtomicBool) -> Result<Vec<f64>> {
        let mut served = Vec::new();
        for number in self.count.. {
            let generation = seed(&self.state, &self.model, number..number + 1)?;
            let begun = Instant::now();
            while self.admin.status()?["catalog"]["generation"].as_u64() < Some(generation) {
                ensure!(begun.elapsed() < LOAD_BOUND, "a commit is not served");
                std::thread::sleep(Duration::from_millis(50));
            }
            served.push(begun.elapsed().as_secs_f64());
            if done.load(Relaxed) {
                break;
            }
            std::thread::sleep(COMMIT_EVERY);
        }
        Ok(served)
    }
}

/// Adds records that look like `model`.
fn seed(state: &Path, model: &ObjectRecord, numbers: std::ops::Range<u32>) -> Result<u64> {
    let lock = WriterLock::take(state, "oca-bench")?;
    let record = |number: u32| ObjectRecord {
        object: id(number),
        ..model.clone()
    };
    let records = numbers.map(|number| (record(number), entry(number)));
    Ok(catalog::seed(&lock, state, records)?.0)
}

fn id(number: u32) -> ObjectId {
    let mut random = Random::new(u64::from(number));
    let mut bytes = [0; 32];
    for word in bytes.chunks_exact_mut(8) {
        word.copy_from_slice(&random.next().to_le_bytes());
    }
    ObjectId(bytes)
}

/// The path of a seeded object.
pub(super) fn entry(number: u32) -> PathEntry {
    PathEntry {
        path: format!(
            "/vod/{:05}/{:02}/1080p/segment-{number:08}.m4s",
            number / 400,
            number % 40
        )
        .into(),
        serial: 1,
        content_type: "video/mp4".into(),
        cache_control: "public, max-age=31536000, immutable".into(),
        modified_s: 1_700_000_000 + u64::from(number),
    }
}

/// A size of proc_pid_status(5), in bytes.
fn resident(process: u32, key: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.context("/proc/<pid>/status")?.trim().parse()?;
    Ok(kib << 10)
}
