//! Repairing a copy: only its lost and bad columns are written anew, in `staging/`, from what is good on this box or from a source.
//!
//! ```text
//! Store::repair -> Repairing --group by group, verified--> Repaired -> Store::finish_repairs
//! ```
//! A column is repaired on its device, or on another one of its tier if that is gone or has no room. What a column holds is decided by
//! its object, so a repaired column may take the place of a bad one at any time; the commit says that it is good again. Like an object that
//! comes it has a journal while it is written: a repair that is dropped or killed is gone on with by the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use platform::file;

use crate::catalog::{CopyRecord, DoomedRecord, ObjectRecord};
use crate::chunk_tree::{ChunkTree, group_count};
use crate::device::Device;
use crate::entry::PathEntry;
use crate::error::StoreError;
use crate::ids::{DeviceId, Generation, ObjectId};
use crate::placement::{Candidate, choose_devices};
use crate::publish::make_folders;
use crate::sidecar::Sidecar;
use crate::staging::journal::Journal;
use crate::staging::{Claim, Kind, StagedFile, Target};
use crate::store::{Step, Store};

mod columns;
mod resume;

use columns::Holder;
pub use columns::{Repaired, Repairing};

impl Store {
    /// Begins to repair a copy of an object: the columns that are marked bad, and those whose device is not here. `None` if it has none of
    /// them, or is not published any more. `placed` names the copy. Without a tree, that of a sidecar on this box is used.
    ///
    /// # Errors
    /// [`StoreError::NoTree`] if there is none; no room; what a device says.
    pub fn repair(
        &self,
        object: &ObjectId,
        placed: u64,
        tree: Option<ChunkTree>,
    ) -> Result<Option<Repairing>, StoreError> {
        self.rewrite(object, placed, tree, |copy, column| {
            let is_lost = self.device(&copy.devices[column]).is_none();
            match copy.bad.contains(column) || is_lost {
                true => Fate::Anew,
                false => Fate::Stays,
            }
        })
    }

    /// Begins to write the columns of a copy that do not stay as they are.
    pub(crate) fn rewrite(
        &self,
        object: &ObjectId,
        placed: u64,
        tree: Option<ChunkTree>,
        fate: impl Fn(&CopyRecord, usize) -> Fate,
    ) -> Result<Option<Repairing>, StoreError> {
        let Some(record) = self.catalog.edit()?.object(object)? else {
            return Ok(None);
        };
        let copies = &record.copies;
        let Some(copy) = copies.iter().find(|copy| copy.placed == placed) else {
            return Ok(None);
        };
        let fates: Vec<Fate> = (0..copy.layout.width())
            .map(|column| fate(copy, column))
            .collect();
        let columns = 0..fates.len();
        let wrong: Vec<usize> = columns.filter(|at| fates[*at] != Fate::Stays).collect();
        if wrong.is_empty() {
            return Ok(None);
        }
        let claim = Claim::take(&self.config.state_dir, object, Kind::Repair);
        let begun = match claim {
            Some(_) => self.begun(object, copy, &wrong)?,
            None => Vec::new(),
        };
        let tree = tree.or_else(|| self.tree_here(&record));
        let tree = tree.or_else(|| begun.first()?.journal.head.tree().ok());
        let tree = tree.ok_or(StoreError::NoTree(*object))?;
        let target = Target {
            tree,
            layout: copy.layout,
            tier: copy.tier.clone(),
            devices: self.place_columns(&record, copy, &fates, &begun)?,
            boot: self.boot,
            claim,
        };
        let columns = self.columns(&target, &wrong, begun)?;
        let holders = self.holders(&record);
        let (copy, hook) = (copy.clone(), self.hook.clone());
        Ok(Some(Repairing::new(target, copy, columns, holders, hook)))
    }

    /// The devices of a copy when its columns are written.
    fn place_columns(
        &self,
        record: &ObjectRecord,
        copy: &CopyRecord,
        fates: &[Fate],
        begun: &[Begun],
    ) -> Result<Box<[DeviceId]>, StoreError> {
        let mut taken = self.taken(&record.object)?;
        let copies = record.copies.iter();
        taken.extend(copies.flat_map(|copy| &copy.devices));
        let mut devices = copy.devices.clone();
        for (index, fate) in fates.iter().enumerate() {
            if *fate == Fate::Stays {
                continue;
            }
            let place = Place {
                index,
                fate: *fate,
                begun: begun.iter().find(|begun| begun.index == index),
            };
            devices[index] = self.place_column(record, copy, place, &taken)?;
            taken.insert(devices[index]);
        }
        Ok(devices)
    }

    /// The tree that some sidecar on this box has.
    fn tree_here(&self, record: &ObjectRecord) -> Option<ChunkTree> {
        if group_count(record.size) == 1 {
            let groups = [record.object.0];
            return ChunkTree::new(record.object, record.size, groups.into()).ok();
        }
        let devices = record.copies.iter().flat_map(|copy| &copy.devices);
        let mut devices = devices.filter_map(|id| self.device(id));
        devices.find_map(|device| {
            let sidecar = Sidecar::read(&device.sidecar_path(&record.object)).ok()?;
            let is_ours = sidecar.object == record.object && sidecar.layout.size() == record.size;
            sidecar.tree().ok().filter(|_| is_ours)
        })
    }

    /// Where a column goes: to its device if that is here and has room; else to where it was begun.
    fn place_column(
        &self,
        record: &ObjectRecord,
        copy: &CopyRecord,
        place: Place<'_>,
        taken: &BTreeSet<DeviceId>,
    ) -> Result<DeviceId, StoreError> {
        let begun = place.begun.map(|begun| begun.device.id());
        let length = copy.layout.column_length(place.index);
        let tier = self.tier(&copy.tier)?;
        let own = Some(copy.devices[place.index]).filter(|_| place.fate == Fate::Anew);
        let others = taken.iter().filter(|id| Some(**id) != own);
        let looked = self.candidates(tier, &others.copied().collect());
        // What was begun has its room already.
        let fits = |candidate: &&Candidate| {
            let room = match place.fate {
                Fate::Leaves => candidate.room_below_mark_bytes,
                _ => candidate.room_bytes,
            };
            room >= length || begun == Some(candidate.device)
        };
        let fitting = looked.iter().filter_map(|(_, looked)| looked.as_ref().ok());
        let fitting: Vec<&Candidate> = fitting.filter(fits).collect();
        let fit = |id: DeviceId| fitting.iter().any(|candidate| candidate.device == id);
        let weighted = fitting.iter().map(|one| (one.device, one.weight));
        let weighted: Vec<_> = weighted.collect();
        let chosen = [own, begun].into_iter().flatten().find(|id| fit(*id));
        let chosen = chosen.or_else(|| {
            choose_devices(&record.object, &weighted, 1)
                .first()
                .copied()
        });
        chosen.ok_or_else(|| self.no_room(tier, &record.object, length, &looked))
    }

    /// Where groups of the object may be read: good columns first.
    fn holders(&self, record: &ObjectRecord) -> Vec<Holder> {
        let columns = record.copies.iter().flat_map(|copy| {
            let columns = copy.devices.iter().enumerate();
            columns.map(move |(column, id)| (copy, column, id))
        });
        let mut holders: Vec<_> = columns
            .filter_map(|(copy, column, id)| {
                let device = self.device(id)?.clone();
                let holder = Holder::new(copy.layout, column, device);
                Some((copy.bad.contains(column), holder))
            })
            .collect();
        holders.sort_by_key(|(is_bad, _)| *is_bad);
        holders.into_iter().map(|(_, holder)| holder).collect()
    }

    /// Puts repaired columns into their places, in one commit, whose generation it returns; `None` if nothing was to be repaired any
    /// more: what was removed, moved or repaired meanwhile is discarded. On an error nothing of it is in the catalog.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if paths were taken away meanwhile; what a device says.
    pub fn finish_repairs(
        &mut self,
        repaired: Vec<Repaired>,
    ) -> Result<Option<Generation>, StoreError> {
        let generation = Generation(self.generation()?.0 + 1);
        let mut works: BTreeMap<ObjectId, Work> = BTreeMap::new();
        for repaired in repaired {
            match self.told(&repaired)? {
                Some(told) if !works.contains_key(&repaired.object()) => {
                    works.insert(repaired.object(), Work::new(repaired, told, generation));
                }
                _ => repaired.discard(),
            }
        }
        let works: Vec<Work> = works.into_values().collect();
        if works.is_empty() {
            return Ok(None);
        }
        if let Err(error) = self.place_and_commit(works, generation) {
            // Files that came to another device go now, or when the store is opened next.
            let _ = self.undo_intentions();
            return Err(error);
        }
        self.settle_after_commit();
        Ok(Some(generation))
    }

    /// What the sidecars of repaired columns say beside; `None` if their copy is not any more what it was.
    fn told(&self, repaired: &Repaired) -> Result<Option<Told>, StoreError> {
        let edit = self.catalog.edit()?;
        let object = repaired.object();
        let Some(record) = edit.object(&object)? else {
            return Ok(None);
        };
        let place = record.copies.iter().position(|now| *now == repaired.copy);
        let Some(place) = place else {
            return Ok(None);
        };
        let paths = edit.paths_of(&object)?;
        Ok(Some(Told { place, paths }))
    }

    fn place_and_commit(
        &mut self,
        works: Vec<Work>,
        generation: Generation,
    ) -> Result<(), StoreError> {
        self.intend_moves(&works, generation)?;
        let mut folders = BTreeSet::new();
        let mut done = Vec::new();
        for work in works {
            let outline = work.outline();
            let journals = self.arrive_columns(work, generation, &mut folders)?;
            done.push((outline, journals));
        }
        for folder in folders {
            file::sync_directory(&folder).map_err(StoreError::io("sync", &folder))?;
        }
        self.done(Step::FoldersSynced);
        let (done, journals): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        self.commit_repairs(&done, generation)?;
        for journal in journals.into_iter().flatten() {
            journal.discard();
            self.done(Step::JournalRemoved);
        }
        Ok(())
    }

    /// The catalog knows of files that come to a device which has none of the object.
    fn intend_moves(&mut self, works: &[Work], generation: Generation) -> Result<(), StoreError> {
        let moved: Vec<_> = works.iter().filter(|work| work.moves()).collect();
        if moved.is_empty() {
            return Ok(());
        }
        let mut edit = self.catalog.edit()?;
        for work in moved {
            edit.put_doomed(&doomed(Generation(0), work.object(), &work.now, generation))?;
        }
        edit.commit()?;
        self.done(Step::Intended);
        Ok(())
    }

    /// Brings columns to their places; gives their journals, which stay until the commit.
    fn arrive_columns(
        &self,
        work: Work,
        generation: Generation,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<Vec<StagedFile>, StoreError> {
        let object = work.object();
        let mut journals = Vec::new();
        for (index, column) in work.repaired.columns {
            let device = column.device;
            let sidecar = Sidecar {
                object,
                layout: work.now.layout,
                placed: work.now.placed,
                revision: generation.0,
                tier: work.now.tier.clone(),
                copy: work.told.place as u8,
                column: index as u8,
                devices: work.now.devices.clone(),
                paths: work.told.paths.clone(),
                groups: work.repaired.target.tree.groups().into(),
                crcs: column.crcs,
            };
            let staged = StagedFile::name(&device, &object, "meta");
            sidecar
                .write_new(staged.path())
                .map_err(StoreError::io("write", staged.path()))?;
            self.done(Step::SidecarWritten);
            make_folders(&device, &object, folders)?;
            staged.rename(&device.sidecar_path(&object))?;
            self.done(Step::SidecarRenamed);
            column.file.rename(&device.column_path(&object))?;
            journals.extend(column.journal);
            self.done(Step::ColumnRenamed);
        }
        Ok(journals)
    }

    fn commit_repairs(
        &mut self,
        done: &[Outline],
        generation: Generation,
    ) -> Result<(), StoreError> {
        let mut edit = self.catalog.edit()?;
        if edit.generation()?.0 + 1 != generation.0 {
            return Err(StoreError::Overtaken);
        }
        for outline in done {
            let Outline {
                object,
                before,
                now,
            } = outline;
            let mut record = edit
                .object(object)?
                .ok_or(StoreError::UnknownObject(*object))?;
            for copy in &mut record.copies {
                if copy == before {
                    copy.clone_from(now);
                }
            }
            edit.put_object(&record)?;
            edit.delete_doomed(object, generation.0)?;
            if before.devices == now.devices {
                continue;
            }
            // The sidecars of the other columns are to name the new device.
            edit.set_pending(object)?;
            let left = before.devices.iter().filter(|id| !now.devices.contains(id));
            if left.clone().all(|id| self.device(id).is_some()) {
                edit.put_doomed(&doomed(generation, *object, before, generation))?;
            }
        }
        edit.set_generation(generation)?;
        edit.commit()?;
        self.done(Step::Committed);
        tracing::info!(copies = done.len(), %generation, "repaired");
        Ok(())
    }
}

/// What becomes of a column when its copy is rewritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Nothing.
    Stays,
    /// It is written anew: on its device, if that is here, takes it and has room.
    Anew,
    /// It comes to another device, up to whose high watermark there is room.
    Leaves,
}

/// Where a column may go.
struct Place<'a> {
    index: usize,
    fate: Fate,
    begun: Option<&'a Begun>,
}

/// A column whose repair was begun and not ended.
struct Begun {
    index: usize,
    device: Device,
    journal: Journal,
}

/// What sidecars say beside what a repair brings.
struct Told {
    /// The place of the copy among the others.
    place: usize,
    paths: Vec<PathEntry>,
}

/// A repaired copy and what the catalog will say of it.
struct Work {
    repaired: Repaired,
    now: CopyRecord,
    told: Told,
}

/// What is left of it when its files are in their places.
struct Outline {
    object: ObjectId,
    before: CopyRecord,
    now: CopyRecord,
}

impl Work {
    fn new(repaired: Repaired, told: Told, generation: Generation) -> Self {
        let mut now = repaired.copy.clone();
        now.repaired = generation.0;
        now.devices.clone_from(&repaired.target.devices);
        for (index, _) in &repaired.columns {
            now.bad.remove(*index);
        }
        Self {
            repaired,
            now,
            told,
        }
    }

    fn object(&self) -> ObjectId {
        self.repaired.object()
    }

    /// Whether a column comes to another device.
    fn moves(&self) -> bool {
        self.now.devices != self.repaired.copy.devices
    }

    fn outline(&self) -> Outline {
        Outline {
            object: self.object(),
            before: self.repaired.copy.clone(),
            now: self.now.clone(),
        }
    }
}

/// Files of a copy that go, but for those on devices where the object lives: kept by `generation`, in which no copy was placed.
fn doomed(
    since: Generation,
    object: ObjectId,
    copy: &CopyRecord,
    generation: Generation,
) -> DoomedRecord {
    let copy = CopyRecord {
        placed: generation.0,
        ..copy.clone()
    };
    DoomedRecord {
        since,
        record: ObjectRecord::of_copies(object, vec![copy]),
    }
}
