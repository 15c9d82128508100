//! What each device holds and has room for: the file system's numbers beside the catalog's.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::catalog::{ObjectRecord, Snapshot};
use crate::device::Device;
use crate::ids::DeviceId;
use crate::store::{DeviceSlot, room_bytes};

/// One configured device. Bytes are columns only; a sidecar adds about 100 B per MiB.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DeviceSpace {
    /// Configured path.
    pub root: PathBuf,
    /// Index of its tier.
    pub tier: usize,
    /// Its name, if it is here.
    pub id: Option<DeviceId>,
    /// Why it is not here, or cannot be asked.
    pub problem: Option<String>,
    /// Size of its file system.
    pub total_bytes: u64,
    /// Free bytes of its file system.
    pub available_bytes: u64,
    /// Free bytes that objects may use: without the reserve, 0 if it is read-only.
    pub room_bytes: u64,
    /// Published objects that have a column here: what fails with it.
    pub objects: u64,
    /// Bytes of those columns.
    pub object_bytes: u64,
    /// Bytes of columns that wait to be unlinked.
    pub doomed_bytes: u64,
    /// Bytes of what is being written.
    pub staged_bytes: u64,
}

/// Accounts for all configured devices. Blocks on each of them.
pub fn account(slots: &[DeviceSlot], snapshot: &Snapshot) -> Vec<DeviceSpace> {
    let mut devices: Vec<_> = slots.iter().map(of_slot).collect();
    for record in &snapshot.objects {
        add(&mut devices, record, |device, bytes| {
            device.objects += 1;
            device.object_bytes += bytes;
        });
    }
    for doomed in &snapshot.doomed {
        add(&mut devices, &doomed.record, |device, bytes| {
            device.doomed_bytes += bytes
        });
    }
    devices
}

fn add(
    devices: &mut [DeviceSpace],
    record: &ObjectRecord,
    mut count: impl FnMut(&mut DeviceSpace, u64),
) {
    for copy in &record.copies {
        for (column, id) in copy.devices.iter().enumerate() {
            if let Some(device) = devices.iter_mut().find(|device| device.id == Some(*id)) {
                count(device, copy.layout.column_length(column));
            }
        }
    }
}

fn of_slot(slot: &DeviceSlot) -> DeviceSpace {
    let space = slot.device.as_ref().map_err(ToString::to_string);
    let space = space.and_then(|device| device.space().map_err(|problem| problem.to_string()));
    let found = space.as_ref().ok();
    DeviceSpace {
        root: slot.root.clone(),
        tier: slot.tier,
        id: slot.id(),
        total_bytes: found.map_or(0, |space| space.total_bytes),
        available_bytes: found.map_or(0, |space| space.available_bytes),
        room_bytes: found.filter(|space| !space.read_only).map_or(0, room_bytes),
        objects: 0,
        object_bytes: 0,
        doomed_bytes: 0,
        staged_bytes: slot.device.as_ref().map_or(0, staged_bytes),
        problem: space.err(),
    }
}

fn staged_bytes(device: &Device) -> u64 {
    let Ok(files) = fs::read_dir(device.staging()) else {
        return 0;
    };
    files
        .flatten()
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum()
}
