//! Evacuating devices: what they alone hold is copied, column by column, to other devices of its tier; nothing is fetched.
//!
//! ```text
//! stranded(catalog, who stays) -> Store::vacate -> Repairing --groups of the device itself, verified--> Repaired -> Store::finish_repairs
//! ```
//! The files on the device are doomed by the commit and unlinked when nobody reads them any more. A column whose tier has no other
//! device without one of the object cannot be moved: it stays, and is said. A device that is above its high watermark is relieved of single
//! columns in the same way.

use std::collections::HashSet;

use crate::catalog::{ObjectRecord, Snapshot};
use crate::error::StoreError;
use crate::ids::{DeviceId, ObjectId};
use crate::repair::{Fate, Repairing};
use crate::store::Store;

/// A copy with columns on devices that are being evacuated, of an object that has no whole copy without them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stranded {
    /// Its object.
    pub object: ObjectId,
    /// Generation in which the copy was placed.
    pub placed: u64,
    /// One of those devices.
    pub from: DeviceId,
    /// Bytes of those columns.
    pub bytes: u64,
}

/// All of them. `staying` are the devices that are here and not evacuated, `leaving` those that are here and evacuated. Pure.
pub fn stranded(
    snapshot: &Snapshot,
    staying: &HashSet<DeviceId>,
    leaving: &HashSet<DeviceId>,
) -> Vec<Stranded> {
    let records = snapshot.objects.iter();
    records
        .filter_map(|record| of_record(record, staying, leaving))
        .collect()
}

fn of_record(
    record: &ObjectRecord,
    staying: &HashSet<DeviceId>,
    leaving: &HashSet<DeviceId>,
) -> Option<Stranded> {
    let mut copies = record.copies.iter();
    if copies.any(|copy| copy.is_whole(|id| staying.contains(id))) {
        return None;
    }
    let is_here = |id: &DeviceId| staying.contains(id) || leaving.contains(id);
    let bytes = |copy: &&crate::catalog::CopyRecord| -> u64 {
        let columns = copy.devices.iter().enumerate();
        let leaving = columns.filter(|(_, id)| leaving.contains(id));
        leaving
            .map(|(column, _)| copy.layout.column_length(column))
            .sum()
    };
    let whole = record.copies.iter().filter(|copy| copy.is_whole(is_here));
    let copy = whole.min_by_key(bytes)?;
    let from = copy.devices.iter().find(|id| leaving.contains(id))?;
    Some(Stranded {
        object: record.object,
        placed: copy.placed,
        from: *from,
        bytes: bytes(&copy),
    })
}

impl Store {
    /// Begins to move the columns of a copy from devices that are being evacuated to others of its tier. `None` if there are none, or the
    /// object is not published any more.
    ///
    /// # Errors
    /// No room; what a device says.
    pub fn vacate(&self, object: &ObjectId, placed: u64) -> Result<Option<Repairing>, StoreError> {
        self.rewrite(object, placed, None, |copy, column| {
            let id = Some(copy.devices[column]);
            let mut leaving = self.slots.iter().filter(|slot| slot.is_evacuating);
            match leaving.any(|slot| slot.id() == id) {
                true => Fate::Anew,
                false => Fate::Stays,
            }
        })
    }

    /// Begins to move the column of an object that lies on this device, which stays in use, to a device of its tier that is below its high
    /// watermark. `None` if there is none, or the object is not published any more.
    ///
    /// # Errors
    /// No room; what a device says.
    pub fn relieve(
        &self,
        object: &ObjectId,
        device: &DeviceId,
    ) -> Result<Option<Repairing>, StoreError> {
        let record = self.catalog.edit()?.object(object)?;
        let mut copies = record.iter().flat_map(|record| &record.copies);
        let Some(copy) = copies.find(|copy| copy.devices.contains(device)) else {
            return Ok(None);
        };
        self.rewrite(object, copy.placed, None, |copy, column| {
            match copy.devices[column] == *device {
                true => Fate::Leaves,
                false => Fate::Stays,
            }
        })
    }

    /// What has to be moved now.
    ///
    /// # Errors
    /// Of the catalog.
    pub fn stranded(&self) -> Result<Vec<Stranded>, StoreError> {
        let of = |leaving: bool| -> HashSet<DeviceId> {
            let slots = self.slots.iter();
            slots
                .filter(|slot| slot.is_evacuating == leaving)
                .filter_map(crate::DeviceSlot::id)
                .collect()
        };
        let snapshot = Snapshot::read_or_empty(&self.config.state_dir)?;
        Ok(stranded(&snapshot, &of(false), &of(true)))
    }
}

impl Repairing {
    /// Copies all that is missing from what is good on this box; says whether that was all. Blocks on the devices.
    ///
    /// # Errors
    /// What a device says that is written to.
    pub fn copy_here(&mut self) -> Result<bool, StoreError> {
        while self.rest() > 0 {
            let holders = self.holders();
            let Some(group) = holders.into_iter().find_map(|id| self.read_here(id)) else {
                return Ok(false);
            };
            self.write_group(&group)?;
        }
        Ok(true)
    }
}
