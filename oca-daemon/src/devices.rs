//! The devices of the configuration: one device service each, and who each device says it is.
//!
//! A device that is absent at start has a service all the same. Its probe learns the identity when the device comes, and the
//! index is then made anew with it. What an operator wants of a device (`devices.json`) is followed while the daemon runs: one that is
//! offline is not looked at, and the index does not have it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use content_store::device::{self, Complaint, Condition, Intent, Intents, Wanted};
use content_store::{Device, DeviceId, IndexDevice};
use platform::device::{Deadlines, DeviceOptions, DeviceService};
use protocol::config::Config;

use crate::damage::Damage;
use crate::limits::{DEVICE_QUEUE, FLASH_READERS, HDD_READERS, LARGE_READ_BYTES};

/// Who the configured devices say they are, and what an operator wants of them; raised `generation` when either is news.
#[derive(Debug, Default)]
pub struct Identities {
    known: Box<[ArcSwapOption<DeviceId>]>,
    /// What the last look found wrong; none if nothing was.
    wrong: Box<[ArcSwapOption<Complaint>]>,
    intents: ArcSwap<Intents>,
    generation: AtomicU64,
    /// Devices whose first look is over, whatever it found.
    looked_at: Box<[AtomicBool]>,
}

impl Identities {
    /// Nobody is known yet.
    pub fn new(devices: usize) -> Arc<Self> {
        Arc::new(Self {
            known: (0..devices).map(|_| ArcSwapOption::empty()).collect(),
            wrong: (0..devices).map(|_| ArcSwapOption::empty()).collect(),
            intents: ArcSwap::default(),
            generation: AtomicU64::new(0),
            looked_at: (0..devices).map(|_| AtomicBool::new(false)).collect(),
        })
    }

    /// Waits until every device was looked at once, but no longer than `bound`: one that hangs must not keep the box from
    /// serving the others.
    pub fn await_first_look(&self, bound: Duration) {
        let begun = Instant::now();
        while !self.looked_at.iter().all(|looked| looked.load(Relaxed)) && begun.elapsed() < bound {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Rises each time an identity is learned, or something else is wanted.
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// The device with this number, if it was seen since the start.
    pub fn id(&self, number: usize) -> Option<DeviceId> {
        self.known.get(number)?.load().as_deref().copied()
    }

    /// From now on this is wanted of the devices.
    pub fn obey(&self, intents: Intents) {
        if **self.intents.load() != intents {
            self.intents.store(Arc::new(intents));
            self.generation.fetch_add(1, Relaxed);
        }
    }

    /// The devices as the index wants them, in the order of the configuration: one that is not to be used is not here.
    pub fn index_devices(&self, config: &Config) -> Vec<IndexDevice> {
        let intents = self.intents.load();
        let roots = config.devices().map(|(_, root)| root.to_path_buf());
        let known = self.ids().into_iter().zip(roots);
        known
            .map(|(id, root)| IndexDevice {
                id: id.filter(|id| !is_out_of_use(&intents, &root, id)),
                root,
            })
            .collect()
    }

    /// The names of the devices, as far as they are known, in the order of the configuration.
    pub fn ids(&self) -> Vec<Option<DeviceId>> {
        let known = self.known.iter();
        known.map(|id| id.load().as_deref().copied()).collect()
    }

    /// What an operator, or the last look at it, makes of a device; none if all is well.
    pub fn complaint(&self, index: usize, root: &Path) -> Option<Complaint> {
        let intents = self.intents.load();
        let id = self.known.get(index)?.load();
        if let Some(problem) = intents.refuse_root(root) {
            return Some(problem.into());
        }
        let wrong = self.wrong.get(index)?.load().as_deref().cloned();
        let is_evacuating = id.as_ref().is_some_and(|id| intents.is_evacuating(id));
        let evacuating = || Complaint {
            condition: Condition::Evacuating,
            words: "being evacuated: what it holds is served, nothing is added".to_owned(),
        };
        wrong.or_else(|| is_evacuating.then(evacuating))
    }

    /// Checks that the device at `path` is there, is the one it always was, and is to be used. Blocks on the device.
    fn check(&self, index: usize, path: &Path) -> Result<(), String> {
        let result = self.identify(index, path);
        let wrong = result.as_ref().err().cloned();
        self.wrong[index].store(wrong.map(Arc::new));
        self.looked_at[index].store(true, Relaxed);
        result.map_err(|wrong| wrong.words)
    }

    fn identify(&self, index: usize, path: &Path) -> Result<(), Complaint> {
        let intents = self.intents.load();
        if let Some(problem) = intents.refuse_root(path) {
            return Err(problem.into());
        }
        let device = device::open(path)?;
        if let Some(problem) = intents.refuse(&device) {
            return Err(problem.into());
        }
        let found = device.id();
        match self.known[index].load().as_deref() {
            Some(known) if *known == found => Ok(()),
            Some(known) if !intents.is_removed(known) => Err(another(&device, *known)),
            _ => {
                self.known[index].store(Some(Arc::new(found)));
                self.generation.fetch_add(1, Relaxed);
                Ok(())
            }
        }
    }
}

fn is_out_of_use(intents: &Intents, root: &Path, id: &DeviceId) -> bool {
    let is_offline = |intent: &Intent| intent.wanted != Wanted::Evacuating;
    intents.at(root).is_some_and(is_offline) || intents.of(id).is_some_and(is_offline)
}

/// Where `known` was, there is another one.
fn another(device: &Device, known: DeviceId) -> Complaint {
    let (path, found) = (device.root().display(), device.id());
    let what = format!(
        "{path}: here is device {found}, but since the start it was {known}: another disk is mounted."
    );
    match device.holds_objects() {
        true => Complaint {
            condition: Condition::Swapped,
            words: format!("{what} Mount the right one, or restart the daemon to use this one"),
        },
        false => Complaint {
            condition: Condition::Empty,
            words: format!(
                "{what} It is empty: mount the right one, or `ocactl device replace {path}`"
            ),
        },
    }
}

/// Starts one service per configured device. `in_flight_bytes` is the budget of bytes read and not yet sent, shared evenly.
///
/// # Errors
/// When the system gives no thread or no memory for the buffers.
pub fn start(
    config: &Config,
    identities: &Arc<Identities>,
    damage: &Arc<Damage>,
    in_flight_bytes: u64,
) -> io::Result<Box<[Arc<DeviceService>]>> {
    let share = in_flight_bytes / config.devices().count().max(1) as u64;
    config.devices().enumerate().map(|(index, (tier, root))| {
        let read_unit = tier.read_unit.bytes();
        let identities = Arc::clone(identities);
        let path = root.to_path_buf();
        let (bad, refused) = (Arc::clone(damage), Arc::clone(damage));
        DeviceService::start(DeviceOptions {
            name: root.display().to_string(),
            root: root.to_path_buf(),
            index,
            read_unit: u32::try_from(read_unit).unwrap_or(u32::MAX),
            readers: readers(read_unit),
            buffer_bytes: share.max(read_unit),
            queue_length: DEVICE_QUEUE,
            deadlines: Deadlines::default(),
            probe: Box::new(move || identities.check(index, &path)),
            on_bad_block: Box::new(move |file, block| {
                tracing::error!(file = %file.path().display(), offset = block.offset, "a block is not what was written; the file is no longer used");
                bad.found_bad(file);
            }),
            on_error: Box::new(move |file, error| refused.found_error(file, error)),
        })
    }).collect()
}

/// Reads in flight: a flash device wants many small ones, a spinning disk few large ones.
fn readers(read_unit: u64) -> u8 {
    if read_unit > LARGE_READ_BYTES {
        HDD_READERS
    } else {
        FLASH_READERS
    }
}
