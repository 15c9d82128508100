//! The devices of the configuration: one device service each, and who each device says it is.
//!
//! A device that is absent at start has a service all the same. Its probe learns the identity when the device comes, and the
//! index is then made anew with it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use content_store::{DeviceId, IndexDevice, device};
use platform::device::{Deadlines, DeviceOptions, DeviceService};
use protocol::config::Config;

use crate::damage::Damage;
use crate::limits::{DEVICE_QUEUE, FLASH_READERS, HDD_READERS, LARGE_READ_BYTES};

/// Who the configured devices say they are; raised `generation` when one is learned.
#[derive(Debug, Default)]
pub struct Identities {
    known: Box<[ArcSwapOption<DeviceId>]>,
    generation: AtomicU64,
    /// Devices whose first look is over, whatever it found.
    looked_at: Box<[AtomicBool]>,
}

impl Identities {
    /// Nobody is known yet.
    pub fn new(devices: usize) -> Arc<Self> {
        Arc::new(Self {
            known: (0..devices).map(|_| ArcSwapOption::empty()).collect(),
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

    /// Rises each time an identity is learned.
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// The device with this number, if it was seen since the start.
    pub fn id(&self, number: usize) -> Option<DeviceId> {
        self.known.get(number)?.load().as_deref().copied()
    }

    /// The devices as the index wants them, in the order of the configuration.
    pub fn index_devices(&self, config: &Config) -> Vec<IndexDevice> {
        let known = self.known.iter().map(|id| id.load().as_deref().copied());
        let roots = config.devices().map(|(_, root)| root.to_path_buf());
        known
            .zip(roots)
            .map(|(id, root)| IndexDevice { id, root })
            .collect()
    }

    /// Checks that the device at `path` is there and is the one it always was. Blocks on the device.
    fn check(&self, index: usize, path: &Path) -> Result<(), String> {
        let result = self.identify(index, path);
        self.looked_at[index].store(true, Relaxed);
        result
    }

    fn identify(&self, index: usize, path: &Path) -> Result<(), String> {
        let found = device::open(path)
            .map_err(|problem| problem.to_string())?
            .id();
        match self.known[index].load().as_deref() {
            Some(known) if *known == found => Ok(()),
            Some(known) => Err(format!(
                "{}: here is device {found}, but since the start it was {known}: another disk is mounted. Mount the right \
                 one, or restart the daemon to use this one",
                path.display()
            )),
            None => {
                self.known[index].store(Some(Arc::new(found)));
                self.generation.fetch_add(1, Relaxed);
                Ok(())
            }
        }
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
