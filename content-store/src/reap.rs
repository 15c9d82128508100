//! Unlinking what is doomed, once nobody uses it any more.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use platform::file;

use crate::catalog::{CatalogProblem, DoomedRecord, Edit};
use crate::device::Device;
use crate::error::StoreError;
use crate::ids::{DeviceId, Generation};
use crate::store::{Step, Store};

/// What a reap did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reaped {
    /// Objects (or former placements of them) that are gone.
    pub objects: u64,
    /// Bytes that were freed, as soon as no process has the files open.
    pub bytes: u64,
    /// Objects that wait for a newer generation to be in use everywhere.
    pub waiting: u64,
    /// Objects that wait for a device to come back, or to take writes.
    pub away: u64,
}

impl Store {
    /// Unlinks the files of doomed objects that no reader can reach any more: `oldest_in_use` is the oldest generation
    /// that any reader of this appliance uses. On a device that is not here, or takes no writes, files wait until it does.
    pub fn reap(&mut self, oldest_in_use: Generation) -> Result<Reaped, StoreError> {
        self.unlink_doomed(oldest_in_use)
    }

    /// With generation 0: only what no generation ever led to.
    pub(crate) fn unlink_doomed(
        &mut self,
        oldest_in_use: Generation,
    ) -> Result<Reaped, StoreError> {
        let edit = self.catalog.edit()?;
        let mut work = Vec::new();
        let mut reaped = Reaped::default();
        for doomed in edit.doomed()? {
            if doomed.since > oldest_in_use {
                reaped.waiting += 1;
                continue;
            }
            let spared = spared(&edit, &doomed)?;
            work.push((doomed, spared));
        }
        drop(edit);
        let (mut gone, mut failed) = (Vec::new(), None);
        for (doomed, spared) in work {
            match self.unlink_all(&doomed, &spared) {
                Ok(Some(bytes)) => {
                    reaped.bytes += bytes;
                    gone.push(doomed);
                }
                Ok(None) => reaped.away += 1,
                // A device that fails keeps nothing on the others.
                Err(error) => failed = Some(error),
            }
        }
        reaped.objects = gone.len() as u64;
        self.forget(&gone)?;
        failed.map_or(Ok(reaped), Err)
    }

    /// Bytes of the files that are gone for good; `None` if one of their devices is not here, or takes no writes.
    fn unlink_all(
        &self,
        doomed: &DoomedRecord,
        spared: &BTreeSet<DeviceId>,
    ) -> Result<Option<u64>, StoreError> {
        let copies = doomed.record.copies.iter();
        let devices = copies.flat_map(|copy| &copy.devices);
        let devices = devices.filter(|id| !spared.contains(id) && !self.intents.is_removed(id));
        let devices: Option<Vec<&Device>> = devices.map(|id| self.device(id)).collect();
        let Some(devices) = devices else {
            return Ok(None);
        };
        let mut bytes = 0;
        for device in devices {
            let found = match self.unlink(device, doomed) {
                Err(StoreError::Io { source, .. })
                    if source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
                {
                    return Ok(None);
                }
                unlinked => unlinked?,
            };
            // What is not found may be on a device that has just gone.
            if found.is_none() && device.probe().is_err() {
                return Ok(None);
            }
            bytes += found.unwrap_or(0);
            let folder = device.folder(&doomed.record.object);
            // The names must be gone for good before the catalog forgets them. Folders that an interrupted publication made are found by
            // the next one, which does not sync those above them again.
            let above = if doomed.was_published() { 0 } else { 2 };
            for folder in folder.ancestors().take(1 + above) {
                sync_if_there(folder)?;
            }
        }
        Ok(Some(bytes))
    }

    /// Bytes of column and sidecar, which are gone; `None` if one of them was not there.
    fn unlink(&self, device: &Device, doomed: &DoomedRecord) -> Result<Option<u64>, StoreError> {
        let object = &doomed.record.object;
        let column = unlink(&device.column_path(object))?;
        self.done(Step::Unlinked);
        let sidecar = unlink(&device.sidecar_path(object))?;
        Ok(column
            .zip(sidecar)
            .map(|(column, sidecar)| column + sidecar))
    }

    fn forget(&mut self, gone: &[DoomedRecord]) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        let mut edit = self.catalog.edit()?;
        for doomed in gone {
            for copy in &doomed.record.copies {
                edit.delete_doomed(&doomed.record.object, copy.placed)?;
            }
            if edit.object(&doomed.record.object)?.is_none() {
                edit.clear_pending(&doomed.record.object)?;
            }
        }
        Ok(edit.commit()?)
    }
}

/// Devices whose files of the object are not this record's to unlink: those of what is published, and of what is doomed and goes later.
pub(crate) fn spared(
    edit: &Edit<'_>,
    doomed: &DoomedRecord,
) -> Result<BTreeSet<DeviceId>, CatalogProblem> {
    let object = &doomed.record.object;
    let others = edit.doomed_of(object)?.into_iter();
    let later = others.filter(|other| other.since > doomed.since);
    let records = edit.object(object)?.into_iter();
    let records = records.chain(later.map(|other| other.record));
    Ok(records
        .flat_map(|record| record.copies)
        .flat_map(|copy| copy.devices)
        .collect())
}

fn sync_if_there(folder: &Path) -> Result<(), StoreError> {
    match file::sync_directory(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("sync", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Bytes of the file that was unlinked; `None` if there was none.
fn unlink(path: &Path) -> Result<Option<u64>, StoreError> {
    let length = fs::metadata(path).map_or(0, |file| file.len());
    match fs::remove_file(path) {
        Ok(()) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("remove", path)(error)),
    }
}
