//! Where an experiment takes place: a mount namespace of its own with a file system in memory, a healthy device and an ill one.
//!
//! All mounts, images and loop devices are gone with the last process of the namespace, however it ends.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::case::{Case, Illness, What};
use super::disk::{Disk, Gauge, PLACES, run};
use super::fill::Fill;
use super::mirror::Mirror;
use super::probe::Probe;
use super::throttle::{Group, Rule};
use crate::content::{self, Shape};
use crate::load::Object;
use crate::server::Kind;
use crate::server::appliance::{Appliance, Import, Tier};
use crate::setup::Folder;
use crate::void::Void;

const HOT: Shape = Shape {
    files: 16,
    bytes: 4 << 20,
};
/// Much more than is read of it before the page cache is emptied.
const COLD: Shape = Shape {
    files: 32,
    bytes: 8 << 20,
};
/// Room for what is cold three times, and for the fill.
const PATIENT_BYTES: u64 = 2 << 30;
/// Room beside what is hot: not for what is cold.
const SPARE_MIB: u64 = 8;

/// Says that this process is in a namespace of its own.
const INSIDE: &str = "OCA_BENCH_INSIDE";

/// Makes this process one in a mount namespace of its own, with all of the same arguments.
pub(crate) fn enter_namespace() -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("unshare (Debian's util-linux)")
}

/// What all experiments of a run share. A folder that is a file system in memory; a control group; both gone with this value, and
/// when the process is told to end.
pub(super) struct Ground {
    pub(super) group: Arc<Group>,
    pub(super) folder: Folder,
}

impl Ground {
    pub(super) fn make(wanted: Option<PathBuf>) -> Result<Self> {
        let folder = Folder::make(wanted)?;
        let path = folder.0.display().to_string();
        run(
            "mount",
            &["-t", "tmpfs", "-o", "size=8G", "oca-bench", &path],
        )
        .context("this needs root: it mounts file systems")?;
        if !Path::new("/sys/fs/fuse/connections")
            .read_dir()?
            .any(|_| true)
        {
            // Only in this namespace; where it is there already, that does no harm.
            let _ = run(
                "mount",
                &["-t", "fusectl", "fusectl", "/sys/fs/fuse/connections"],
            );
        }
        let ground = Self {
            group: Arc::new(Group::join()?),
            folder,
        };
        ground.end_when_told()?;
        Ok(ground)
    }

    /// What is held back must be let go for whoever waits for it to be able to end.
    fn end_when_told(&self) -> Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let (group, folder) = (Arc::clone(&self.group), self.folder.0.clone());
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                if let Err(error) = group.dissolve() {
                    eprintln!("{error:#}");
                }
                leave(&folder);
                std::process::exit(130);
            }
        });
        Ok(())
    }

    /// For a certificate and its key, of the whole run.
    pub(super) fn keys(&self) -> PathBuf {
        self.folder.0.join("tls")
    }

    /// An empty folder of this name; of earlier ones nothing is left.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        for entry in std::fs::read_dir(&self.folder.0)? {
            let path = entry?.path();
            if path == self.keys() {
                continue;
            }
            std::fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        let path = self.folder.0.join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Who waits for a signal holds on to the group.
        if let Err(error) = self.group.dissolve() {
            eprintln!("{error:#}");
        }
        unmount(&self.folder.0);
    }
}

fn leave(folder: &Path) {
    unmount(folder);
    // It is empty when the mount is gone.
    let _ = std::fs::remove_dir(folder);
}

fn unmount(folder: &Path) {
    if let Err(error) = run("umount", &["-l", &folder.display().to_string()]) {
        eprintln!("{error:#}");
    }
}

/// The ill device.
pub(super) enum Patient {
    Disk(Disk),
    Mirror(Mirror),
}

/// A healthy device with what is hot, an ill one with what is cold, and what every server serves of both.
pub(super) struct Place<'g> {
    pub(super) folder: PathBuf,
    /// `hot` and `cold`, for servers of files.
    pub(super) content: PathBuf,
    pub(super) hot: Vec<Object>,
    pub(super) cold: Vec<Object>,
    pub(super) patient: Patient,
    what: What,
    healthy: Disk,
    source: PathBuf,
    group: &'g Group,
}

impl<'g> Place<'g> {
    /// For cases in which this falls ill.
    pub(super) fn make(ground: &'g Ground, what: What) -> Result<Self> {
        let folder = ground.folder(&format!("{what:?}"))?;
        let source = folder.join("source");
        let of = |name: &str, shape| -> Result<Vec<Object>> {
            let mut objects = content::make(&source.join(name), shape)?;
            for object in &mut objects {
                object.path = format!("/{name}{}", object.path);
            }
            Ok(objects)
        };
        let (hot, cold) = (of("hot", HOT)?, of("cold", COLD)?);
        let mut healthy = Disk::make(&folder, "healthy", 1 << 30)?;
        let mut patient = match what {
            What::Disk => Patient::Disk(Disk::make(&folder, "patient", PATIENT_BYTES)?),
            What::Mirror | What::State => {
                let behind = folder.join("behind");
                Patient::Mirror(Mirror::make(
                    &behind,
                    &folder.join("patient"),
                    PATIENT_BYTES,
                )?)
            }
        };
        copy(&source.join("hot"), &healthy.mount)?;
        if what != What::State {
            copy(&source.join("cold"), patient.mount())?;
        }
        Fill::lay_out(patient.mount())?;
        healthy.settle()?;
        if let Patient::Disk(disk) = &mut patient {
            disk.settle()?;
        }
        let content = folder.join("content");
        std::fs::create_dir(&content)?;
        std::os::unix::fs::symlink(healthy.mount.join("hot"), content.join("hot"))?;
        std::os::unix::fs::symlink(patient.mount().join("cold"), content.join("cold"))?;
        Ok(Self {
            folder,
            content,
            hot,
            cold,
            patient,
            what,
            healthy,
            source,
            group: &ground.group,
        })
    }

    /// For our server: two tiers. A device is a folder here, since both of our servers have one on each file system. What is cold lies where
    /// it is ill; unless that is the state.
    pub(super) fn appliance(&self, kind: Kind) -> Appliance {
        let own = |mount: &Path| mount.join(kind.short());
        let tier = |name, role, device| Tier {
            name,
            role,
            shared_fs: true,
            devices: vec![device],
        };
        let import = |name: &str, prefix, tier| Import {
            folder: self.source.join(name),
            prefix,
            tier,
        };
        let (state, cold) = match self.what {
            What::Disk | What::Mirror => (own(&self.folder), own(self.patient.mount())),
            What::State => (
                own(self.patient.mount()),
                own(&self.healthy.mount).with_extension("hdd"),
            ),
        };
        let bytes: u64 = self.hot.iter().map(|object| object.size).sum();
        Appliance {
            state: state.join("state"),
            memory_mib: bytes.div_ceil(1 << 20) + SPARE_MIB,
            in_flight_mib: None,
            tiers: vec![
                tier("nvme", "hot", own(&self.healthy.mount)),
                tier("hdd", "capacity", cold),
            ],
            imports: vec![
                import("hot", "/hot", "nvme"),
                import("cold", "/cold", "hdd"),
            ],
        }
    }

    /// The ill device has nothing of what is cold in the page cache: `dd` tells the kernel to forget a file (posix_fadvise(2)).
    pub(super) fn forget(&self) -> Result<()> {
        let each =
            "for file in \"$1\"/cold/*; do dd if=\"$file\" iflag=nocache count=0 status=none; done";
        run(
            "sh",
            &[
                "-c",
                each,
                "sh",
                &self.patient.mount().display().to_string(),
            ],
        )
    }

    /// From now on. With a fill, returns when the device has no free place.
    ///
    /// Errors: it does not come to that ([`Void`]); the kernel does not take the rule.
    pub(super) fn fall_ill(&self, case: Case, fill: Option<&Fill>) -> Result<Spell<'_, 'g>> {
        self.patient.set(self.group, Some(case))?;
        let spell = Spell::begin(self, case, fill.is_some());
        if spell.is_err() {
            self.patient.set(self.group, None)?;
        }
        let spell = spell?;
        if let Some(fill) = fill {
            fill.go()?;
            spell.await_full()?;
        }
        Ok(spell)
    }
}

impl Patient {
    pub(super) fn mount(&self) -> &Path {
        match self {
            Self::Disk(disk) => &disk.mount,
            Self::Mirror(mirror) => &mirror.mount,
        }
    }

    /// Ill, or well again.
    fn set(&self, group: &Group, case: Option<Case>) -> Result<()> {
        match (self, case.map(Case::illness)) {
            (Self::Disk(disk), Some(Illness::Held(rule))) => disk.hold_back(group, rule),
            (Self::Disk(disk), None) => disk.hold_back(group, Rule::NONE),
            (Self::Mirror(mirror), Some(Illness::In(mood))) => {
                mirror.set(mood);
                Ok(())
            }
            (Self::Mirror(mirror), Some(Illness::Truncated)) => mirror.truncate(),
            (Self::Mirror(mirror), None) => mirror.heal(),
            _ => bail!("this device cannot be ill in this way"),
        }
    }

    /// Operations and bytes so far; a mirror does not count.
    fn done(&self) -> Result<(u64, u64)> {
        match self {
            Self::Disk(disk) => disk.done(),
            Self::Mirror(_) => Ok((0, 0)),
        }
    }
}

/// How long an emulation may take to show itself, and to end.
const TURN_BOUND: Duration = Duration::from_secs(20);

/// What shows that a device really was ill meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub(super) struct Proof {
    /// The most of its places that were taken at once.
    pub(super) places_taken: u64,
    pub(super) operations_per_second: f64,
    pub(super) bytes_per_second: f64,
    /// Others that asked for something got no answer all the time.
    pub(super) hung: bool,
    /// Others that asked for something got EIO.
    pub(super) eio: bool,
    /// Questions that the file system had not answered, at the end.
    pub(super) unanswered: u64,
}

/// A device is ill while this lives.
pub(super) struct Spell<'p, 'g> {
    place: &'p Place<'g>,
    case: Case,
    with_fill: bool,
    gauge: Option<Gauge>,
    probes: Vec<Probe>,
    begun: Instant,
    before: (u64, u64),
    over: bool,
}

impl<'p, 'g> Spell<'p, 'g> {
    fn begin(place: &'p Place<'g>, case: Case, with_fill: bool) -> Result<Self> {
        let gauge = match &place.patient {
            Patient::Disk(disk) => Some(disk.watch()),
            Patient::Mirror(_) => None,
        };
        let probes = if case.hangs() {
            Probe::all(place.patient.mount(), case)?
        } else {
            Vec::new()
        };
        Ok(Self {
            place,
            case,
            with_fill,
            gauge,
            probes,
            begun: Instant::now(),
            before: place.patient.done()?,
            over: false,
        })
    }

    fn await_full(&self) -> Result<()> {
        let begun = Instant::now();
        while !self.is_full()? {
            if begun.elapsed() > TURN_BOUND {
                return Err(void("the fill has not filled the device's queue"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// What the fill does reaches the device.
    fn is_full(&self) -> Result<bool> {
        match (&self.gauge, &self.place.patient) {
            (Some(gauge), _) => Ok(gauge.most() >= PLACES),
            // Those of the probes hang already.
            (None, Patient::Mirror(mirror)) if self.case.hangs() => {
                Ok(mirror.waiting()? > self.probes.len() as u64)
            }
            (None, _) => Ok(true),
        }
    }

    /// What there is to show for the time since it began, or since the last call.
    ///
    /// Errors: [`Void`], if the emulation did not hold.
    pub(super) fn proof(&mut self) -> Result<Proof> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (operations, bytes) = self.place.patient.done()?;
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let mut hung = self.case.hangs();
        for probe in &mut self.probes {
            hung &= probe.hangs()?;
        }
        let proof = Proof {
            places_taken: self.gauge.as_ref().map_or(0, Gauge::most),
            operations_per_second: rate(operations, self.before.0),
            bytes_per_second: rate(bytes, self.before.1),
            hung,
            eio: self.case.fails() && Probe::meets_eio(self.place.patient.mount())?,
            unanswered: match &self.place.patient {
                Patient::Mirror(mirror) => mirror.waiting()?,
                Patient::Disk(_) => 0,
            },
        };
        self.check(&proof, seconds)
            .with_context(|| format!("{proof:?}"))?;
        Ok(proof)
    }

    fn check(&self, proof: &Proof, seconds: f64) -> Result<()> {
        let full = self.gauge.is_none() || !self.with_fill || proof.places_taken >= PLACES;
        if !full {
            return Err(void("the device's queue was not full"));
        }
        if proof.hung != self.case.hangs() {
            return Err(void("the device has answered"));
        }
        if proof.eio != self.case.fails() {
            return Err(void("the device gives no EIO"));
        }
        let (Illness::Held(rule), Patient::Disk(disk)) = (self.case.illness(), &self.place.patient)
        else {
            return Ok(());
        };
        disk.check(self.place.group, rule)?;
        // Reads and writes are held to it each; and what was under way at once at either end counts whole.
        let most = |limit: u64, slack: f64| 2.0 * limit as f64 * 1.2 + slack / seconds;
        let too_many = |limit: Option<u64>, rate: f64, slack| {
            limit.is_some_and(|limit| rate > most(limit, slack))
        };
        if too_many(rule.bytes, proof.bytes_per_second, 4e6) {
            return Err(void("more bytes than the rule allows"));
        }
        if too_many(rule.operations, proof.operations_per_second, 20.0) {
            return Err(void("more operations than the rule allows"));
        }
        Ok(())
    }

    /// Well again; whoever waited for it has gone on.
    pub(super) fn end(mut self) -> Result<()> {
        self.cure()?;
        let begun = Instant::now();
        for probe in &mut self.probes {
            while probe.hangs()? {
                ensure!(
                    begun.elapsed() < TURN_BOUND,
                    "the device does not come back"
                );
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        while let Patient::Disk(disk) = &self.place.patient
            && disk.in_flight()? > 0
        {
            ensure!(begun.elapsed() < TURN_BOUND, "the device stays busy");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn cure(&mut self) -> Result<()> {
        self.over = true;
        self.place.patient.set(self.place.group, None)
    }
}

fn void(why: &str) -> anyhow::Error {
    Void(why.to_owned()).into()
}

impl Drop for Spell<'_, '_> {
    fn drop(&mut self) {
        if !self.over
            && let Err(error) = self.cure()
        {
            eprintln!("{error:#}");
        }
    }
}

/// Folder `from`, with its files, into `to`; on the disk when it returns.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (from.display().to_string(), to.display().to_string());
    run("cp", &["-r", &from, &to])?;
    run("sync", &["-f", &to])
}
