//! What the box holds and has room for, as the planner needs it. Blocks on the state disk and on every device, but waits for no
//! device longer than [`DEVICE_WAIT`]: one that hangs counts as one that is not there.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use content_store::catalog::{ObjectRecord, Snapshot};
use content_store::device::{self, Complaint, Condition, Intents, Seen};
use content_store::placement::Rule;
use content_store::space::{self, Account};
use content_store::{DeviceId, PathEntry, StoreConfig, StoreError, TierConfig, TierRole};
use protocol::config::Config;
use protocol::root::Root;

use crate::limits::DEVICE_WAIT;
use crate::planner::repair::Damaged;
use crate::planner::{self, Held, HeldPath};

/// A configured device as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDevice {
    /// Configured path.
    pub root: PathBuf,
    /// Index of its tier.
    pub tier: usize,
    /// Its name and room, or what is wrong with it.
    pub found: Result<Room, Complaint>,
    /// What the catalog has on it, as far as it was asked.
    pub account: Account,
}

/// The room of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The device.
    pub id: DeviceId,
    /// Size of its file system.
    pub total_bytes: u64,
    /// Bytes that objects may still use.
    pub room_bytes: u64,
    /// The same, whether there are files for it or not.
    pub free_bytes: u64,
    /// Columns that its file system has files for; `u64::MAX` if it sets no bound.
    pub room_columns: u64,
    /// It is read, and given nothing new.
    pub is_evacuating: bool,
}

/// What the box holds and has room for.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is published.
    pub snapshot: Snapshot,
    /// All configured devices, in the order of the configuration.
    pub devices: Vec<FoundDevice>,
    /// Devices that are not used, and whose columns are not lost: offline, read-only, or back and not compared yet.
    pub kept: HashSet<DeviceId>,
}

impl FoundDevice {
    /// Last part of its path.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.root.file_name().unwrap_or(self.root.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

/// Looks at everything.
///
/// # Errors
/// When there is a catalog, or something is wanted of devices, and it cannot be read.
pub fn survey(config: &Config) -> Result<Survey, StoreError> {
    let state_dir = &config.appliance.state_dir;
    let (intents, seen) = (Intents::read(state_dir)?, Seen::read(state_dir)?);
    let mut devices = look(config, &intents, &seen);
    let snapshot = Snapshot::read_or_empty(state_dir)?;
    let accounts = space::account(&snapshot);
    for device in &mut devices {
        let id = device.found.as_ref().map(|room| room.id).ok();
        let id = id.or_else(|| seen.at(&device.root));
        let account = id.and_then(|id| accounts.get(&id));
        device.account = account.copied().unwrap_or_default();
    }
    Ok(Survey {
        snapshot,
        kept: intents
            .offline()
            .chain(kept(&devices, &seen))
            .filter(|id| !intents.is_removed(id))
            .collect(),
        devices,
    })
}

/// What is published.
///
/// # Errors
/// When there is a catalog and it cannot be read.
pub fn snapshot(config: &Config) -> Result<Snapshot, StoreError> {
    Ok(Snapshot::read_or_empty(&config.appliance.state_dir)?)
}

/// Devices that are here and not used, but hold what they held.
fn kept<'a>(devices: &'a [FoundDevice], seen: &'a Seen) -> impl Iterator<Item = DeviceId> + 'a {
    let unused = devices.iter().filter(|device| {
        let condition = device.found.as_ref().err().map(|wrong| wrong.condition);
        matches!(
            condition,
            Some(Condition::Returned | Condition::ReadOnly | Condition::Offline)
        )
    });
    unused.filter_map(|device| seen.at(&device.root))
}

/// The configuration in the store's words.
#[must_use]
pub fn store_config(config: &Config) -> StoreConfig {
    let tier = |tier: &protocol::config::Tier| TierConfig {
        name: tier.name.clone(),
        role: match tier.role {
            protocol::config::TierRole::Hot => TierRole::Hot,
            protocol::config::TierRole::Capacity => TierRole::Capacity,
        },
        stripe_unit: tier.stripe_unit.bytes(),
        read_unit: u32::try_from(tier.read_unit.bytes())
            .expect("the configuration allows at most 16 MiB"),
        stripe_width: tier.stripe_width,
        devices: tier.devices.clone(),
    };
    StoreConfig {
        state_dir: config.appliance.state_dir.clone(),
        tiers: config.tiers.iter().map(tier).collect(),
        program: "oca-fill-agent".to_owned(),
    }
}

/// How new columns are placed.
#[must_use]
pub fn placing(config: &Config) -> Rule {
    let speeds = config.speeds();
    Rule {
        high_watermark: config.high_watermark(),
        speeds: speeds.map(|(root, speed)| (root.into(), speed)).collect(),
    }
}

/// Looks at all devices at once.
///
/// # Errors
/// When something is wanted of devices, and it cannot be read.
pub fn devices(config: &Config) -> Result<Vec<FoundDevice>, StoreError> {
    let state_dir = &config.appliance.state_dir;
    let (intents, seen) = (Intents::read(state_dir)?, Seen::read(state_dir)?);
    Ok(look(config, &intents, &seen))
}

fn look(config: &Config, intents: &Intents, seen: &Seen) -> Vec<FoundDevice> {
    let tiers = config.tiers.iter().enumerate();
    let configured: Vec<(usize, &Path)> = tiers
        .flat_map(|(tier, of)| of.devices.iter().map(move |root| (tier, root.as_path())))
        .collect();
    let roots: Vec<&Path> = configured.iter().map(|(_, root)| *root).collect();
    let looked = device::look_at_all(&roots, intents, seen, DEVICE_WAIT);
    let devices = configured.iter().zip(looked);
    let devices = devices.map(|((tier, root), found)| FoundDevice {
        root: root.to_path_buf(),
        tier: *tier,
        found: match found {
            Ok((device, of)) => Ok(Room {
                id: device.id(),
                total_bytes: of.total_bytes,
                room_bytes: space::room_bytes(&of),
                free_bytes: space::free_bytes(&of),
                room_columns: space::room_columns(&of),
                is_evacuating: intents.is_evacuating(&device.id()),
            }),
            Err(problem) => Err(problem.into()),
        },
        account: Account::default(),
    });
    devices.collect()
}

impl Survey {
    /// The tiers for the planner: only devices that are well. `failed` are those that the agent itself does not trust.
    #[must_use]
    pub fn tiers(&self, config: &Config, failed: &HashSet<DeviceId>) -> Vec<planner::Tier> {
        let tiers = config.tiers.iter().enumerate();
        let tier = |(index, tier): (usize, &protocol::config::Tier)| {
            let well: Vec<&Room> = self.well(index, failed).collect();
            let columns = well
                .iter()
                .fold(0_u64, |sum, room| sum.saturating_add(room.room_columns));
            planner::Tier {
                role: tier.role,
                stripe_width: tier.stripe_width,
                room_objects: match columns {
                    u64::MAX => u64::MAX,
                    columns => columns / u64::from(tier.stripe_width.max(1)),
                },
                devices: well
                    .iter()
                    .map(|room| planner::Device {
                        total_bytes: room.total_bytes,
                        room_bytes: room.free_bytes,
                        room_columns: room.room_columns,
                    })
                    .collect(),
            }
        };
        tiers.map(tier).collect()
    }

    /// The devices of a tier that are well, in the order of the configuration.
    fn well(&self, tier: usize, failed: &HashSet<DeviceId>) -> impl Iterator<Item = &Room> {
        self.well_devices(tier, failed).map(|(_, room)| room)
    }

    /// The same, each as it was found.
    pub(crate) fn well_devices(
        &self,
        tier: usize,
        failed: &HashSet<DeviceId>,
    ) -> impl Iterator<Item = (&FoundDevice, &Room)> {
        let devices = self
            .devices
            .iter()
            .filter(move |device| device.tier == tier);
        let rooms = devices.filter_map(|device| Some((device, device.found.as_ref().ok()?)));
        rooms.filter(|(_, room)| !room.is_evacuating && !failed.contains(&room.id))
    }

    /// The objects that have a copy to repair.
    #[must_use]
    pub fn damaged(&self, config: &Config) -> Vec<Damaged> {
        let here = self.here(config);
        let records = self.snapshot.objects.iter();
        let records = records.filter(|record| tier_of(record, config).is_some());
        records
            .filter_map(|record| damaged(record, &here))
            .collect()
    }

    /// What is published, for the planner. What can be repaired counts as whole. An object of a tier that is not configured any more
    /// counts as one of the first tier that is not whole: it is fetched again if it is wanted.
    #[must_use]
    pub fn held(&self, config: &Config, failed: &HashSet<DeviceId>) -> Vec<Held<'_>> {
        let mut paths: HashMap<_, Vec<HeldPath<'_>>> = HashMap::new();
        for (object, entry) in &self.snapshot.paths {
            paths.entry(*object).or_default().push(held_path(entry));
        }
        let here = self.here(config);
        let well: Vec<Vec<DeviceId>> = (0..config.tiers.len())
            .map(|tier| self.well(tier, failed).map(|room| room.id).collect())
            .collect();
        let records = self.snapshot.objects.iter();
        records
            .map(|record| {
                let tier = tier_of(record, config);
                let (devices, further) = tier.map_or((0, 0), |tier| {
                    spread(record, &well[tier], config.tiers[tier].stripe_width)
                });
                let is_here = is_whole(record, &here) || damaged(record, &here).is_some();
                Held {
                    root: Root(record.object.0),
                    size: record.size,
                    tier: tier.unwrap_or(0),
                    whole: tier.is_some() && is_here,
                    copies: u8::try_from(record.copies.len()).unwrap_or(u8::MAX),
                    devices,
                    takes_room: tier
                        .is_some_and(|tier| well[tier].iter().any(|id| holds(record, id))),
                    further,
                    demand: 0,
                    paths: paths.remove(&record.object).unwrap_or_default(),
                }
            })
            .collect()
    }
}

/// Which of these devices hold a column of an object, as bits, and how many copies of it the others can take: each device holds one
/// column at most, and a copy is narrower before there is none.
fn spread(record: &ObjectRecord, devices: &[DeviceId], stripe_width: u8) -> (u64, u8) {
    let (mut bits, mut free) = (0_u64, 0_usize);
    for (place, device) in (0_u32..).zip(devices) {
        if holds(record, device) {
            bits |= 1_u64.unbounded_shl(place);
        } else {
            free += 1;
        }
    }
    let width = record.copies.first().map_or(1, |copy| copy.layout.width());
    let width = width.min(usize::from(stripe_width)).max(1);
    (bits, u8::try_from(free.div_ceil(width)).unwrap_or(u8::MAX))
}

/// A column of the object is on that device.
fn holds(record: &ObjectRecord, device: &DeviceId) -> bool {
    let mut copies = record.copies.iter();
    copies.any(|copy| copy.devices.contains(device))
}

impl Survey {
    /// The devices whose columns are not lost, with the names of their tiers; without, if nothing new is to be written to them.
    fn here<'a>(&self, config: &'a Config) -> Here<'a> {
        let found = self.devices.iter().filter_map(|device| {
            let (tier, room) = (config.tiers.get(device.tier)?, device.found.as_ref().ok()?);
            let takes = !room.is_evacuating;
            Some((room.id, if takes { tier.name.as_str() } else { "" }))
        });
        found.chain(self.kept.iter().map(|id| (*id, ""))).collect()
    }
}

type Here<'a> = HashMap<DeviceId, &'a str>;

fn held_path(entry: &PathEntry) -> HeldPath<'_> {
    HeldPath {
        path: &entry.path,
        content_type: &entry.content_type,
        cache_control: &entry.cache_control,
        modified: entry.modified_s,
    }
}

fn tier_of(record: &ObjectRecord, config: &Config) -> Option<usize> {
    let name = &record.copies.first()?.tier;
    config.tiers.iter().position(|tier| tier.name == **name)
}

fn is_whole(record: &ObjectRecord, here: &Here<'_>) -> bool {
    let mut copies = record.copies.iter();
    copies.any(|copy| copy.is_whole(|device| here.contains_key(device)))
}

/// The copy to repair: of those that have lost or bad columns, and a column on a device that is here, the one that misses least. Its lost
/// columns need other devices of its tier, which hold nothing of the object; without them it is fetched anew, and lies on fewer.
fn damaged(record: &ObjectRecord, here: &Here<'_>) -> Option<Damaged> {
    let copies = record.copies.iter().filter_map(|copy| {
        let is_lost = |column: usize| !here.contains_key(&copy.devices[column]);
        let columns = 0..copy.layout.width();
        let wrong = |column: &usize| copy.bad.contains(*column) || is_lost(*column);
        let wrong: Vec<usize> = columns.clone().filter(wrong).collect();
        let lost = columns.clone().filter(|column| is_lost(*column)).count();
        let of_tier = here.iter().filter(|(_, tier)| **tier == &*copy.tier);
        let free = of_tier.filter(|(id, _)| !holds(record, id)).count();
        let is_worth_it = !wrong.is_empty() && lost < copy.layout.width() && lost <= free;
        let lengths = wrong
            .iter()
            .map(|column| copy.layout.column_length(*column));
        is_worth_it.then(|| Damaged {
            root: Root(record.object.0),
            size: record.size,
            placed: copy.placed,
            tier: copy.tier.clone(),
            bytes: lengths.sum(),
            another_is_whole: is_whole(record, here),
        })
    });
    copies.min_by_key(|damaged| damaged.bytes)
}
