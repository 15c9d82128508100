//! What an interrupted staging left, put together from the journals of its columns, and opened again.
//!
//! The groups that count are those from the object's start that have a record in the journal of their column. Records of this boot
//! are believed: the kernel that took the bytes still has them. After another boot each group is read back and verified first.

use std::fs;
use std::io;
use std::time::SystemTime;

use platform::file;

use super::files::{self, Claim, Kind};
use super::journal::{BootId, Journal, JournalHead};
use super::{Column, Staging, Target};
use crate::chunk_tree::ChunkTree;
use crate::device::Device;
use crate::error::StoreError;
use crate::ids::ObjectId;
use crate::limits::{CRC_BLOCK_BYTES, GROUP_BYTES};
use crate::store::StepHook;
use crate::verify::AlignedBuffer;

/// An object that is partly written, all of its devices here.
pub(crate) struct Partial {
    columns: Vec<PartialColumn>,
    /// Bytes from the object's start that have records.
    pub(crate) written: u64,
}

struct PartialColumn {
    device: Device,
    /// Without records if there is none.
    journal: Journal,
}

impl Partial {
    /// Looks for the object on all devices that are here. Blocks on them.
    pub(crate) fn find(devices: &[&Device], object: &ObjectId) -> Option<Self> {
        let found: Vec<_> = devices
            .iter()
            .filter_map(|device| Some((*device, read(device, object, Kind::Object)?)))
            .collect();
        // The first group of an object lies in column 0, so its journal is the first that is made.
        let (_, first) = found
            .iter()
            .find(|(_, journal)| journal.head.column == 0 && journal.written > 0)?;
        let columns = (0_u8..).zip(&first.head.devices);
        let columns = columns.map(|(column, id)| {
            let device = devices.iter().find(|device| device.id() == *id)?;
            let own = found.iter().find(|(device, _)| device.id() == *id);
            let own = own.map(|(_, journal)| journal.clone());
            let journal = own
                .filter(|own| own.head.column == column && is_same(&own.head, &first.head))
                .unwrap_or_else(|| {
                    Journal::empty(JournalHead {
                        column,
                        ..first.head.clone()
                    })
                });
            Some(PartialColumn {
                device: (*device).clone(),
                journal,
            })
        });
        let mut partial = Self {
            columns: columns.collect::<Option<_>>()?,
            written: 0,
        };
        partial.written = partial.noted();
        Some(partial)
    }

    pub(crate) fn head(&self) -> &JournalHead {
        &self.columns[0].journal.head
    }

    /// When it was last written to.
    pub(crate) fn modified(&self) -> SystemTime {
        modified(&self.columns[0].device, &self.head().object, Kind::Object)
    }

    /// Bytes from the object's start that lie in groups with records.
    fn noted(&self) -> u64 {
        let layout = self.head().layout;
        let mut offset = 0;
        while offset < layout.size() {
            let (column, place) = layout.locate(offset);
            if place / GROUP_BYTES >= self.columns[column].journal.written {
                break;
            }
            offset = (offset + GROUP_BYTES).min(layout.size());
        }
        offset
    }

    /// Opens it for writing. Bytes of another boot are verified first, and end where they are not the object's.
    pub(crate) fn reopen(
        mut self,
        tree: ChunkTree,
        boot: BootId,
        claim: Claim,
        hook: Option<StepHook>,
    ) -> Result<Staging, StoreError> {
        for PartialColumn { device, journal } in &mut self.columns {
            verify(&tree, device, Kind::Object, journal, boot)?;
        }
        let written = self.noted();
        let head = self.head();
        let target = Target {
            tree,
            layout: head.layout,
            tier: head.tier.clone(),
            devices: head.devices.clone(),
            boot,
            claim: Some(claim),
        };
        let columns = self.columns.into_iter().enumerate();
        let columns = columns.map(|(index, mut column)| {
            let groups = groups_before(&target, written, index);
            column.journal.cut(groups);
            if groups > 0 {
                return Column::resume(&target, column.device, column.journal);
            }
            files::remove(&column.device, &target.tree.object(), Kind::Object)?;
            Column::create(&target, index, column.device)
        });
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Staging {
            target: target.into(),
            columns,
            written,
            hook,
        })
    }
}

/// Of a journal of another boot as many groups count as are read back and are the object's. Blocks on the device.
pub(crate) fn verify(
    tree: &ChunkTree,
    device: &Device,
    kind: Kind,
    journal: &mut Journal,
    boot: BootId,
) -> Result<(), StoreError> {
    let is_trusted = boot.is_some() && journal.head.boot == boot;
    if is_trusted || journal.written == 0 {
        return Ok(());
    }
    let (object, column) = (tree.object(), usize::from(journal.head.column));
    let path = kind.column_path(device, &object);
    let (file, _) = file::open_direct(&path).map_err(StoreError::io("open", &path))?;
    let mut buffer = AlignedBuffer::default();
    for good in 0..journal.written {
        let place = good * GROUP_BYTES;
        let offset = journal.head.layout.object_offset(column, place);
        let group = offset / GROUP_BYTES;
        let bytes = buffer
            .read(&file, place, tree.group_length(group) as usize)
            .map_err(StoreError::io("read", &path))?;
        if tree.verify_group(group, bytes).is_err() || !has_crcs(&journal.crcs, place, bytes) {
            tracing::info!(%object, offset, "bytes of before the boot are not the object's");
            journal.cut(good);
            break;
        }
    }
    Ok(())
}

/// When a journal was last written to.
pub(crate) fn modified(device: &Device, object: &ObjectId, kind: Kind) -> SystemTime {
    let journal = kind.journal_path(device, object);
    let modified = fs::metadata(journal).and_then(|file| file.modified());
    modified.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A journal beside a column that has at least the bytes that it tells of.
pub(crate) fn read(device: &Device, object: &ObjectId, kind: Kind) -> Option<Journal> {
    let path = kind.journal_path(device, object);
    let journal = match Journal::read(&path) {
        Ok(journal) => journal,
        Err(super::journal::BadJournal::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return None;
        }
        Err(problem) => {
            tracing::warn!(file = %path.display(), %problem, "a journal cannot be used");
            return None;
        }
    };
    let column = kind.column_path(device, object);
    let length = fs::metadata(&column).ok()?.len();
    let is_ours = journal.head.object == *object
        && journal.head.devices.get(usize::from(journal.head.column)) == Some(&device.id())
        && length >= journal.head.bytes_of(journal.written);
    is_ours.then_some(journal)
}

/// Two columns of one staging.
fn is_same(one: &JournalHead, other: &JournalHead) -> bool {
    (one.layout, &one.tier, &one.devices) == (other.layout, &other.tier, &other.devices)
}

/// Groups of a column that lie in the first `written` bytes of the object, which end with a group.
fn groups_before(target: &Target, written: u64, column: usize) -> u64 {
    let offsets = (0..).map(|group| target.layout.object_offset(column, group * GROUP_BYTES));
    offsets.take_while(|offset| *offset < written).count() as u64
}

fn has_crcs(crcs: &[u32], place: u64, bytes: &[u8]) -> bool {
    let first = (place / CRC_BLOCK_BYTES) as usize;
    let blocks = bytes.chunks(CRC_BLOCK_BYTES as usize);
    let mut blocks = (first..).zip(blocks.map(crc32fast::hash));
    blocks.all(|(block, crc)| crcs.get(block) == Some(&crc))
}
