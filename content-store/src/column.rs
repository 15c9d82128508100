//! A column as the device service reads it: where it is, how long it is, and how its blocks are checked.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use platform::stored_file::{BadBlock, BlockCheck, Source};

use crate::device::{column_path, sidecar_path};
use crate::ids::ObjectId;
use crate::limits::CRC_BLOCK_BYTES;
use crate::sidecar::{BadSidecar, Sidecar};
use crate::stripe::StripeLayout;

const _: () = assert!(CRC_BLOCK_BYTES == platform::stored_file::BLOCK_BYTES);

/// One column file on one device. Opens nothing by itself.
pub struct ColumnSource {
    /// Shared by all columns of a device.
    root: Arc<Path>,
    object: ObjectId,
    column: u8,
    layout: StripeLayout,
    /// Made when the column is first read: most columns of a large catalog never are.
    path: OnceLock<Box<Path>>,
}

impl ColumnSource {
    /// Column number `column` of `object`, cut like that, on the device at `root`.
    pub fn new(root: Arc<Path>, object: ObjectId, column: u8, layout: StripeLayout) -> Self {
        Self {
            root,
            object,
            column,
            layout,
            path: OnceLock::new(),
        }
    }

    fn table(&self) -> Result<CrcTable, BadSidecar> {
        let sidecar = Sidecar::read(&sidecar_path(&self.root, &self.object))?;
        // A publication with another stripe unit may have come to this place and no further: its columns can have the same length.
        let found = (sidecar.object, sidecar.column, sidecar.layout);
        if found == (self.object, self.column, self.layout) {
            Ok(CrcTable(sidecar.crcs))
        } else {
            Err(BadSidecar::OfAnotherColumn)
        }
    }
}

impl Source for ColumnSource {
    fn path(&self) -> &Path {
        self.path
            .get_or_init(|| column_path(&self.root, &self.object).into())
    }

    fn length(&self) -> u64 {
        self.layout.column_length(usize::from(self.column))
    }

    fn load_check(&self) -> io::Result<Box<dyn BlockCheck>> {
        match self.table() {
            Ok(table) => Ok(Box::new(table)),
            Err(BadSidecar::Io(error)) => Err(error),
            Err(problem) => Err(io::Error::new(io::ErrorKind::InvalidData, problem)),
        }
    }
}

/// CRC-32 of each block of 64 KiB of a column. 4 B per block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CrcTable(pub Box<[u32]>);

impl BlockCheck for CrcTable {
    fn check(&self, offset: u64, bytes: &[u8]) -> Result<(), BadBlock> {
        let first = offset / CRC_BLOCK_BYTES;
        for (block, bytes) in (first..).zip(bytes.chunks(CRC_BLOCK_BYTES as usize)) {
            let expected = usize::try_from(block)
                .ok()
                .and_then(|block| self.0.get(block));
            if expected != Some(&crc32fast::hash(bytes)) {
                return Err(BadBlock {
                    offset: block * CRC_BLOCK_BYTES,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bad_block_is_named() {
        let mut bytes = vec![5; 3 * CRC_BLOCK_BYTES as usize + 10];
        let table = CrcTable(
            bytes
                .chunks(CRC_BLOCK_BYTES as usize)
                .map(crc32fast::hash)
                .collect(),
        );
        assert_eq!(table.check(0, &bytes), Ok(()));
        let second = CRC_BLOCK_BYTES as usize;
        assert_eq!(table.check(CRC_BLOCK_BYTES, &bytes[second..]), Ok(()));
        assert_eq!(
            table.check(CRC_BLOCK_BYTES, &bytes[second..2 * second]),
            Ok(())
        );
        *bytes.last_mut().unwrap() ^= 0x80;
        assert_eq!(
            table.check(0, &bytes),
            Err(BadBlock {
                offset: 3 * CRC_BLOCK_BYTES
            })
        );
        assert!(
            table.check(4 * CRC_BLOCK_BYTES, &[1]).is_err(),
            "beyond the end"
        );
    }
}
