//! One look at everything that is told to people and programs, made at the moment of the question. All of it lies in memory:
//! nothing here can wait for a disk.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use content_store::DeviceId;
use content_store::device::Complaint;
use platform::device::{DeviceSnapshot, Verdict};
use platform::file::Space;
use platform::process::Usage;
use protocol::bgp::Bgp;
use protocol::config::{Config, TierRole};
use protocol::fill::Facts;
use protocol::smart::Disk;
use protocol::status::DeviceState;
use steering::UnixTime;

use crate::access_log::AccessLog;
use crate::catalog_watch::CatalogStatus;
use crate::counters::WorkerCounters;
use crate::damage::Damage;
use crate::demand::Demand;
use crate::fills::Fills;
use crate::interfaces::Interfaces;
use crate::limits::{FULL_BYTES, WORKER_STUCK};
use crate::memory_tier::MemoryStatus;
use crate::report::ReportStatus;
use crate::shared::Shared;
use crate::tls::Tls;
use crate::wear::Worn;

/// What was seen.
pub struct Observation {
    /// When, on the clock that never steps.
    pub now: Instant,
    /// When, on the clock on the wall.
    pub unix: UnixTime,
    /// When the process started.
    pub started: Instant,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// Name of the reactor's backend.
    pub backend: String,
    /// Counters of each worker.
    pub workers: Vec<Arc<WorkerCounters>>,
    /// Of each worker, the one that accepts for it as it is stuck.
    pub relievers: Vec<Option<usize>>,
    /// Columns that could not be used.
    pub damage: Arc<Damage>,
    /// Transfers to appliances that fill from this one.
    pub fills: Arc<Fills>,
    /// How reporting goes, if there is a control endpoint.
    pub report: Option<Arc<ReportStatus>>,
    /// The access log, if there is one.
    pub access_log: Option<Arc<AccessLog>>,
    /// What viewers missed and nobody counted, because too much was missed.
    pub missed_left_out: u64,
    /// What the fill agent told last, and when.
    pub fill: Option<Arc<(Instant, Facts)>>,
    /// The devices in the order of the configuration.
    pub devices: Vec<ObservedDevice>,
    /// The memory tier.
    pub memory: Arc<MemoryStatus>,
    /// Why less can be locked than was wanted.
    pub memory_problem: Option<String>,
    /// The catalog.
    pub catalog: Arc<CatalogStatus>,
    /// The interfaces that serve.
    pub interfaces: Arc<Interfaces>,
    /// Disks that told of their wear.
    pub worn: Arc<Vec<Worn>>,
    /// What connections over TLS need, if there are any.
    pub tls: Option<Arc<Tls>>,
    /// Sessions with routers, if there are neighbours.
    pub bgp: Option<Arc<Bgp>>,
    /// The process; `None` if the system does not tell.
    pub process: Option<Usage>,
}

/// A device of the configuration and what its service says.
pub struct ObservedDevice {
    /// Last part of the path, or more of it where two are equal.
    pub name: String,
    /// The folder.
    pub path: String,
    /// The tier's name.
    pub tier: String,
    /// The tier's role.
    pub role: TierRole,
    /// Bytes of one of its buffers.
    pub read_unit: u64,
    /// Its name; none if it is not known.
    pub id: Option<DeviceId>,
    /// What an operator, or the last look at it, makes of it; none if all is well.
    pub complaint: Option<Complaint>,
    /// What its service says.
    pub snapshot: DeviceSnapshot,
}

impl ObservedDevice {
    /// What it is good for: the worse of what its service says and of what is wanted or was found.
    #[must_use]
    pub fn state(&self) -> DeviceState {
        let found = self.complaint.as_ref().map_or(DeviceState::Ok, |wrong| {
            DeviceState::of_word(wrong.condition.as_str())
        });
        let space = self.snapshot.space;
        match (self.snapshot.verdict, found) {
            (_, DeviceState::Offline) => DeviceState::Offline,
            (Verdict::Failed, found) if !found.is_read() => found,
            (Verdict::Failed, _) => DeviceState::Failed,
            (Verdict::Suspect, _) => DeviceState::Suspect,
            (Verdict::Ok, _) if space.is_some_and(|space| space.read_only) => DeviceState::ReadOnly,
            (Verdict::Ok, _) if space.is_some_and(is_full) => DeviceState::Full,
            (Verdict::Ok, DeviceState::Evacuating) => DeviceState::Evacuating,
            (Verdict::Ok, _) => DeviceState::Ok,
        }
    }

    /// Why it is not `ok`; empty if it is.
    #[must_use]
    pub fn cause(&self) -> String {
        match (self.state(), self.snapshot.space, &self.complaint) {
            (DeviceState::Ok, ..) => String::new(),
            (DeviceState::ReadOnly, ..) => {
                "mounted read-only: what it holds is served, nothing can be added".to_owned()
            }
            (DeviceState::Full, Some(space), _) => format!(
                "full, {} bytes left: what it holds is served, nothing can be added",
                space.available_bytes
            ),
            (DeviceState::Suspect, ..) => self.snapshot.cause.clone(),
            // Its service keeps the first cause; this is the last one.
            (_, _, Some(wrong)) => wrong.words.clone(),
            _ => self.snapshot.cause.clone(),
        }
    }

    /// Reads that wait: taken, and not under way.
    #[must_use]
    pub fn queued(&self) -> u64 {
        u64::from(
            self.snapshot
                .outstanding
                .saturating_sub(self.snapshot.in_flight),
        )
    }

    /// Bytes of buffers being read into or not yet sent.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.snapshot.buffers_in_use as u64 * self.read_unit
    }

    /// The most of those at once, and of buffers that were kept ready.
    pub fn in_flight_bytes_max(&self) -> u64 {
        self.snapshot.buffers_in_use_max as u64 * self.read_unit
    }

    /// Bytes of all its buffers.
    #[must_use]
    pub fn in_flight_budget(&self) -> u64 {
        self.snapshot.buffers as u64 * self.read_unit
    }
}

impl Observation {
    /// Looks.
    #[must_use]
    pub fn of(shared: &Shared) -> Self {
        let config = shared.config.load_full();
        let workers = 0..shared.workers.len();
        let relievers = workers.map(|worker| shared.relief.reliever(worker));
        Self {
            now: Instant::now(),
            unix: SystemTime::now().into(),
            started: shared.started,
            backend: shared.chosen.backend.to_string(),
            workers: shared.workers.to_vec(),
            relievers: relievers.collect(),
            damage: Arc::clone(&shared.damage),
            fills: Arc::clone(&shared.fills),
            report: shared.report.load_full(),
            access_log: shared.access_log.clone(),
            missed_left_out: shared.demand.as_ref().map_or(0, Demand::missed_left_out),
            fill: shared.fill.load_full(),
            devices: devices(&config, shared),
            memory: Arc::clone(&shared.memory),
            memory_problem: shared.memory.problem(),
            catalog: shared.catalog.load_full(),
            interfaces: shared.interfaces.load_full(),
            worn: shared.worn.load_full(),
            tls: shared.tls.clone(),
            bgp: shared.bgp.as_ref().map(|desk| desk.status()),
            process: platform::process::usage().ok(),
            config,
        }
    }

    /// When the process started, on the clock on the wall.
    #[must_use]
    pub fn started_unix(&self) -> UnixTime {
        self.unix_at(self.started)
    }

    /// The clock on the wall at `then`.
    #[must_use]
    pub fn unix_at(&self, then: Instant) -> UnixTime {
        let ago = self.now.saturating_duration_since(then);
        UnixTime::from_milliseconds(
            self.unix
                .milliseconds()
                .saturating_sub(ago.as_millis() as u64),
        )
    }

    /// The disks below a device, as far as they told of themselves.
    pub fn disks_of(&self, device: &ObservedDevice) -> impl Iterator<Item = &Disk> {
        let root = Path::new(&device.path);
        let below = self.worn.iter();
        let below = below.filter(move |worn| worn.devices.iter().any(|it| it == root));
        below.map(|worn| &worn.disk)
    }

    /// Sum over the workers.
    pub fn total(&self, of: impl Fn(&WorkerCounters) -> u64) -> u64 {
        self.workers.iter().map(|worker| of(worker)).sum()
    }

    /// How long a worker's present turn has taken, or how late it is after a wait; zero while it waits, and before its first turn.
    #[must_use]
    pub fn lag(&self, worker: &WorkerCounters) -> Duration {
        if worker.turns.value() == 0 {
            return Duration::ZERO;
        }
        let due = Duration::from_millis(worker.due_ms.value());
        self.now
            .saturating_duration_since(self.started)
            .saturating_sub(due)
    }

    /// Whether a worker's loop does not turn any more.
    #[must_use]
    pub fn is_stuck(&self, worker: &WorkerCounters) -> bool {
        self.lag(worker) > WORKER_STUCK
    }
}

fn devices(config: &Config, shared: &Shared) -> Vec<ObservedDevice> {
    let names = names(
        &config
            .devices()
            .map(|(_, path)| path.display().to_string())
            .collect::<Vec<_>>(),
    );
    let ids = shared.identities.ids();
    let configured = config.devices().zip(names);
    let observed = configured
        .zip(&shared.devices)
        .map(|(((tier, path), name), service)| ObservedDevice {
            id: ids.get(service.index()).copied().flatten(),
            complaint: shared.identities.complaint(service.index(), path),
            name,
            path: path.display().to_string(),
            tier: tier.name.clone(),
            role: tier.role,
            read_unit: tier.read_unit.bytes(),
            snapshot: service.snapshot(),
        });
    observed.collect()
}

fn is_full(space: Space) -> bool {
    let no_inode = space.total_inodes > 0 && space.available_inodes == 0;
    no_inode || space.available_bytes < FULL_BYTES
}

/// The shortest ends of `paths`, in whole parts, that tell them apart.
fn names(paths: &[String]) -> Vec<String> {
    let most = paths
        .iter()
        .map(|path| path.split('/').count())
        .max()
        .unwrap_or(1);
    let tails =
        |parts: usize| -> Vec<String> { paths.iter().map(|path| tail(path, parts)).collect() };
    let distinct = |names: &Vec<String>| {
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.windows(2).all(|pair| pair[0] != pair[1])
    };
    (1..=most)
        .map(tails)
        .find(distinct)
        .unwrap_or_else(|| paths.to_vec())
}

fn tail(path: &str, parts: usize) -> String {
    let mut last: Vec<&str> = path.trim_end_matches('/').rsplit('/').take(parts).collect();
    last.reverse();
    last.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_by_as_much_of_the_path_as_tells_them_apart() {
        let table: [(&[&str], &[&str]); 4] = [
            (&["/srv/oca/nvme0", "/srv/oca/nvme1"], &["nvme0", "nvme1"]),
            (&["/a/disk", "/b/disk/"], &["a/disk", "b/disk"]),
            (&["/disk"], &["disk"]),
            (&[], &[]),
        ];
        for (paths, expected) in table {
            assert_eq!(
                names(&paths.iter().map(ToString::to_string).collect::<Vec<_>>()),
                expected
            );
        }
    }
}
