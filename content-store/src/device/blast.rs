//! What fails with a device. Pure.

use std::collections::HashSet;

use serde::Serialize;

use crate::catalog::{CopyRecord, ObjectRecord, Snapshot};
use crate::ids::DeviceId;

/// What fails with a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Blast {
    /// Published objects that have a column on it.
    pub objects: u64,
    /// Bytes of those columns.
    pub bytes: u64,
    /// Of those objects, the ones without a whole copy elsewhere: without the device they cannot be served whole.
    pub objects_alone: u64,
    /// Bytes of their columns on the device: what has to be fetched, or copied, when it is gone.
    pub bytes_alone: u64,
}

impl Blast {
    /// Of `device`, while the devices in `here` are well.
    pub fn of(snapshot: &Snapshot, device: DeviceId, here: &HashSet<DeviceId>) -> Self {
        let mut blast = Self::default();
        for record in &snapshot.objects {
            blast.add(record, device, here);
        }
        blast
    }

    fn add(&mut self, record: &ObjectRecord, device: DeviceId, here: &HashSet<DeviceId>) {
        let bytes: u64 = record
            .copies
            .iter()
            .map(|copy| bytes_on(copy, device))
            .sum();
        if !record
            .copies
            .iter()
            .any(|copy| copy.devices.contains(&device))
        {
            return;
        }
        self.objects += 1;
        self.bytes += bytes;
        let is_elsewhere = |id: &DeviceId| *id != device && here.contains(id);
        if !record.copies.iter().any(|copy| copy.is_whole(is_elsewhere)) {
            self.objects_alone += 1;
            self.bytes_alone += bytes;
        }
    }
}

fn bytes_on(copy: &CopyRecord, device: DeviceId) -> u64 {
    let columns = copy.devices.iter().enumerate();
    let here = columns.filter(|(_, id)| **id == device);
    here.map(|(column, _)| copy.layout.column_length(column))
        .sum()
}
