//! What each device has room for by its file system, and what it holds by the catalog.

use std::collections::HashMap;

use platform::file::Space;
use serde::Serialize;

use crate::catalog::{ObjectRecord, Snapshot};
use crate::chunk_tree::group_count;
use crate::ids::{DeviceId, ObjectId};
use crate::limits::{
    DEVICE_RESERVE_BYTES, DEVICE_RESERVE_INODES, FILE_BLOCK_BYTES, INODES_PER_COLUMN,
    SIDECAR_WORDS_BYTES,
};
use crate::sidecar::{self, crc_count};

/// A device's room for objects: what is free without the reserve; none where no file can be made.
pub fn room_bytes(space: &Space) -> u64 {
    match room_columns(space) {
        0 => 0,
        _ => free_bytes(space),
    }
}

/// The same, whether there are files for it or not.
pub fn free_bytes(space: &Space) -> u64 {
    space.available_bytes.saturating_sub(DEVICE_RESERVE_BYTES)
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

/// What the catalog has on one device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Account {
    /// Published objects that have a column there: what fails with it.
    pub objects: u64,
    /// Bytes of those columns.
    pub object_bytes: u64,
    /// Bytes of columns that wait to be unlinked.
    pub doomed_bytes: u64,
    /// Bytes that all of these take from the file system, with their sidecars, in whole blocks. Folders and what is being written come
    /// beside; what the file system uses beyond is not the store's.
    pub used_bytes: u64,
}

/// Accounts for all devices of a catalog. Pure.
pub fn account(snapshot: &Snapshot) -> HashMap<DeviceId, Account> {
    let mut accounts = HashMap::new();
    let mut paths: HashMap<ObjectId, u64> = HashMap::new();
    for (object, entry) in &snapshot.paths {
        *paths.entry(*object).or_default() += entry.encoded_bytes();
    }
    for record in &snapshot.objects {
        let of_paths = paths.get(&record.object).copied().unwrap_or(0);
        add(&mut accounts, record, of_paths, |account, bytes| {
            account.objects += 1;
            account.object_bytes += bytes;
        });
    }
    for doomed in &snapshot.doomed {
        add(&mut accounts, &doomed.record, 0, |account, bytes| {
            account.doomed_bytes += bytes;
        });
    }
    accounts
}

fn add(
    accounts: &mut HashMap<DeviceId, Account>,
    record: &ObjectRecord,
    path_bytes: u64,
    mut count: impl FnMut(&mut Account, u64),
) {
    for copy in &record.copies {
        for (column, id) in copy.devices.iter().enumerate() {
            let account = accounts.entry(*id).or_default();
            let sidecar = sidecar::encoded_bytes(&copy.layout, column, &copy.tier, path_bytes);
            let length = copy.layout.column_length(column);
            account.used_bytes += blocks(length) + blocks(sidecar);
            count(account, length);
        }
    }
}
