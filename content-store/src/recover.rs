//! Opening the store after a crash: what is whole is kept, what can be resumed is put back into `staging/`, the rest is removed.

use std::collections::BTreeMap;
use std::fs;

use crate::catalog::DoomedRecord;
use crate::device::Device;
use crate::error::StoreError;
use crate::ids::{DeviceId, Generation, ObjectId};
use crate::limits::MAX_RESUMABLE;
use crate::staging::{Claim, files};
use crate::store::Store;

impl Store {
    pub(crate) fn make_staging(&self) -> Result<(), StoreError> {
        for device in self.writable() {
            let staging = device.staging();
            fs::create_dir_all(&staging).map_err(StoreError::io("create", staging))?;
        }
        Ok(())
    }

    fn writable(&self) -> impl Iterator<Item = &Device> {
        let devices = self
            .slots
            .iter()
            .filter_map(|slot| slot.device.as_ref().ok());
        devices.filter(|device| device.check_writable().is_ok())
    }

    /// Takes back what publications brought to its place and did not commit. Columns that have a journal go back into `staging/`,
    /// where the next staging finds them; all other files are unlinked.
    pub(crate) fn undo_intentions(&mut self) -> Result<(), StoreError> {
        let intentions = self.catalog.edit()?.doomed()?;
        let intentions = intentions.iter().filter(|doomed| !doomed.was_published());
        for intention in intentions {
            self.take_back(intention)?;
        }
        self.unlink_doomed(Generation(0)).map(drop)
    }

    fn take_back(&self, intention: &DoomedRecord) -> Result<(), StoreError> {
        let object = &intention.record.object;
        for copy in &intention.record.copies {
            for (column, id) in copy.devices.iter().enumerate() {
                let Some(device) = self.device(id) else {
                    continue;
                };
                let (staged, place) = (
                    files::column_path(device, object),
                    device.column_path(object),
                );
                let length = fs::metadata(&place).map(|file| file.len());
                // Without a staged column, the one at the place is the one that was staged: a rename is all that takes it.
                let was_renamed = files::journal_path(device, object).exists()
                    && !staged.exists()
                    && length.is_ok_and(|length| length == copy.layout.column_length(column));
                if was_renamed {
                    fs::rename(&place, &staged)
                        .map_err(StoreError::io("take back into staging", &place))?;
                }
            }
        }
        Ok(())
    }

    /// Removes from `staging/` what cannot be resumed: columns without a journal and journals without a column, those that cannot be
    /// read or whose other columns are not here, those of objects that are stored meanwhile, and the oldest beyond
    /// [`MAX_RESUMABLE`]. What somebody writes stays.
    pub(crate) fn clear_staging(&self) -> Result<(), StoreError> {
        let kept = self.worth_keeping()?;
        for device in self.writable() {
            let staging = device.staging();
            for file in fs::read_dir(&staging).map_err(StoreError::io("read", &staging))? {
                let path = file.map_err(StoreError::io("read", &staging))?.path();
                let object = files::object_of(&path);
                let is_kept = |object| {
                    let devices: Option<&Box<[DeviceId]>> = kept.get(&object);
                    let is_in_hand = Claim::take(&self.config.state_dir, &object).is_none();
                    let is_part = path == files::column_path(device, &object)
                        || path == files::journal_path(device, &object);
                    is_in_hand || is_part && devices.is_some_and(|ids| ids.contains(&device.id()))
                };
                if !object.is_some_and(is_kept) {
                    tracing::info!(file = %path.display(), "removing what an interrupted writer left");
                    fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
                }
            }
        }
        Ok(())
    }

    /// The newest objects that can be resumed, with their devices.
    fn worth_keeping(&self) -> Result<BTreeMap<ObjectId, Box<[DeviceId]>>, StoreError> {
        let mut found = Vec::new();
        for (object, partial) in self.partials() {
            let head = partial.head();
            let stored = self.stored(&object)?;
            let mut copies = stored.iter().flat_map(|record| &record.copies);
            if !copies.any(|copy| copy.tier == head.tier) {
                found.push((partial.modified(), object, head.devices.clone()));
            }
        }
        found.sort_unstable();
        let newest = found.into_iter().rev().take(MAX_RESUMABLE);
        Ok(newest
            .map(|(_, object, devices)| (object, devices))
            .collect())
    }
}
