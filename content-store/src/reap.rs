//! Unlinking what is doomed, once nobody uses it any more.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use platform::file;

use crate::catalog::DoomedRecord;
use crate::device::Device;
use crate::error::StoreError;
use crate::ids::Generation;
use crate::store::{Step, Store};

/// What a reap did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reaped {
    /// Objects (or former placements of them) that are gone.
    pub objects: u64,
    /// Bytes that were freed, as soon as no process has the files open.
    pub bytes: u64,
    /// Objects that wait for a newer generation to be in use everywhere, or for a device to come back.
    pub waiting: u64,
}

impl Store {
    /// Unlinks the files of doomed objects that no reader can reach any more: `oldest_in_use` is the oldest generation
    /// that any reader of this appliance uses. On a device that is not here, files wait until it is back.
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
            // Another placement of the same object may live on some of the same devices.
            let live = edit.object(&doomed.record.object)?;
            let live = live
                .iter()
                .flat_map(|record| &record.copies)
                .flat_map(|copy| &copy.devices)
                .copied();
            work.push((doomed, live.collect::<BTreeSet<_>>()));
        }
        drop(edit);
        let mut gone = Vec::new();
        let mut folders = BTreeSet::new();
        for (doomed, live) in work {
            let devices = doomed
                .record
                .copies
                .iter()
                .flat_map(|copy| &copy.devices)
                .filter(|id| !live.contains(id));
            let devices: Option<Vec<&Device>> = devices.map(|id| self.device(id)).collect();
            let Some(devices) = devices else {
                reaped.waiting += 1;
                continue;
            };
            for device in devices {
                reaped.bytes += self.unlink(device, &doomed)?;
                folders.insert(device.folder(&doomed.record.object));
            }
            gone.push(doomed);
        }
        reaped.objects = gone.len() as u64;
        // The names must be gone for good before the catalog forgets them.
        folders
            .iter()
            .filter(|folder| folder.exists())
            .try_for_each(|folder| {
                file::sync_directory(folder).map_err(StoreError::io("sync", folder))
            })?;
        self.forget(&gone)?;
        Ok(reaped)
    }

    fn unlink(&self, device: &Device, doomed: &DoomedRecord) -> Result<u64, StoreError> {
        let object = &doomed.record.object;
        let freed = unlink(&device.column_path(object))?;
        self.done(Step::Unlinked);
        Ok(freed + unlink(&device.sidecar_path(object))?)
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

/// Bytes of the file that was unlinked; 0 if there was none.
fn unlink(path: &Path) -> Result<u64, StoreError> {
    let length = fs::metadata(path).map_or(0, |file| file.len());
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(length),
    }
}
