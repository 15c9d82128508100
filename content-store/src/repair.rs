//! Repairing a copy: only its lost and bad columns are written anew, in `staging/`, from what is good on this box or from a source.
//!
//! ```text
//! Store::repair -> Repairing --group by group, verified--> Repaired -> Store::finish_repairs
//! ```
//! A column is repaired on its device, or on another one of its tier if that is gone or has no room. What a column holds is decided by
//! its object, so a repaired column may take the place of a bad one at any time; the commit says that it is good again.

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
use crate::staging::StagedFile;
use crate::store::{Step, Store};

mod columns;

use columns::{Column, Holder};
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
            copy.bad.contains(column) || self.device(&copy.devices[column]).is_none()
        })
    }

    /// Begins to write the columns of a copy anew that are `wrong`.
    pub(crate) fn rewrite(
        &self,
        object: &ObjectId,
        placed: u64,
        tree: Option<ChunkTree>,
        is_wrong: impl Fn(&CopyRecord, usize) -> bool,
    ) -> Result<Option<Repairing>, StoreError> {
        let Some(record) = self.catalog.edit()?.object(object)? else {
            return Ok(None);
        };
        let copies = &record.copies;
        let Some(copy) = copies.iter().find(|copy| copy.placed == placed) else {
            return Ok(None);
        };
        let columns = 0..copy.layout.width();
        let wrong: Vec<usize> = columns.filter(|column| is_wrong(copy, *column)).collect();
        if wrong.is_empty() {
            return Ok(None);
        }
        let tree = tree.or_else(|| self.tree_here(&record));
        let tree = tree.ok_or(StoreError::NoTree(*object))?;
        let mut taken = self.taken(object)?;
        taken.extend(copies.iter().flat_map(|copy| &copy.devices));
        let mut columns = Vec::new();
        for index in wrong {
            let device = self.place_column(&record, copy, index, &taken)?;
            taken.insert(device.id());
            columns.push(Column::create(&record.object, copy, index, device)?);
        }
        let holders = self.holders(&record);
        Ok(Some(Repairing::new(tree, copy.clone(), columns, holders)))
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

    /// Where a column goes: to its device if that is here and has room.
    fn place_column(
        &self,
        record: &ObjectRecord,
        copy: &CopyRecord,
        index: usize,
        taken: &BTreeSet<DeviceId>,
    ) -> Result<Device, StoreError> {
        let length = copy.layout.column_length(index);
        let tier = self.tier(&copy.tier)?;
        let own = copy.devices[index];
        let others: BTreeSet<DeviceId> = taken.iter().filter(|id| **id != own).copied().collect();
        let looked = self.candidates(tier, &others);
        let fits = |candidate: &&Candidate| candidate.room_bytes >= length;
        let fitting = looked.iter().filter_map(|(_, looked)| looked.as_ref().ok());
        let fitting: Vec<&Candidate> = fitting.filter(fits).collect();
        let stays = fitting.iter().any(|candidate| candidate.device == own);
        let weighted = fitting.iter().map(|one| (one.device, one.weight));
        let weighted: Vec<_> = weighted.collect();
        let chosen = match stays {
            true => Some(own),
            false => choose_devices(&record.object, &weighted, 1)
                .first()
                .copied(),
        };
        let chosen = chosen.and_then(|id| self.device(&id));
        let no_room = || self.no_room(tier, &record.object, length, &looked);
        chosen.cloned().ok_or_else(no_room)
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
        let mut works = BTreeMap::new();
        for repaired in repaired {
            if let Some(work) = self.work(repaired, generation)? {
                works.entry(work.object()).or_insert(work);
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

    /// What is to be done with what was repaired; `None` if its copy is not any more what it was.
    fn work(&self, repaired: Repaired, generation: Generation) -> Result<Option<Work>, StoreError> {
        let edit = self.catalog.edit()?;
        let object = repaired.tree.object();
        let Some(record) = edit.object(&object)? else {
            return Ok(None);
        };
        let Some(copy) = record.copies.iter().position(|now| *now == repaired.copy) else {
            return Ok(None);
        };
        let mut now = repaired.copy.clone();
        now.repaired = generation.0;
        for (index, device, ..) in &repaired.columns {
            now.devices[*index] = device.id();
            now.bad.remove(*index);
        }
        let paths = edit.paths_of(&object)?;
        Ok(Some(Work {
            repaired,
            copy,
            now,
            paths,
        }))
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
            self.place_columns(work, generation, &mut folders)?;
            done.push(outline);
        }
        for folder in folders {
            file::sync_directory(&folder).map_err(StoreError::io("sync", &folder))?;
        }
        self.done(Step::FoldersSynced);
        self.commit_repairs(&done, generation)
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

    fn place_columns(
        &self,
        work: Work,
        generation: Generation,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<(), StoreError> {
        let object = work.object();
        for (index, device, column, crcs) in work.repaired.columns {
            let sidecar = Sidecar {
                object,
                layout: work.now.layout,
                placed: work.now.placed,
                revision: generation.0,
                tier: work.now.tier.clone(),
                copy: work.copy as u8,
                column: index as u8,
                devices: work.now.devices.clone(),
                paths: work.paths.clone(),
                groups: work.repaired.tree.groups().into(),
                crcs,
            };
            let staged = StagedFile::name(&device, &object, "meta");
            sidecar
                .write_new(staged.path())
                .map_err(StoreError::io("write", staged.path()))?;
            self.done(Step::SidecarWritten);
            make_folders(&device, &object, folders)?;
            staged.rename(&device.sidecar_path(&object))?;
            self.done(Step::SidecarRenamed);
            column.rename(&device.column_path(&object))?;
            self.done(Step::ColumnRenamed);
        }
        Ok(())
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

/// A repaired copy and what the catalog will say of it.
struct Work {
    repaired: Repaired,
    /// Its place among the copies.
    copy: usize,
    now: CopyRecord,
    paths: Vec<PathEntry>,
}

/// What is left of it when its files are in their places.
struct Outline {
    object: ObjectId,
    before: CopyRecord,
    now: CopyRecord,
}

impl Work {
    fn object(&self) -> ObjectId {
        self.repaired.tree.object()
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
