//! The store as its one writer has it: devices, catalog, writer lock. `stage -> seal -> publish`, `remove`, `reap`.

mod room;
mod stage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::catalog::{self, Catalog, CopyRecord, ObjectRecord, WriterLock};
use crate::config::StoreConfig;
use crate::device::{self, Device, DeviceProblem, Intents, Seen};
use crate::error::StoreError;
use crate::ids::{DeviceId, Generation, ObjectId};
use crate::limits::{DEVICE_LOOK_AGE, DEVICE_WAIT};
use crate::placement::Rule;
use crate::staging::Sealed;
use crate::staging::journal::BootId;

pub use stage::{Resumable, Stage};

/// A configured device and what became of it.
#[derive(Debug)]
pub struct DeviceSlot {
    /// Index of its tier in the configuration.
    pub tier: usize,
    /// Configured path.
    pub root: PathBuf,
    /// The device, or why there is none.
    pub device: Result<Device, DeviceProblem>,
    /// It is read, and given nothing new.
    pub is_evacuating: bool,
}

/// Opens all configured devices, in the order in which they are numbered. A device that cannot be opened, or that hangs, is an entry
/// of its own; only a device that is configured twice is an error.
pub fn open_devices(config: &StoreConfig) -> Result<Vec<DeviceSlot>, StoreError> {
    open_wanted(config, &Intents::read(&config.state_dir)?)
}

fn open_wanted(config: &StoreConfig, intents: &Intents) -> Result<Vec<DeviceSlot>, StoreError> {
    let roots: Vec<&Path> = config
        .device_roots()
        .map(|(_, root)| root.as_path())
        .collect();
    let opened = device::open_all(&roots, intents, DEVICE_WAIT);
    let mut slots: Vec<DeviceSlot> = Vec::new();
    for ((tier, root), device) in config.device_roots().zip(opened) {
        let id = device.as_ref().ok().map(Device::id);
        let twin = slots.iter().find(|slot| id.is_some() && slot.id() == id);
        if let (Some(twin), Some(id)) = (twin, id) {
            return Err(StoreError::SameDevice {
                first: twin.root.clone(),
                second: root.clone(),
                id,
            });
        }
        slots.push(DeviceSlot {
            tier,
            root: root.clone(),
            device,
            is_evacuating: id.is_some_and(|id| intents.is_evacuating(&id)),
        });
    }
    Ok(slots)
}

impl DeviceSlot {
    /// The name of the device, if it is here.
    pub fn id(&self) -> Option<DeviceId> {
        self.device.as_ref().ok().map(Device::id)
    }
}

/// A step of a publication that was just done: where a test kills the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A group is written to its column, as far as it was whole.
    GroupWritten,
    /// The journal knows of it.
    GroupNoted,
    /// All columns of an object are in `staging/` and synced.
    Sealed,
    /// The catalog knows which files may appear, as doomed.
    Intended,
    /// A sidecar is in `staging/` and synced.
    SidecarWritten,
    /// A sidecar is in its place.
    SidecarRenamed,
    /// A column is in its place.
    ColumnRenamed,
    /// The folders of all files are synced.
    FoldersSynced,
    /// The catalog has the new state.
    Committed,
    /// A journal of an object that is published now is gone.
    JournalRemoved,
    /// A sidecar of an object that was stored before lists the new paths.
    SidecarRewritten,
    /// The catalog knows that all sidecars are right.
    Settled,
    /// A file of a doomed object is gone.
    Unlinked,
}

/// Called after each [`Step`].
pub type StepHook = Arc<dyn Fn(Step) + Send + Sync>;

/// The store, open for writing. Dropping it lets the next writer in.
pub struct Store {
    pub(crate) config: StoreConfig,
    pub(crate) slots: Vec<DeviceSlot>,
    pub(crate) intents: Intents,
    pub(crate) seen: Seen,
    pub(crate) catalog: Catalog,
    pub(crate) hook: Option<StepHook>,
    pub(crate) boot: BootId,
    looked: Instant,
    rule: Rule,
    _lock: Arc<WriterLock>,
}

impl Store {
    /// Takes the writer lock, opens devices and catalog, and cleans up what a crash left: files in `staging/` that cannot be
    /// resumed, files of publications that were never committed, sidecars that do not yet list their paths as the catalog does.
    pub fn open(config: StoreConfig) -> Result<Self, StoreError> {
        Self::open_with_hook(config, None)
    }

    /// Like [`open`](Self::open), with a hook that is called after every step that changes a disk.
    pub fn open_with_hook(config: StoreConfig, hook: Option<StepHook>) -> Result<Self, StoreError> {
        Self::open_in_boot(config, hook, platform::process::boot_id())
    }

    /// Like [`open_with_hook`](Self::open_with_hook), in a run of the kernel that has this number: what an interrupted writer wrote
    /// in another one is verified before it counts.
    pub fn open_in_boot(
        config: StoreConfig,
        hook: Option<StepHook>,
        boot: BootId,
    ) -> Result<Self, StoreError> {
        let lock = Self::lock(&config)?;
        Self::open_locked(config, hook, boot, lock)
    }

    /// The writer lock of a store, to be shared with [`take_down`](crate::take_down).
    pub fn lock(config: &StoreConfig) -> Result<Arc<WriterLock>, StoreError> {
        config.check()?;
        fs::create_dir_all(&config.state_dir)
            .map_err(StoreError::io("create", &config.state_dir))?;
        Ok(WriterLock::take(&config.state_dir, &config.program)?.into())
    }

    /// Like [`open`](Self::open), by who has the writer lock.
    pub fn open_with_lock(
        config: StoreConfig,
        hook: Option<StepHook>,
        lock: Arc<WriterLock>,
    ) -> Result<Self, StoreError> {
        Self::open_locked(config, hook, platform::process::boot_id(), lock)
    }

    fn open_locked(
        config: StoreConfig,
        hook: Option<StepHook>,
        boot: BootId,
        lock: Arc<WriterLock>,
    ) -> Result<Self, StoreError> {
        let intents = Intents::read(&config.state_dir)?;
        let mut seen = Seen::read(&config.state_dir)?;
        let mut slots = open_wanted(&config, &intents)?;
        compare_with_seen(&config, &mut slots, &intents, &mut seen)?;
        let folder = catalog::folder(&config.state_dir);
        // An empty catalog beside full devices is a lost one: to begin anew would orphan all they hold.
        let is_new = !slots.iter().any(holds_objects);
        let _known = (!is_new).then(|| Catalog::open(&folder)).transpose()?;
        let catalog = Catalog::open_or_create(&folder, Generation(1))?;
        let mut store = Self {
            config,
            slots,
            intents,
            seen,
            catalog,
            hook,
            boot,
            looked: Instant::now(),
            rule: Rule::default(),
            _lock: lock,
        };
        store.make_staging();
        store.undo_intentions()?;
        store.clear_staging()?;
        store.settle()?;
        Ok(store)
    }

    /// Looks at the devices and at what is wanted of them again, if that was some time ago: one that hangs is not here from now on, and
    /// one that is back is, once it was [compared](Self::readmit). To be called before what touches devices; one that begins to hang in
    /// that very moment is waited for.
    /// A catalog whose last commit failed half way is opened again.
    pub fn look_at_devices(&mut self) {
        if let Err(error) = self.renew_catalog() {
            tracing::error!(%error, "the catalog cannot be written");
        }
        if self.looked.elapsed() < DEVICE_LOOK_AGE {
            return;
        }
        if let Err(error) = self.look_again() {
            tracing::error!(%error, "who is here is not noted; the store goes on with the devices that it knows");
        }
    }

    fn renew_catalog(&mut self) -> Result<(), StoreError> {
        if self.catalog.renew()? {
            tracing::warn!("a commit failed half way: the catalog was opened again");
            self.undo_intentions()?;
        }
        Ok(())
    }

    pub(crate) fn look_again(&mut self) -> Result<(), StoreError> {
        self.looked = Instant::now();
        self.intents = Intents::read(&self.config.state_dir)?;
        let mut slots = open_wanted(&self.config, &self.intents)?;
        compare_with_seen(&self.config, &mut slots, &self.intents, &mut self.seen)?;
        for (before, slot) in self.slots.iter().zip(&slots) {
            if let (Ok(_), Err(problem)) = (&before.device, &slot.device) {
                tracing::error!(%problem, "the store goes on without it");
            }
        }
        self.slots = slots;
        Ok(())
    }

    /// Places new columns by this rule from now on.
    pub fn place_by(&mut self, rule: Rule) {
        self.rule = rule;
    }

    /// Whether all devices are here that something sealed lies on.
    pub fn can_reach(&self, sealed: &Sealed) -> bool {
        let mut devices = sealed.columns.iter().map(|column| column.device.id());
        devices.all(|id| self.device(&id).is_some())
    }

    /// The configured devices, in the order in which they are numbered.
    pub fn devices(&self) -> &[DeviceSlot] {
        &self.slots
    }

    /// The generation of the newest commit.
    pub fn generation(&self) -> Result<Generation, StoreError> {
        Ok(self.catalog.edit()?.generation()?)
    }

    pub(crate) fn devices_here(&self) -> Vec<&Device> {
        let devices = self.slots.iter().map(|slot| slot.device.as_ref());
        devices.filter_map(Result::ok).collect()
    }

    /// Whether all bytes of an object are stored, as far as names and lengths of its files tell.
    pub fn is_stored(&self, object: &ObjectId) -> Result<bool, StoreError> {
        Ok(self.stored(object)?.is_some())
    }

    /// The record of an object that paths lead to and of which a copy is all here.
    pub(crate) fn published(&self, object: &ObjectId) -> Result<ObjectRecord, StoreError> {
        let live = self.catalog.edit()?.object(object)?;
        let live = live.filter(|live| self.is_complete(live));
        live.ok_or(StoreError::UnknownObject(*object))
    }

    /// Whether a path leads to it.
    pub(crate) fn is_published(&self, object: &ObjectId) -> Result<bool, StoreError> {
        Ok(self.catalog.edit()?.object(object)?.is_some())
    }

    /// The record of an object whose files are all there, published or doomed.
    pub(crate) fn stored(&self, object: &ObjectId) -> Result<Option<ObjectRecord>, StoreError> {
        let edit = self.catalog.edit()?;
        let (live, doomed) = (edit.object(object)?, edit.doomed_of(object)?);
        // No transaction is open while the devices are asked.
        drop(edit);
        let doomed = doomed
            .into_iter()
            .filter(|doomed| doomed.was_published())
            .map(|doomed| doomed.record);
        Ok(live
            .into_iter()
            .chain(doomed)
            .find(|record| self.is_complete(record)))
    }

    fn is_complete(&self, record: &ObjectRecord) -> bool {
        let mut copies = record.copies.iter();
        copies.any(|copy| self.has_all(&record.object, copy))
    }

    /// Whether all columns of a copy are here, as far as names and lengths tell, and none is known to be bad.
    pub(crate) fn has_all(&self, object: &ObjectId, copy: &CopyRecord) -> bool {
        copy.devices.iter().enumerate().all(|(column, id)| {
            let Some(device) = self.device(id) else {
                return false;
            };
            let length = copy.layout.column_length(column);
            !copy.bad.contains(column)
                && length_of(&device.column_path(object)) == Some(length)
                && length_of(&device.sidecar_path(object)).is_some()
        })
    }

    /// An open device by its name.
    pub(crate) fn device(&self, id: &DeviceId) -> Option<&Device> {
        self.slots
            .iter()
            .filter_map(|slot| slot.device.as_ref().ok())
            .find(|device| device.id() == *id)
    }

    pub(crate) fn tier(&self, name: &str) -> Result<usize, StoreError> {
        let names = || {
            self.config
                .tiers
                .iter()
                .map(|tier| tier.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let found = self.config.tiers.iter().position(|tier| tier.name == name);
        found.ok_or_else(|| StoreError::UnknownTier {
            name: name.into(),
            known: names(),
        })
    }

    pub(crate) fn done(&self, step: Step) {
        if let Some(hook) = &self.hook {
            hook(step);
        }
    }
}

/// Bytes of a file; `None` if there is none, or it cannot be looked at.
fn length_of(path: &Path) -> Option<u64> {
    match fs::metadata(path) {
        Ok(file) => Some(file.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::error!(file = %path.display(), %error, "taken for lost");
            None
        }
    }
}

/// Notes who is here and who is not. Who was away stays so until it is compared with the catalog, and who is in the place of another
/// one is not used.
fn compare_with_seen(
    config: &StoreConfig,
    slots: &mut [DeviceSlot],
    intents: &Intents,
    seen: &mut Seen,
) -> Result<(), StoreError> {
    let before = seen.clone();
    for removed in intents.removed() {
        seen.forget(&removed);
    }
    seen.find(slots.iter().filter_map(|slot| slot.device.as_ref().ok()));
    for slot in slots {
        let refused = slot.device.as_ref().map(|device| seen.refuse(device));
        match (&slot.device, refused) {
            (Ok(device), Ok(None)) => seen.here(device),
            (Ok(device), Ok(Some(problem))) => {
                match problem {
                    DeviceProblem::Returned { .. } => seen.here(device),
                    _ => seen.gone(&slot.root),
                }
                slot.device = Err(problem);
            }
            _ => seen.gone(&slot.root),
        }
    }
    if *seen == before {
        return Ok(());
    }
    seen.write(&config.state_dir)
}

fn holds_objects(slot: &DeviceSlot) -> bool {
    slot.device.as_ref().is_ok_and(Device::holds_objects)
}
