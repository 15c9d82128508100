//! Opening the store after a crash: what is whole is kept, what can be resumed is put back into `staging/`, the rest is removed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::catalog::DoomedRecord;
use crate::device::{Device, DeviceProblem};
use crate::error::StoreError;
use crate::ids::{DeviceId, Generation, ObjectId};
use crate::limits::MAX_RESUMABLE;
use crate::reap;
use crate::staging::{Claim, Kind, files};
use crate::store::Store;

/// What stays in `staging/`, on which devices.
type Kept = BTreeSet<(ObjectId, Kind, DeviceId)>;

impl Store {
    pub(crate) fn make_staging(&mut self) {
        self.on_writable(|_, device| {
            let staging = device.staging();
            fs::create_dir_all(&staging).map_err(StoreError::io("create", staging))
        });
    }

    /// Does it on each device; one on which it fails is as good as away, and keeps nobody from the others.
    fn on_writable(&mut self, work: impl Fn(&Self, &Device) -> Result<(), StoreError>) {
        for index in 0..self.slots.len() {
            let Ok(device) = &self.slots[index].device else {
                continue;
            };
            let device = device.clone();
            if device.check_writable().is_err() {
                continue;
            }
            if let Err(error) = work(self, &device) {
                let path = device.root().to_path_buf();
                tracing::error!(device = %path.display(), %error, "the store goes on without it");
                let source = io::Error::other(error);
                self.slots[index].device = Err(DeviceProblem::Unreadable { path, source });
            }
        }
    }

    /// Takes back what publications brought to its place and did not commit. Columns that have a journal go back into `staging/`,
    /// where the next staging finds them; all other files are unlinked. What lies on a device that fails waits.
    pub(crate) fn undo_intentions(&mut self) -> Result<(), StoreError> {
        let edit = self.catalog.edit()?;
        let mut intentions = Vec::new();
        for doomed in edit.doomed()? {
            if !doomed.was_published() {
                let spared = reap::spared(&edit, &doomed)?;
                intentions.push((doomed, spared));
            }
        }
        drop(edit);
        for (intention, spared) in &intentions {
            self.take_back(intention, spared);
        }
        match self.unlink_doomed(Generation(0)) {
            Err(StoreError::Catalog(problem)) => return Err(problem.into()),
            Err(error) => tracing::error!(%error, "what was not published is not all gone"),
            Ok(_) => {}
        }
        self.leave_generations()
    }

    /// An intention that cannot be undone yet, as its device is away, keeps its generation to itself: the record of the next one of the same
    /// object would take its place.
    fn leave_generations(&mut self) -> Result<(), StoreError> {
        let mut edit = self.catalog.edit()?;
        let left = edit.doomed()?.into_iter();
        let intended = left.filter(|doomed| !doomed.was_published());
        let placed = intended.flat_map(|doomed| doomed.record.copies);
        let newest = placed.map(|copy| copy.placed).max().unwrap_or(0);
        if newest > edit.generation()?.0 {
            edit.set_generation(Generation(newest))?;
            edit.commit()?;
        }
        Ok(())
    }

    fn take_back(&self, intention: &DoomedRecord, spared: &BTreeSet<DeviceId>) {
        let object = &intention.record.object;
        for copy in &intention.record.copies {
            for (column, id) in copy.devices.iter().enumerate() {
                let Some(device) = self.device(id).filter(|_| !spared.contains(id)) else {
                    continue;
                };
                let length = copy.layout.column_length(column);
                for kind in Kind::ALL {
                    if let Err(error) = take_back_column(device, object, kind, length) {
                        tracing::warn!(%object, %error, "a column cannot be resumed");
                    }
                }
            }
        }
    }

    /// Removes from `staging/` what cannot be resumed: columns without a journal and journals without a column, those that cannot be
    /// read or whose other columns are not here, those of objects that are stored meanwhile, repairs that are not needed any more, and the
    /// oldest beyond [`MAX_RESUMABLE`]. What somebody writes stays.
    pub(crate) fn clear_staging(&mut self) -> Result<(), StoreError> {
        let kept = self.worth_keeping()?;
        self.on_writable(|store, device| store.clear_staging_of(device, &kept));
        Ok(())
    }

    fn clear_staging_of(&self, device: &Device, kept: &Kept) -> Result<(), StoreError> {
        let staging = device.staging();
        for file in fs::read_dir(&staging).map_err(StoreError::io("read", &staging))? {
            let path = file.map_err(StoreError::io("read", &staging))?.path();
            let is_kept = |object| {
                Kind::ALL.into_iter().any(|kind| {
                    let claim = Claim::take(&self.config.state_dir, &object, kind);
                    let is_part = path == kind.column_path(device, &object)
                        || path == kind.journal_path(device, &object);
                    claim.is_none() || is_part && kept.contains(&(object, kind, device.id()))
                })
            };
            if !files::object_of(&path).is_some_and(is_kept) {
                tracing::info!(file = %path.display(), "removing what an interrupted writer left");
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// The newest objects and repairs that can be resumed, with their devices.
    fn worth_keeping(&self) -> Result<Kept, StoreError> {
        let mut found = self.begun_repairs()?;
        for (object, partial) in self.partials() {
            let head = partial.head();
            let stored = self.stored(&object)?;
            let mut copies = stored.iter().flat_map(|record| &record.copies);
            if !copies.any(|copy| copy.tier == head.tier) {
                found.push((
                    partial.modified(),
                    (object, Kind::Object),
                    head.devices.clone(),
                ));
            }
        }
        found.sort_unstable();
        let newest = found.into_iter().rev().take(MAX_RESUMABLE);
        Ok(newest
            .flat_map(|(_, (object, kind), devices)| {
                devices.into_iter().map(move |id| (object, kind, id))
            })
            .collect())
    }
}

/// Puts a column that came to its place back into `staging/`, if it can be resumed there.
fn take_back_column(
    device: &Device,
    object: &ObjectId,
    kind: Kind,
    length: u64,
) -> Result<(), StoreError> {
    let journal = kind.journal_path(device, object);
    let (staged, place) = (kind.column_path(device, object), device.column_path(object));
    let exists = |path: &Path| path.try_exists().map_err(StoreError::io("look for", path));
    // Without a staged column, the one at the place is the one that was staged: a rename is all that takes it.
    if !exists(&journal)? || exists(&staged)? {
        return Ok(());
    }
    if fs::metadata(&place).is_ok_and(|file| file.len() == length) {
        fs::rename(&place, &staged).map_err(StoreError::io("take back into staging", &place))?;
    }
    Ok(())
}
