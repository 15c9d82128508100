//! Repairs that were interrupted: their columns lie in `staging/` with a journal, and are gone on with.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::Begun;
use crate::catalog::CopyRecord;
use crate::error::StoreError;
use crate::ids::{DeviceId, ObjectId};
use crate::staging::journal::{Journal, JournalHead};
use crate::staging::{Claim, Column, Kind, Target, files, resume};
use crate::store::Store;

/// What stays in `staging/`: since when, of what, on which device.
type Kept = (SystemTime, (ObjectId, Kind), Box<[DeviceId]>);

impl Store {
    /// The columns of a copy whose repair was begun, of those that are `wrong`; what was begun of others goes. For who has the claim. Blocks
    /// on the devices.
    pub(super) fn begun(
        &self,
        object: &ObjectId,
        copy: &CopyRecord,
        wrong: &[usize],
    ) -> Result<Vec<Begun>, StoreError> {
        let mut begun = Vec::new();
        for device in self.devices_here() {
            let Some(journal) = resume::read(device, object, Kind::Repair) else {
                continue;
            };
            let index = usize::from(journal.head.column);
            if !is_of(&journal.head, copy) || !wrong.contains(&index) {
                files::remove(device, object, Kind::Repair)?;
                continue;
            }
            begun.push(Begun {
                index,
                device: device.clone(),
                journal,
            });
        }
        Ok(begun)
    }

    /// Opens the columns that are to be written: those that were begun where they are to be go on, others are begun anew.
    pub(super) fn columns(
        &self,
        target: &Target,
        wrong: &[usize],
        begun: Vec<Begun>,
    ) -> Result<Vec<(usize, Column)>, StoreError> {
        let mut columns = BTreeMap::new();
        for begun in begun {
            match target.devices[begun.index] == begun.device.id() {
                true => drop(columns.insert(begun.index, self.go_on(target, begun)?)),
                false => files::remove(&begun.device, &target.tree.object(), Kind::Repair)?,
            }
        }
        for index in wrong {
            if !columns.contains_key(index) {
                columns.insert(*index, self.create(target, *index)?);
            }
        }
        Ok(columns.into_iter().collect())
    }

    fn go_on(&self, target: &Target, begun: Begun) -> Result<Column, StoreError> {
        let Begun {
            index,
            device,
            mut journal,
        } = begun;
        let object = target.tree.object();
        let verified = resume::verify(
            &target.tree,
            &device,
            Kind::Repair,
            &mut journal,
            target.boot,
        );
        let resumed = verified.and_then(|()| match journal.written {
            0 => Ok(None),
            _ => Column::resume(target, device.clone(), journal).map(Some),
        });
        match resumed {
            Ok(Some(column)) => {
                tracing::debug!(%object, groups = column.groups(), "a repair is resumed");
                return Ok(column);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%object, %error, "a repair cannot be resumed: begun anew"),
        }
        self.create(target, index)
    }

    fn create(&self, target: &Target, index: usize) -> Result<Column, StoreError> {
        let id = &target.devices[index];
        let device = self
            .device(id)
            .expect("a column is placed on a device that is here");
        if target.claim.is_some() {
            files::remove(device, &target.tree.object(), Kind::Repair)?;
        }
        Column::create(target, index, device.clone())
    }

    /// What was begun to be repaired and is wrong still. What somebody has in hand is not among it. Blocks on the devices.
    pub(crate) fn begun_repairs(&self) -> Result<Vec<Kept>, StoreError> {
        let mut found = Vec::new();
        for device in self.devices_here() {
            for object in files::journals(device, Kind::Repair) {
                let Some(_claim) = Claim::take(&self.config.state_dir, &object, Kind::Repair)
                else {
                    continue;
                };
                let Some(Journal { head, .. }) = resume::read(device, &object, Kind::Repair) else {
                    continue;
                };
                let record = self.catalog.edit()?.object(&object)?;
                let mut copies = record.iter().flat_map(|record| &record.copies);
                if copies.any(|copy| is_of(&head, copy) && self.is_wrong(copy, &head)) {
                    let since = resume::modified(device, &object, Kind::Repair);
                    found.push((since, (object, Kind::Repair), [device.id()].into()));
                }
            }
        }
        Ok(found)
    }

    /// Whether the column of that journal is bad, or not where it is to stay.
    fn is_wrong(&self, copy: &CopyRecord, head: &JournalHead) -> bool {
        let column = usize::from(head.column);
        let id = copy.devices[column];
        let mut slots = self.slots.iter();
        let stays = slots.any(|slot| slot.id() == Some(id) && !slot.is_evacuating);
        copy.bad.contains(column) || !stays
    }
}

/// What a column holds is decided by its object, by how that is cut, and by its place.
fn is_of(head: &JournalHead, copy: &CopyRecord) -> bool {
    head.layout == copy.layout && head.tier == copy.tier
}
