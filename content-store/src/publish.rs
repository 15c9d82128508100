//! Publishing: sealed objects become visible, paths change, all in one catalog commit.
//!
//! The order of the steps, after any of which a crash leaves the old or the new state:
//!
//! ```text
//! columns staged and synced   nothing refers to them but their journals, by which they are resumed
//! catalog: intention          the objects are *doomed* before they exist: at open, what appears now goes back or is unlinked
//! sidecars staged and synced
//! sidecars, columns renamed   into objects/ab/cd/
//! folders synced
//! catalog: commit             the new state; the objects are no longer doomed, replaced ones are
//! journals removed            of the objects that came
//! sidecars rewritten          of objects that gained or lost a path; pending ones are finished at open
//! ```
//!
//! Up to 64 objects share the folder syncs and the commits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use platform::file;

use crate::catalog::{
    self, Catalog, CatalogProblem, CopyRecord, DoomedRecord, Edit, ObjectRecord, WriterLock,
};
use crate::device::Device;
use crate::entry::PathEntry;
use crate::error::StoreError;
use crate::ids::{Generation, ObjectId};
use crate::limits::{MAX_BATCH_OBJECTS, MAX_COPIES, MAX_PATHS_PER_OBJECT};
use crate::sidecar::Sidecar;
use crate::staging::{Claim, Sealed, StagedFile, Target};
use crate::store::{Step, Store};

/// An object and the paths that shall lead to it.
pub struct Publication {
    /// The object.
    pub content: Content,
    /// Paths to set, at least one; of moved or copied content those that are new, perhaps none.
    pub paths: Vec<NewPath>,
}

/// Where the bytes of a publication are.
pub enum Content {
    /// Freshly written.
    Sealed(Sealed),
    /// Freshly written, by [`Store::restage`], to take the place of the copy that is published; its paths stay.
    Moved(Sealed),
    /// Freshly written, by [`Store::stage_copy`], to lie beside the copies that are published; its paths stay.
    Copied(Sealed),
    /// Stored before.
    Stored(ObjectId),
}

/// A path to set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPath {
    /// The path, percent-decoded, beginning with `/`.
    pub path: Box<str>,
    /// Value of `Content-Type`.
    pub content_type: Box<str>,
    /// Value of `Cache-Control`.
    pub cache_control: Box<str>,
    /// Seconds since 1970 for `Last-Modified`.
    pub modified_s: u64,
}

impl Content {
    fn object(&self) -> ObjectId {
        match self {
            Self::Sealed(sealed) | Self::Moved(sealed) | Self::Copied(sealed) => sealed.object(),
            Self::Stored(object) => *object,
        }
    }

    fn into_sealed(self) -> Option<Sealed> {
        match self {
            Self::Sealed(sealed) | Self::Moved(sealed) | Self::Copied(sealed) => Some(sealed),
            Self::Stored(_) => None,
        }
    }
}

impl NewPath {
    fn entry(&self, serial: Generation) -> PathEntry {
        PathEntry {
            path: self.path.clone(),
            serial: serial.0,
            content_type: self.content_type.clone(),
            cache_control: self.cache_control.clone(),
            modified_s: self.modified_s,
        }
    }
}

/// A checked batch: what arrives, and all paths to set.
struct Batch {
    generation: Generation,
    arrivals: BTreeMap<ObjectId, Sealed>,
    /// The copies that arrivals come to lie beside.
    beside: BTreeMap<ObjectId, Vec<CopyRecord>>,
    /// What is stored already.
    surplus: Vec<Sealed>,
    resumed: BTreeMap<ObjectId, ObjectRecord>,
    paths: BTreeMap<Box<str>, (ObjectId, PathEntry)>,
}

/// What the sidecars of an arrival say beside what it brings.
struct Told<'a> {
    generation: Generation,
    copy: u8,
    paths: &'a [PathEntry],
}

/// An object whose files are in their places: its journals stay until the commit, so that a crash before it loses no bytes.
struct Arrived {
    journals: Vec<StagedFile>,
    _claim: Option<Claim>,
}

impl Store {
    /// Publishes a batch in one commit and returns its generation. On an error nothing of it is published.
    pub fn publish(&mut self, batch: Vec<Publication>) -> Result<Generation, StoreError> {
        let batch = self.check(batch)?;
        let generation = batch.generation;
        if let Err(error) = self.arrive_and_commit(batch) {
            // Files that came to their place go back now, or when the store is opened next.
            let _ = self.undo_intentions();
            return Err(error);
        }
        self.settle_after_commit();
        Ok(generation)
    }

    /// Takes paths away, in one commit, and returns its generation. Objects that no path leads to any more are doomed.
    pub fn remove(&mut self, paths: &[&str]) -> Result<Generation, StoreError> {
        let mut edit = self.catalog.edit()?;
        let mut touched = BTreeSet::new();
        for path in paths {
            let object = edit.delete_path(path)?;
            touched.insert(object.ok_or_else(|| StoreError::UnknownPath((*path).into()))?);
        }
        let generation = commit_removal(edit, touched)?;
        self.done(Step::Committed);
        self.settle_after_commit();
        Ok(generation)
    }

    fn check(&self, batch: Vec<Publication>) -> Result<Batch, StoreError> {
        if batch.len() > MAX_BATCH_OBJECTS {
            return Err(StoreError::BatchTooLarge(batch.len()));
        }
        let generation = Generation(self.generation()?.0 + 1);
        let mut checked = Batch {
            generation,
            arrivals: BTreeMap::new(),
            beside: BTreeMap::new(),
            surplus: Vec::new(),
            resumed: BTreeMap::new(),
            paths: BTreeMap::new(),
        };
        for Publication { content, paths } in batch {
            let object = content.object();
            if paths.is_empty() && !matches!(content, Content::Moved(_) | Content::Copied(_)) {
                return Err(StoreError::NoPath(object));
            }
            for path in paths {
                let entry = path.entry(generation);
                entry.check()?;
                if checked
                    .paths
                    .insert(entry.path.clone(), (object, entry))
                    .is_some()
                {
                    return Err(StoreError::PathTwice(path.path));
                }
            }
            let stored = self.stored(&object)?;
            let sealed = match (stored, content) {
                (_, Content::Moved(sealed)) if self.is_published(&object)? => sealed,
                (_, Content::Copied(sealed)) => {
                    let copies = self.published(&object)?.copies;
                    if !has_room_beside(&sealed, &copies) {
                        checked.surplus.push(sealed);
                        continue;
                    }
                    checked.beside.insert(object, copies);
                    sealed
                }
                (_, Content::Moved(_)) => return Err(StoreError::UnknownObject(object)),
                // Stored before, or meanwhile: a second copy of the bytes is not needed.
                (Some(record), content) => {
                    checked.surplus.extend(content.into_sealed());
                    checked.resumed.insert(object, record);
                    continue;
                }
                (None, Content::Sealed(sealed)) => sealed,
                (None, Content::Stored(_)) if checked.arrivals.contains_key(&object) => continue,
                (None, Content::Stored(_)) => return Err(StoreError::UnknownObject(object)),
            };
            checked
                .surplus
                .extend(checked.arrivals.insert(object, sealed));
        }
        Ok(checked)
    }

    fn arrive_and_commit(&mut self, batch: Batch) -> Result<(), StoreError> {
        let Batch {
            generation,
            arrivals,
            beside,
            surplus,
            resumed,
            paths,
        } = batch;
        let mut records: Vec<_> = arrivals
            .values()
            .map(|sealed| record_of(sealed, generation))
            .collect();
        let mut arrived = Vec::new();
        if !records.is_empty() {
            self.intend(&records)?;
            arrived = self.arrive(arrivals, &beside, &paths, generation)?;
        }
        for record in &mut records {
            let before = beside.get(&record.object).into_iter().flatten();
            record.copies.splice(0..0, before.cloned());
        }
        self.commit(generation, &records, &resumed, &paths)?;
        for journal in arrived.into_iter().flat_map(|arrived| arrived.journals) {
            journal.discard();
            self.done(Step::JournalRemoved);
        }
        surplus.into_iter().for_each(Sealed::discard);
        Ok(())
    }

    fn intend(&mut self, records: &[ObjectRecord]) -> Result<(), StoreError> {
        let mut edit = self.catalog.edit()?;
        for record in records {
            edit.put_doomed(&DoomedRecord {
                since: Generation(0),
                record: record.clone(),
            })?;
        }
        edit.commit()?;
        self.done(Step::Intended);
        Ok(())
    }

    /// Brings files to their places. No catalog transaction is open meanwhile.
    fn arrive(
        &self,
        arrivals: BTreeMap<ObjectId, Sealed>,
        beside: &BTreeMap<ObjectId, Vec<CopyRecord>>,
        paths: &BTreeMap<Box<str>, (ObjectId, PathEntry)>,
        generation: Generation,
    ) -> Result<Vec<Arrived>, StoreError> {
        let mut folders = BTreeSet::new();
        let mut arrived = Vec::new();
        for (object, sealed) in arrivals {
            let mut listed = self.catalog.edit()?.paths_of(&object)?;
            let new = paths
                .values()
                .filter(|(of, _)| *of == object)
                .map(|(_, entry)| entry);
            listed.retain(|before| !paths.contains_key(&before.path));
            listed.extend(new.cloned());
            listed.sort_unstable();
            let copy = beside.get(&object).map_or(0, Vec::len) as u8;
            let told = Told {
                generation,
                copy,
                paths: &listed,
            };
            arrived.push(self.arrive_object(sealed, &told, &mut folders)?);
        }
        for folder in folders {
            file::sync_directory(&folder).map_err(StoreError::io("sync", &folder))?;
        }
        self.done(Step::FoldersSynced);
        Ok(arrived)
    }

    fn arrive_object(
        &self,
        sealed: Sealed,
        told: &Told<'_>,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<Arrived, StoreError> {
        let object = sealed.object();
        let Target {
            tree,
            layout,
            tier,
            devices,
            claim,
            ..
        } = *sealed.target;
        let mut journals = Vec::new();
        for (column, sealed_column) in sealed.columns.into_iter().enumerate() {
            let device = sealed_column.device;
            let sidecar = Sidecar {
                object,
                layout,
                placed: told.generation.0,
                revision: told.generation.0,
                tier: tier.clone(),
                copy: told.copy,
                column: column as u8,
                devices: devices.clone(),
                paths: told.paths.to_vec(),
                groups: tree.groups().into(),
                crcs: sealed_column.crcs,
            };
            let staged = StagedFile::name(&device, &object, "meta");
            sidecar
                .write_new(staged.path())
                .map_err(StoreError::io("write", staged.path()))?;
            self.done(Step::SidecarWritten);
            make_folders(&device, &object, folders)?;
            staged.rename(&device.sidecar_path(&object))?;
            self.done(Step::SidecarRenamed);
            sealed_column.file.rename(&device.column_path(&object))?;
            journals.extend(sealed_column.journal);
            self.done(Step::ColumnRenamed);
        }
        Ok(Arrived {
            journals,
            _claim: claim,
        })
    }

    fn commit(
        &mut self,
        generation: Generation,
        arrived: &[ObjectRecord],
        resumed: &BTreeMap<ObjectId, ObjectRecord>,
        paths: &BTreeMap<Box<str>, (ObjectId, PathEntry)>,
    ) -> Result<(), StoreError> {
        let mut edit = self.catalog.edit()?;
        if edit.generation()?.0 + 1 != generation.0 {
            // By `take_down`. What arrived is taken back by the caller.
            return Err(StoreError::Overtaken);
        }
        for record in arrived {
            // What an incomplete copy left on other devices goes; what the arrival lies beside stays.
            let before = edit.object(&record.object)?;
            if let Some(before) = before.filter(|before| !record.copies.starts_with(&before.copies))
            {
                edit.put_doomed(&DoomedRecord {
                    since: generation,
                    record: before,
                })?;
            }
            edit.put_object(record)?;
            edit.delete_doomed(&record.object, generation.0)?;
        }
        let mut touched = BTreeSet::new();
        for (object, record) in resumed {
            // A doomed placement that is whole takes the place of one that is not.
            if let Some(before) = edit.object(object)?.filter(|before| before != record) {
                edit.put_doomed(&DoomedRecord {
                    since: generation,
                    record: before,
                })?;
            }
            edit.put_object(record)?;
            for copy in &record.copies {
                edit.delete_doomed(object, copy.placed)?;
            }
            touched.insert(*object);
        }
        for (object, entry) in paths.values() {
            touched.extend(
                edit.put_path(object, entry)?
                    .filter(|before| before != object),
            );
        }
        for object in arrived
            .iter()
            .map(|record| &record.object)
            .chain(resumed.keys())
        {
            if edit.paths_of(object)?.len() > MAX_PATHS_PER_OBJECT {
                return Err(StoreError::TooManyPaths(*object));
            }
        }
        touch(&mut edit, touched, generation)?;
        edit.set_generation(generation)?;
        edit.commit()?;
        self.done(Step::Committed);
        Ok(())
    }
}

/// Whether a copy can lie beside others: one device holds one column of an object.
fn has_room_beside(sealed: &Sealed, copies: &[CopyRecord]) -> bool {
    let mut taken = copies.iter().flat_map(|copy| &copy.devices);
    copies.len() < MAX_COPIES && !taken.any(|device| sealed.target.devices.contains(device))
}

/// Takes paths away if they lead to these objects, for who has the writer lock: touches no device, so it waits for none, even while a
/// [`Store`] of the same lock is being opened or hangs, and is as quick as there are pairs. Gives how many led there, and the commit.
/// Sidecars that list the paths are rewritten by the next commit of the store. What the store is publishing meanwhile is refused with
/// [`StoreError::Overtaken`].
///
/// # Errors
/// Of the catalog.
pub fn take_down<'a>(
    _lock: &WriterLock,
    state_dir: &Path,
    pairs: impl Iterator<Item = (&'a str, ObjectId)>,
) -> Result<Option<(u64, Generation)>, StoreError> {
    let catalog = match Catalog::open(&catalog::folder(state_dir)) {
        Err(CatalogProblem::Missing { .. }) => return Ok(None),
        opened => opened?,
    };
    let mut edit = catalog.edit()?;
    let (mut touched, mut count) = (BTreeSet::new(), 0);
    for (path, object) in pairs {
        if edit.leads_to(path)? == Some(object) {
            edit.delete_path(path)?;
            touched.insert(object);
            count += 1;
        }
    }
    match count {
        0 => Ok(None),
        _ => Ok(Some((count, commit_removal(edit, touched)?))),
    }
}

/// After paths of `touched` were deleted.
fn commit_removal(
    mut edit: Edit<'_>,
    touched: BTreeSet<ObjectId>,
) -> Result<Generation, StoreError> {
    let generation = Generation(edit.generation()?.0 + 1);
    touch(&mut edit, touched, generation)?;
    edit.set_generation(generation)?;
    edit.commit()?;
    Ok(generation)
}

fn record_of(sealed: &Sealed, generation: Generation) -> ObjectRecord {
    let Target {
        layout,
        tier,
        devices,
        ..
    } = &*sealed.target;
    let copy = CopyRecord::new(generation.0, *layout, tier.clone(), devices.clone());
    ObjectRecord::of_copies(sealed.object(), vec![copy])
}

/// Objects whose paths changed: their sidecars are pending, and without any path they are doomed.
fn touch(
    edit: &mut Edit<'_>,
    objects: BTreeSet<ObjectId>,
    generation: Generation,
) -> Result<(), StoreError> {
    for object in objects {
        edit.set_pending(&object)?;
        if !edit.paths_of(&object)?.is_empty() {
            continue;
        }
        if let Some(record) = edit.object(&object)? {
            edit.put_doomed(&DoomedRecord {
                since: generation,
                record,
            })?;
            edit.delete_object(&object)?;
        }
    }
    Ok(())
}

/// Makes `objects/ab/cd` and notes which folders have new names in them.
pub(crate) fn make_folders(
    device: &Device,
    object: &ObjectId,
    folders: &mut BTreeSet<PathBuf>,
) -> Result<(), StoreError> {
    let folder = device.folder(object);
    if !folder.exists() {
        fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        folders.extend(folder.ancestors().skip(1).take(2).map(Path::to_path_buf));
    }
    folders.insert(folder);
    Ok(())
}
