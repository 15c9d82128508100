//! The store as its one writer has it: devices, catalog, writer lock. `stage -> seal -> publish`, `remove`, `reap`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use platform::file::Space;

use crate::catalog::{self, Catalog, CatalogProblem, ObjectRecord, WriterLock};
use crate::chunk_tree::ChunkTree;
use crate::config::{StoreConfig, TierConfig};
use crate::device::{self, Device, DeviceProblem};
use crate::error::StoreError;
use crate::ids::{DeviceId, Generation, ObjectId};
use crate::limits::{DEVICE_RESERVE_BYTES, DEVICE_RESERVE_INODES};
use crate::placement::{self, Candidate, NoPlace, Placement};
use crate::staging::Staging;

/// A configured device and what became of it.
#[derive(Debug)]
pub struct DeviceSlot {
    /// Index of its tier in the configuration.
    pub tier: usize,
    /// Configured path.
    pub root: PathBuf,
    /// The device, or why there is none.
    pub device: Result<Device, DeviceProblem>,
}

/// Opens all configured devices, in the order in which they are numbered. A device that cannot be opened is an entry of its own;
/// only a device that is configured twice is an error.
pub fn open_devices(config: &StoreConfig) -> Result<Vec<DeviceSlot>, StoreError> {
    let mut slots: Vec<DeviceSlot> = Vec::new();
    for (tier, root) in config.device_roots() {
        let device = device::open(root);
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
    pub(crate) catalog: Catalog,
    pub(crate) hook: Option<StepHook>,
    _lock: WriterLock,
}

/// What [`Store::stage`] found.
pub enum Stage {
    /// The bytes are stored already: publish them under a path.
    Stored(ObjectId),
    /// The bytes are to be written.
    Write(Staging),
}

impl Store {
    /// Takes the writer lock, opens devices and catalog, and cleans up what a crash left: files in `staging/`, files of
    /// publications that were never committed, sidecars that do not yet list their paths as the catalog does.
    pub fn open(config: StoreConfig) -> Result<Self, StoreError> {
        Self::open_with_hook(config, None)
    }

    /// Like [`open`](Self::open), with a hook that is called after every step that changes a disk.
    pub fn open_with_hook(config: StoreConfig, hook: Option<StepHook>) -> Result<Self, StoreError> {
        config.check()?;
        fs::create_dir_all(&config.state_dir)
            .map_err(StoreError::io("create", &config.state_dir))?;
        let lock = WriterLock::take(&config.state_dir, &config.program)?;
        let slots = open_devices(&config)?;
        let folder = catalog::folder(&config.state_dir);
        if !folder.join("data.mdb").exists() && slots.iter().any(holds_objects) {
            // An empty catalog beside full devices is a lost one: to begin anew would orphan all they hold.
            return Err(CatalogProblem::Missing { path: folder }.into());
        }
        let catalog = Catalog::open_or_create(&folder, Generation(1))?;
        let mut store = Self {
            config,
            slots,
            catalog,
            hook,
            _lock: lock,
        };
        store.clear_staging()?;
        store.unlink_doomed(Generation(0))?;
        store.settle()?;
        Ok(store)
    }

    /// The configured devices, in the order in which they are numbered.
    pub fn devices(&self) -> &[DeviceSlot] {
        &self.slots
    }

    /// The generation of the newest commit.
    pub fn generation(&self) -> Result<Generation, StoreError> {
        Ok(self.catalog.edit()?.generation()?)
    }

    /// Begins to store an object in a tier. Fails at once if no device has room for it.
    pub fn stage(&self, tree: ChunkTree, tier: &str) -> Result<Stage, StoreError> {
        let object = tree.object();
        if self.stored(&object)?.is_some() {
            return Ok(Stage::Stored(object));
        }
        let tier = self.tier(tier)?;
        let placement = self.place(&object, tree.size(), tier)?;
        let devices = placement
            .devices
            .iter()
            .filter_map(|id| self.device(id))
            .cloned()
            .collect();
        let staging = Staging::create(
            tree,
            placement.layout,
            &self.config.tiers[tier].name,
            devices,
        )?;
        Ok(Stage::Write(staging.with_hook(self.hook.clone())))
    }

    /// Whether all bytes of an object are stored, as far as names and lengths of its files tell.
    pub fn is_stored(&self, object: &ObjectId) -> Result<bool, StoreError> {
        Ok(self.stored(object)?.is_some())
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
        record.copies.iter().any(|copy| {
            copy.devices.iter().enumerate().all(|(column, id)| {
                let Some(device) = self.device(id) else {
                    return false;
                };
                let length =
                    fs::metadata(device.column_path(&record.object)).map(|column| column.len());
                length.is_ok_and(|length| length == copy.layout.column_length(column))
                    && device.sidecar_path(&record.object).exists()
            })
        })
    }

    /// An open device by its name.
    pub(crate) fn device(&self, id: &DeviceId) -> Option<&Device> {
        self.slots
            .iter()
            .filter_map(|slot| slot.device.as_ref().ok())
            .find(|device| device.id() == *id)
    }

    fn tier(&self, name: &str) -> Result<usize, StoreError> {
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

    /// Applies the rule of [`placement`] to the tier's devices as they are now.
    fn place(&self, object: &ObjectId, size: u64, tier: usize) -> Result<Placement, StoreError> {
        let TierConfig {
            name,
            stripe_unit,
            stripe_width,
            ..
        } = &self.config.tiers[tier];
        let slots = self.slots.iter().filter(|slot| slot.tier == tier);
        let looked: Vec<_> = slots.map(|slot| (slot, candidate(slot))).collect();
        let candidates: Vec<_> = looked
            .iter()
            .filter_map(|(_, looked)| looked.as_ref().ok().copied())
            .collect();
        placement::place(
            object,
            size,
            *stripe_unit,
            usize::from(*stripe_width),
            &candidates,
        )
        .map_err(|none| match none {
            NoPlace::Layout(bad) => bad.into(),
            NoPlace::Room { column_bytes } => StoreError::NoRoom {
                tier: name.clone(),
                object: *object,
                column_bytes,
                devices: looked
                    .iter()
                    .map(|(slot, looked)| describe(slot, looked))
                    .collect::<Vec<_>>()
                    .join("; "),
            },
        })
    }

    pub(crate) fn done(&self, step: Step) {
        if let Some(hook) = &self.hook {
            hook(step);
        }
    }

    /// What lies in `staging/` belongs to nobody: there is only one writer, and it has just begun.
    fn clear_staging(&self) -> Result<(), StoreError> {
        for device in self
            .slots
            .iter()
            .filter_map(|slot| slot.device.as_ref().ok())
        {
            let staging = device.staging();
            if device.check_writable().is_err() {
                continue;
            }
            fs::create_dir_all(&staging).map_err(StoreError::io("create", &staging))?;
            for left in fs::read_dir(&staging).map_err(StoreError::io("read", &staging))? {
                let left = left.map_err(StoreError::io("read", &staging))?.path();
                tracing::info!(file = %left.display(), "removing what an interrupted writer left");
                fs::remove_file(&left).map_err(StoreError::io("remove", &left))?;
            }
        }
        Ok(())
    }
}

fn holds_objects(slot: &DeviceSlot) -> bool {
    let Ok(device) = &slot.device else {
        return false;
    };
    fs::read_dir(device.objects()).is_ok_and(|mut folders| folders.next().is_some())
}

/// A device's room for objects: what is free without the reserve.
pub(crate) fn room_bytes(space: &Space) -> u64 {
    let short_of_inodes = space.total_inodes > 0 && space.available_inodes <= DEVICE_RESERVE_INODES;
    if short_of_inodes {
        0
    } else {
        space.available_bytes.saturating_sub(DEVICE_RESERVE_BYTES)
    }
}

fn candidate(slot: &DeviceSlot) -> Result<Candidate, String> {
    let device = slot.device.as_ref().map_err(ToString::to_string)?;
    let space = device
        .check_writable()
        .map_err(|problem| problem.to_string())?;
    Ok(Candidate {
        device: device.id(),
        weight: space.total_bytes,
        room_bytes: room_bytes(&space),
    })
}

fn describe(slot: &DeviceSlot, looked: &Result<Candidate, String>) -> String {
    match looked {
        Ok(candidate) => format!(
            "device {} has room for {} bytes",
            slot.root.display(),
            candidate.room_bytes
        ),
        Err(problem) => problem.clone(),
    }
}
