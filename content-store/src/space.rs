//! What each device holds and has room for: the file system's numbers beside the catalog's.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use platform::file::Space;
use serde::Serialize;

use crate::catalog::{ObjectRecord, Snapshot};
use crate::chunk_tree::group_count;
use crate::device::Device;
use crate::ids::{DeviceId, ObjectId};
use crate::limits::{
    DEVICE_RESERVE_BYTES, DEVICE_RESERVE_INODES, FILE_BLOCK_BYTES, INODES_PER_COLUMN,
    SIDECAR_WORDS_BYTES,
};
use crate::sidecar::{self, crc_count};
use crate::store::DeviceSlot;

/// A device's room for objects: what is free without the reserve; none where no file can be made.
pub fn room_bytes(space: &Space) -> u64 {
    match room_columns(space) {
        0 => 0,
        _ => space.available_bytes.saturating_sub(DEVICE_RESERVE_BYTES),
    }
}

/// Columns that a device's file system has files for; `u64::MAX` if it sets no bound.
pub fn room_columns(space: &Space) -> u64 {
    match space.total_inodes {
        0 => u64::MAX,
        _ => space.available_inodes.saturating_sub(DEVICE_RESERVE_INODES) / INODES_PER_COLUMN,
    }
}

/// Bytes that one copy of an object of this size takes from its devices, with its sidecar, in whole blocks of their file systems. Each
/// further column of a stripe adds a block or two, and some 32 B for each MiB.
pub fn footprint(size: u64) -> u64 {
    let values = 32 * group_count(size) + 4 * crc_count(size);
    blocks(size) + blocks(SIDECAR_WORDS_BYTES + values)
}

fn blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(FILE_BLOCK_BYTES)
}

/// One configured device.
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
    /// Bytes that all of this takes from the file system: columns and sidecars in whole blocks, what is being written, and folders. What
    /// the file system uses beyond is not the store's.
    pub used_bytes: u64,
}

/// Accounts for all configured devices. Blocks on each of them.
pub fn account(slots: &[DeviceSlot], snapshot: &Snapshot) -> Vec<DeviceSpace> {
    let mut devices: Vec<_> = slots.iter().map(of_slot).collect();
    let mut paths: HashMap<ObjectId, u64> = HashMap::new();
    for (object, entry) in &snapshot.paths {
        *paths.entry(*object).or_default() += entry.encoded_bytes();
    }
    for record in &snapshot.objects {
        let of_paths = paths.get(&record.object).copied().unwrap_or(0);
        add(&mut devices, record, of_paths, |device, bytes| {
            device.objects += 1;
            device.object_bytes += bytes;
        });
    }
    for doomed in &snapshot.doomed {
        add(&mut devices, &doomed.record, 0, |device, bytes| {
            device.doomed_bytes += bytes
        });
    }
    devices
}

fn add(
    devices: &mut [DeviceSpace],
    record: &ObjectRecord,
    path_bytes: u64,
    mut count: impl FnMut(&mut DeviceSpace, u64),
) {
    for copy in &record.copies {
        for (column, id) in copy.devices.iter().enumerate() {
            if let Some(device) = devices.iter_mut().find(|device| device.id == Some(*id)) {
                let sidecar = sidecar::encoded_bytes(&copy.layout, column, &copy.tier, path_bytes);
                let length = copy.layout.column_length(column);
                device.used_bytes += blocks(length) + blocks(sidecar);
                count(device, length);
            }
        }
    }
}

fn of_slot(slot: &DeviceSlot) -> DeviceSpace {
    let space = slot.device.as_ref().map_err(ToString::to_string);
    let space = space.and_then(|device| device.space().map_err(|problem| problem.to_string()));
    let found = space.as_ref().ok();
    let here = slot.device.as_ref().ok();
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
        staged_bytes: here.map_or(0, |device| files(&device.staging(), |file| file.len())),
        used_bytes: here.map_or(0, own_bytes),
        problem: space.err(),
    }
}

/// What is being written, the folders, and the identity.
fn own_bytes(device: &Device) -> u64 {
    let objects = device.objects();
    let level = files(&objects, taken) + below(&objects, |folder| files(folder, taken));
    let around = files(device.root(), taken) + files(&device.staging(), taken);
    around + level
}

/// Bytes on the disk: `st_blocks` counts 512 bytes each, stat(2).
fn taken(file: &fs::Metadata) -> u64 {
    file.blocks() * 512
}

/// The sum over all that lies in a folder.
fn files(folder: &Path, bytes: impl Fn(&fs::Metadata) -> u64) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .map(|file| bytes(&file))
        .sum()
}

fn below(folder: &Path, bytes: impl Fn(&Path) -> u64) -> u64 {
    let folders = fs::read_dir(folder).into_iter().flatten().flatten();
    folders.map(|folder| bytes(&folder.path())).sum()
}
