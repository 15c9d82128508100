//! Rebuilding the catalog from the sidecars alone. Nothing is hashed, fetched or deleted.
//!
//! The rules: of each copy of an object the newest placement whose columns are all here counts, the object's paths come from the sidecar with
//! the highest revision, and of all claims to a path the highest serial wins, also if its object is incomplete: an
//! older object is never served in the place of a newer one. Incomplete objects are listed. If all devices of one are here, its lost
//! columns are marked as bad, and it is published, to be repaired; with no column left it is doomed. Otherwise it is not published: its
//! devices may come back. Objects without a path are doomed. The catalog that was there is moved aside to `catalog.broken-<unix time>`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::catalog::{
    self, Catalog, CatalogProblem, CatalogReader, CopyRecord, DoomedRecord, Edit, ObjectRecord,
    WriterLock,
};
use crate::config::StoreConfig;
use crate::device::{Condition, Device, DeviceProblem, Intent, Intents, Seen, Wanted};
use crate::entry::PathEntry;
use crate::error::StoreError;
use crate::ids::{DeviceId, Generation, ObjectId};
use crate::limits::{MAX_PATHS_PER_OBJECT, REBUILD_GENERATION_GAP};
use crate::staging::files;
use crate::store::{DeviceSlot, open_devices};

mod scan;

use scan::{Found, Placed};

/// What a rebuild found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rebuilt {
    /// Generation of the new catalog.
    pub generation: Generation,
    /// Objects that are published.
    pub objects: u64,
    /// Paths that are published.
    pub paths: u64,
    /// Bytes of the published objects.
    pub bytes: u64,
    /// Complete objects that no path leads to: they will be unlinked.
    pub unreferenced: u64,
    /// Objects of which columns are missing.
    pub incomplete: Vec<Incomplete>,
    /// Files that are not what they should be; they are left alone.
    pub unusable: Vec<Unusable>,
    /// Configured devices that are not here, but for those that were removed for good. What only they hold is not known.
    pub absent: Vec<Unusable>,
    /// Where the catalog that was there is now.
    pub moved_aside: Option<PathBuf>,
}

/// An object of which columns are missing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Incomplete {
    /// The object.
    pub object: ObjectId,
    /// Its size in bytes.
    pub size: u64,
    /// Paths that would lead to it.
    pub paths: Vec<Box<str>>,
    /// Devices whose columns are missing.
    pub missing: Vec<DeviceId>,
    /// All its devices are here, so that it waits for repair.
    pub can_be_repaired: bool,
    /// The devices whose columns are missing were removed for good, or are not configured any more.
    pub gone_on_purpose: bool,
}

/// A file or device that cannot be used, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unusable {
    /// Its path.
    pub path: PathBuf,
    /// Why.
    pub cause: String,
}

/// Objects in one transaction while a catalog is made.
const OBJECTS_PER_COMMIT: usize = 4096;

/// Makes the catalog anew from the devices of the configuration. `now_ms` is the time since 1970 in milliseconds; `progress` is told the sidecars read so far.
pub fn rebuild(
    config: &StoreConfig,
    now_ms: u64,
    progress: impl FnMut(u64),
) -> Result<Rebuilt, StoreError> {
    config.check()?;
    fs::create_dir_all(&config.state_dir).map_err(StoreError::io("create", &config.state_dir))?;
    let _lock = WriterLock::take(&config.state_dir, &config.program)?;
    let slots = open_devices(config)?;
    let intents = Intents::read(&config.state_dir)?;
    let seen = Seen::read(&config.state_dir)?;
    let to_come_back = slots
        .iter()
        .filter(|slot| !is_removed(slot, &intents, &seen));
    let mut report = Rebuilt {
        absent: to_come_back.filter_map(absent).collect(),
        ..Rebuilt::default()
    };
    let found = scan::scan(&slots, &mut report.unusable, progress);
    report.generation = first_generation(highest(&found), former_generation(config), now_ms);
    let fresh = config.state_dir.join("catalog.new");
    make(&fresh, found, &mut report)?;
    let is_unknown =
        |id| report.absent.is_empty() && slots.iter().all(|slot| slot.id() != Some(id));
    for object in &mut report.incomplete {
        let mut missing = object.missing.iter();
        object.gone_on_purpose = missing.all(|id| intents.is_removed(id) || is_unknown(*id));
    }
    report.moved_aside = swap(&config.state_dir, &fresh, now_ms / 1000)?;
    Ok(report)
}

/// Sidecars of objects that are not known, as after a copy of the state disk was put back that is older than what the devices hold; and what
/// could not be looked at. By their names: none is read.
pub fn unknown_sidecars(
    device: &Device,
    is_known: impl Fn(&ObjectId) -> bool,
) -> (Vec<PathBuf>, Vec<Unusable>) {
    let mut unusable = Vec::new();
    let mut found = scan::files(&device.objects(), &mut unusable);
    let is_unknown = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == "meta")
            && files::object_of(path).is_some_and(|object| !is_known(&object))
    };
    found.retain(is_unknown);
    (found, unusable)
}

/// Whether the device of this place was removed for good, and no other was seen there since.
fn is_removed(slot: &DeviceSlot, intents: &Intents, seen: &Seen) -> bool {
    let Err(problem) = &slot.device else {
        return false;
    };
    let was_here = |intent: &Intent| {
        intent.wanted == Wanted::Removed && intent.root.components().eq(slot.root.components())
    };
    let other = seen.at(&slot.root).filter(|id| !intents.is_removed(id));
    matches!(problem, DeviceProblem::Removed { .. })
        || problem.condition() == Condition::Missing
            && other.is_none()
            && intents.iter().any(was_here)
}

fn absent(slot: &DeviceSlot) -> Option<Unusable> {
    let problem = slot.device.as_ref().err()?;
    Some(Unusable {
        path: slot.root.clone(),
        cause: problem.to_string(),
    })
}

/// Above all that the lost catalog, and those lost before it, can have reached: also what was not written to a sidecar, or only to those of
/// devices that are away. Milliseconds outrun commits. With a clock that is slower than the sidecars, a gap has to do.
fn first_generation(highest: u64, former: u64, now_ms: u64) -> Generation {
    let beyond = if now_ms > highest {
        now_ms
    } else {
        highest + REBUILD_GENERATION_GAP
    };
    Generation(beyond.max(former + 1))
}

/// That of the catalog that is there, which may have been rebuilt from fewer sidecars with the same highest number: who follows it is to see
/// that this is another one. 0 if it cannot be read.
fn former_generation(config: &StoreConfig) -> u64 {
    let generation =
        CatalogReader::open(&config.state_dir).and_then(|mut reader| reader.generation());
    generation.map_or(0, |generation| generation.0)
}

/// The highest number that a sidecar carries.
fn highest(found: &BTreeMap<ObjectId, Found>) -> u64 {
    let numbers = found.values().flat_map(|found| {
        let placed = found.placements.keys().copied();
        placed
            .chain([found.revision])
            .chain(found.paths.iter().map(|path| path.serial))
    });
    numbers.max().unwrap_or(0)
}

/// Which object each path belongs to.
fn winners(found: &BTreeMap<ObjectId, Found>) -> BTreeMap<Box<str>, (u64, ObjectId)> {
    let mut winners: BTreeMap<Box<str>, (u64, ObjectId)> = BTreeMap::new();
    for (object, found) in found {
        for PathEntry { path, serial, .. } in &found.paths {
            let claim = (*serial, *object);
            let best = winners.entry(path.clone()).or_insert(claim);
            *best = claim.max(*best);
        }
    }
    winners
}

/// Writes a new catalog into `folder`, which belongs to rebuilds alone.
fn make(
    folder: &Path,
    found: BTreeMap<ObjectId, Found>,
    report: &mut Rebuilt,
) -> Result<(), StoreError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(StoreError::io(
            "remove the rest of an earlier rebuild in",
            folder,
        ))?;
    }
    let winners = winners(&found);
    let catalog = Catalog::open_or_create(folder, report.generation)?;
    let mut edit = catalog.edit()?;
    for (number, (object, found)) in found.into_iter().enumerate() {
        if number % OBJECTS_PER_COMMIT == OBJECTS_PER_COMMIT - 1 {
            edit.commit()?;
            edit = catalog.edit()?;
        }
        let wins = |entry: &PathEntry| winners.get(&entry.path) == Some(&(entry.serial, object));
        add(&mut edit, object, found, wins, report)?;
    }
    Ok(edit.commit()?)
}

fn add(
    edit: &mut Edit<'_>,
    object: ObjectId,
    mut found: Found,
    wins: impl Fn(&PathEntry) -> bool,
    report: &mut Rebuilt,
) -> Result<(), StoreError> {
    let claimed = found.paths.len();
    found.paths.retain(wins);
    let newest = newest(&found.placements);
    let is_whole = |generation: &u64| found.placements[generation].is_whole();
    if !newest.values().all(is_whole) || newest.is_empty() {
        report.incomplete.extend(incomplete(object, &found));
    }
    if newest.is_empty() {
        let lost = found
            .placements
            .iter()
            .filter(|(_, placed)| placed.is_lost());
        return lost
            .map(|(generation, placed)| record(*generation, placed))
            .try_for_each(|copy| {
                let record = ObjectRecord::of_copies(object, vec![copy]);
                let since = report.generation;
                Ok(edit.put_doomed(&DoomedRecord { since, record })?)
            });
    }
    let sidecars_agree = found.is_settled && found.paths.len() == claimed;
    let (live, former): (Vec<_>, Vec<_>) = found
        .placements
        .iter()
        .map(|(generation, placed)| record(*generation, placed))
        .partition(|copy| newest.values().any(|generation| *generation == copy.placed));
    let mut live = ObjectRecord::of_copies(object, live);
    live.copies
        .sort_by_key(|copy| found.placements[&copy.placed].copy);
    let former = former
        .into_iter()
        .map(|copy| ObjectRecord::of_copies(object, vec![copy]));
    let left = left_behind(object, &found, report.generation);
    let mut doomed: Vec<_> = former.chain(left).collect();
    if found.paths.is_empty() {
        report.unreferenced += 1;
        doomed.push(live);
    } else {
        report.objects += 1;
        report.bytes += live.size;
        edit.put_object(&live)?;
    }
    for record in doomed {
        edit.put_doomed(&DoomedRecord {
            since: report.generation,
            record,
        })?;
    }
    for entry in found.paths.iter().take(MAX_PATHS_PER_OBJECT) {
        edit.put_path(&object, entry)?;
        report.paths += 1;
    }
    if sidecars_agree {
        Ok(())
    } else {
        Ok(edit.set_pending(&object)?)
    }
}

/// Files of columns on devices that they have left, each kept by a generation in which no copy was placed.
fn left_behind(
    object: ObjectId,
    found: &Found,
    generation: Generation,
) -> impl Iterator<Item = ObjectRecord> {
    let placed = found.placements.values();
    let left = placed.flat_map(|placed| placed.left_behind().map(move |devices| (placed, devices)));
    (0..).zip(left).map(move |(number, (placed, devices))| {
        let (layout, tier) = (placed.layout, placed.tier.clone());
        let copy = CopyRecord::new(generation.0 - number, layout, tier, devices);
        ObjectRecord::of_copies(object, vec![copy])
    })
}

/// The newest whole placement of each copy; if there is none of any, the newest that can be repaired.
fn newest(placements: &BTreeMap<u64, Placed>) -> BTreeMap<u8, u64> {
    let whole = placements.iter().filter(|(_, placed)| placed.is_whole());
    let whole: BTreeMap<_, _> = whole
        .map(|(generation, placed)| (placed.copy, *generation))
        .collect();
    if !whole.is_empty() {
        return whole;
    }
    let mut newest = placements.iter().rev();
    let found = newest.find(|(_, placed)| placed.can_be_repaired());
    found
        .map(|(generation, placed)| (placed.copy, *generation))
        .into_iter()
        .collect()
}

fn record(placed: u64, found: &Placed) -> CopyRecord {
    let (tier, devices) = (found.tier.clone(), found.devices.clone());
    let mut copy = CopyRecord::new(placed, found.layout, tier, devices);
    for (column, _) in found.missing() {
        copy.bad.insert(column);
    }
    copy
}

fn incomplete(object: ObjectId, found: &Found) -> Option<Incomplete> {
    let (_, newest) = found.placements.last_key_value()?;
    Some(Incomplete {
        object,
        size: newest.layout.size(),
        paths: found.paths.iter().map(|entry| entry.path.clone()).collect(),
        missing: newest
            .missing()
            .map(|(_, device)| device)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        can_be_repaired: newest.can_be_repaired(),
        gone_on_purpose: false,
    })
}

/// Puts the new catalog in the place of the old one, which is kept. A crash between the two renames leaves none, and
/// whoever opens it is told to rebuild.
fn swap(state_dir: &Path, fresh: &Path, now_s: u64) -> Result<Option<PathBuf>, StoreError> {
    let current = catalog::folder(state_dir);
    let aside = current.exists().then(|| aside(state_dir, now_s));
    if let Some(aside) = &aside {
        fs::rename(&current, aside).map_err(StoreError::io("move aside", &current))?;
    }
    fs::rename(fresh, &current).map_err(StoreError::io("put in its place", fresh))?;
    let synced = platform::file::sync_directory(state_dir);
    synced.map_err(|source| CatalogProblem::Io {
        path: state_dir.into(),
        source,
    })?;
    Ok(aside)
}

/// A name that is not taken: two rebuilds in one second keep both.
fn aside(state_dir: &Path, now_s: u64) -> PathBuf {
    let name = |number| match number {
        0 => state_dir.join(format!("catalog.broken-{now_s}")),
        number => state_dir.join(format!("catalog.broken-{now_s}.{number}")),
    };
    (0_u32..)
        .map(name)
        .find(|path| !path.exists())
        .expect("a folder has fewer than 2^32 entries")
}
