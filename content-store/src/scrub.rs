//! Reading a column back as it is on its device, past the page cache: its sidecar, and every block and group of it.

use std::io;
use std::path::Path;

use platform::file;

use crate::catalog::{CopyRecord, ObjectRecord};
use crate::device::Device;
use crate::limits::{CRC_BLOCK_BYTES, GROUP_BYTES, MAX_SIDECAR_BYTES};
use crate::sidecar::{BadSidecar, Sidecar};
use crate::verify::AlignedBuffer;

/// Why a column was not found good.
#[derive(Debug, thiserror::Error)]
pub enum NotGood {
    /// It is not what was written.
    #[error("{0}")]
    Bad(String),
    /// It cannot be read: the column or its device is to blame.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// A newer program wrote it: whether it is good cannot be told.
    #[error("{0}")]
    Newer(String),
    /// Whoever paces it said that this is enough.
    #[error("stopped")]
    Stopped,
}

fn bad<T>(what: impl Into<String>) -> Result<T, NotGood> {
    Err(NotGood::Bad(what.into()))
}

/// Reads a column and its sidecar; returns the bytes read. `pace` is told before each read how many bytes it has; at `false` this ends.
///
/// # Errors
/// [`NotGood`].
pub fn check_column(
    device: &Device,
    record: &ObjectRecord,
    copy: &CopyRecord,
    column: usize,
    mut pace: impl FnMut(u64) -> bool,
) -> Result<u64, NotGood> {
    let mut buffer = AlignedBuffer::default();
    let path = device.sidecar_path(&record.object);
    let sidecar = read(&path, &mut buffer, &mut pace)?;
    let read_bytes = sidecar.len() as u64;
    let sidecar = match Sidecar::decode(&sidecar) {
        Ok(sidecar) => sidecar,
        Err(problem) => {
            let why = format!("{}: {problem}", path.display());
            return Err(match problem {
                BadSidecar::NewerFormat(_) => NotGood::Newer(why),
                _ => NotGood::Bad(why),
            });
        }
    };
    let found = (sidecar.object, sidecar.layout, usize::from(sidecar.column));
    if found != (record.object, copy.layout, column) || sidecar.placed != copy.placed {
        return bad(format!("{}: it belongs to another column", path.display()));
    }
    let tree = match sidecar.tree() {
        Ok(tree) => tree,
        Err(problem) => return bad(format!("{}: {problem}", path.display())),
    };
    let path = device.column_path(&record.object);
    let (file, _) = file::open_direct(&path)?;
    let (found, length) = (file.metadata()?.len(), copy.layout.column_length(column));
    if found != length {
        let name = path.display();
        return bad(format!("{name}: it has {found} bytes instead of {length}"));
    }
    let mut at = 0;
    while at < length {
        let size = GROUP_BYTES.min(length - at);
        if !pace(size) {
            return Err(NotGood::Stopped);
        }
        let bytes = buffer.read(&file, at, size as usize)?;
        let first = (at / CRC_BLOCK_BYTES) as usize;
        let blocks = bytes.chunks(CRC_BLOCK_BYTES as usize).map(crc32fast::hash);
        let group = copy.layout.object_offset(column, at) / GROUP_BYTES;
        let is_good = sidecar.crcs[first..].iter().copied().zip(blocks.clone());
        let is_good = is_good
            .take(blocks.len())
            .all(|(want, found)| want == found);
        if !is_good || tree.verify_group(group, bytes).is_err() {
            let name = path.display();
            return bad(format!(
                "{name}: the MiB at byte {at} is not what was written"
            ));
        }
        at += size;
    }
    Ok(read_bytes + length)
}

fn read(
    path: &Path,
    buffer: &mut AlignedBuffer,
    pace: &mut impl FnMut(u64) -> bool,
) -> Result<Vec<u8>, NotGood> {
    let (file, _) = file::open_direct(path)?;
    let length = file.metadata()?.len();
    if length > MAX_SIDECAR_BYTES {
        return bad(format!("{}: it has {length} bytes", path.display()));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    while (bytes.len() as u64) < length {
        let at = bytes.len() as u64;
        let size = GROUP_BYTES.min(length - at);
        if !pace(size) {
            return Err(NotGood::Stopped);
        }
        bytes.extend_from_slice(buffer.read(&file, at, size as usize)?);
    }
    Ok(bytes)
}
