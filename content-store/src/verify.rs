//! Reading a stored object back: CRC of every block, BLAKE3 of every group. Past the page cache where the device can.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use platform::file::{self, DIRECT_ALIGNMENT};
use serde::{Deserialize, Serialize};

use crate::catalog::{CopyRecord, ObjectRecord};
use crate::chunk_tree::{ChunkTree, group_count};
use crate::device::Device;
use crate::ids::{DeviceId, ObjectId};
use crate::limits::{CRC_BLOCK_BYTES, GROUP_BYTES};
use crate::sidecar::Sidecar;
use crate::store::DeviceSlot;

/// What reading an object back found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verified {
    /// The object.
    pub object: ObjectId,
    /// Its size in bytes.
    pub size: u64,
    /// Its columns, in order.
    pub columns: Vec<VerifiedColumn>,
    /// Groups (of 1 MiB) whose bytes are not the object's; with those that could not be read.
    pub bad_groups: Vec<u64>,
}

/// What reading a column found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VerifiedColumn {
    /// The device.
    pub device: DeviceId,
    /// The file, if its device is here.
    pub path: Option<PathBuf>,
    /// Why it could not be opened, or what the first failed read said.
    pub problem: Option<String>,
    /// Offsets of blocks (of 64 KiB) that are not what was written.
    pub bad_blocks: Vec<u64>,
}

impl Verified {
    /// Whether every byte is right.
    pub fn is_good(&self) -> bool {
        let good =
            |column: &VerifiedColumn| column.problem.is_none() && column.bad_blocks.is_empty();
        self.bad_groups.is_empty() && self.columns.iter().all(good)
    }
}

struct Open {
    file: File,
    sidecar: Sidecar,
}

/// Reads every byte of an object's first copy. `progress` is told the bytes read so far, once per group.
pub fn verify(
    slots: &[DeviceSlot],
    record: &ObjectRecord,
    mut progress: impl FnMut(u64),
) -> Option<Verified> {
    let copy = record.copies.first()?;
    let (mut columns, open): (Vec<_>, Vec<_>) = copy
        .devices
        .iter()
        .enumerate()
        .map(|(column, id)| open(slots, record, copy, column, *id))
        .unzip();
    let tree = open
        .iter()
        .flatten()
        .find_map(|open| open.sidecar.tree().ok());
    let mut buffer = AlignedBuffer::default();
    let mut bad_groups = Vec::new();
    for group in 0..group_count(record.size) {
        let range = group * GROUP_BYTES..(group + 1) * GROUP_BYTES;
        // Units are multiples of the group, so a group is one piece; the empty object has none.
        let good = match copy.layout.pieces(range).next() {
            Some(piece) => open[piece.column].as_ref().is_some_and(|open| {
                check(
                    open,
                    piece.offset,
                    piece.length,
                    group,
                    tree.as_ref(),
                    &mut buffer,
                    &mut columns[piece.column],
                )
            }),
            None => tree
                .as_ref()
                .is_some_and(|tree| tree.verify_group(group, &[]).is_ok()),
        };
        if !good {
            bad_groups.push(group);
        }
        progress(((group + 1) * GROUP_BYTES).min(record.size));
    }
    Some(Verified {
        object: record.object,
        size: record.size,
        columns,
        bad_groups,
    })
}

fn open(
    slots: &[DeviceSlot],
    record: &ObjectRecord,
    copy: &CopyRecord,
    column: usize,
    id: DeviceId,
) -> (VerifiedColumn, Option<Open>) {
    let slot = slots
        .iter()
        .filter_map(|slot| slot.device.as_ref().ok())
        .find(|device| device.id() == id);
    let mut verified = VerifiedColumn {
        device: id,
        path: None,
        problem: None,
        bad_blocks: Vec::new(),
    };
    let Some(device) = slot else {
        verified.problem = Some("its device is not here".into());
        return (verified, None);
    };
    verified.path = Some(device.column_path(&record.object));
    match open_column(device, record, copy, column) {
        Ok(open) => (verified, Some(open)),
        Err(problem) => {
            verified.problem = Some(problem);
            (verified, None)
        }
    }
}

fn open_column(
    device: &Device,
    record: &ObjectRecord,
    copy: &CopyRecord,
    column: usize,
) -> Result<Open, String> {
    let sidecar = Sidecar::read(&device.sidecar_path(&record.object))
        .map_err(|bad| format!("its sidecar: {bad}"))?;
    if (sidecar.object, sidecar.layout, usize::from(sidecar.column))
        != (record.object, copy.layout, column)
    {
        return Err("its sidecar belongs to another column".into());
    }
    let (file, _) = file::open_direct(&device.column_path(&record.object))
        .map_err(|error| error.to_string())?;
    Ok(Open { file, sidecar })
}

/// Reads and checks one group; notes what is wrong with its column.
fn check(
    open: &Open,
    offset: u64,
    length: u64,
    group: u64,
    tree: Option<&ChunkTree>,
    buffer: &mut AlignedBuffer,
    column: &mut VerifiedColumn,
) -> bool {
    let bytes = match buffer.read(&open.file, offset, length as usize) {
        Ok(bytes) => bytes,
        Err(error) => {
            column.problem.get_or_insert(error.to_string());
            return false;
        }
    };
    let first = (offset / CRC_BLOCK_BYTES) as usize;
    for (block, bytes) in (first..).zip(bytes.chunks(CRC_BLOCK_BYTES as usize)) {
        if open.sidecar.crcs.get(block) != Some(&crc32fast::hash(bytes)) {
            column.bad_blocks.push(block as u64 * CRC_BLOCK_BYTES);
        }
    }
    tree.is_some_and(|tree| tree.verify_group(group, bytes).is_ok())
}

/// One group's buffer for direct reads.
pub(crate) struct AlignedBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Default for AlignedBuffer {
    fn default() -> Self {
        let bytes = vec![0; GROUP_BYTES as usize + DIRECT_ALIGNMENT];
        let start = bytes.as_ptr().align_offset(DIRECT_ALIGNMENT);
        Self { bytes, start }
    }
}

impl AlignedBuffer {
    /// Reads `length` bytes, asking for whole blocks: the end of the file makes the last read short.
    pub(crate) fn read(&mut self, file: &File, offset: u64, length: usize) -> io::Result<&[u8]> {
        let asked = length.next_multiple_of(DIRECT_ALIGNMENT);
        let buffer = &mut self.bytes[self.start..self.start + asked];
        let mut filled = 0;
        while filled < length {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the column is too short",
                    ));
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&buffer[..length])
    }

    /// What was read last, as far as `length`.
    pub(crate) fn filled(&self, length: usize) -> &[u8] {
        &self.bytes[self.start..self.start + length]
    }
}
