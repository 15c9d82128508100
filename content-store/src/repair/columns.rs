//! A copy of which columns are being written anew, group by group.

use std::fs::File;
use std::ops::Range;

use platform::file::{self, DirectWriter};

use crate::catalog::CopyRecord;
use crate::chunk_tree::ChunkTree;
use crate::device::Device;
use crate::error::StoreError;
use crate::ids::{DeviceId, ObjectId};
use crate::limits::{CRC_BLOCK_BYTES, GROUP_BYTES};
use crate::staging::{StagedFile, write_problem};
use crate::stripe::StripeLayout;
use crate::verify::AlignedBuffer;

/// A copy of which columns are being written anew.
pub struct Repairing {
    tree: ChunkTree,
    /// As it was when this began.
    copy: CopyRecord,
    columns: Vec<Column>,
    holders: Vec<Holder>,
    buffer: AlignedBuffer,
    /// Offset in the object of the group that is written next.
    next: u64,
}

pub(super) struct Column {
    index: usize,
    device: Device,
    file: StagedFile,
    /// Until it is synced.
    writer: Option<DirectWriter>,
    crcs: Vec<u32>,
}

/// A column on this box in which groups may be good.
pub(super) struct Holder {
    layout: StripeLayout,
    column: usize,
    device: Device,
    /// Opened when it is first read; an empty one could not be.
    file: Option<Option<File>>,
}

/// Columns that are written and synced, and not yet in their places.
pub struct Repaired {
    pub(super) tree: ChunkTree,
    /// As it was when this began.
    pub(super) copy: CopyRecord,
    /// Index, device, file and checksums of each.
    pub(super) columns: Vec<(usize, Device, StagedFile, Box<[u32]>)>,
}

impl Repairing {
    pub(super) fn new(
        tree: ChunkTree,
        copy: CopyRecord,
        columns: Vec<Column>,
        holders: Vec<Holder>,
    ) -> Self {
        let mut repairing = Self {
            tree,
            copy,
            columns,
            holders,
            buffer: AlignedBuffer::default(),
            next: 0,
        };
        repairing.skip();
        repairing
    }

    /// The object.
    pub fn object(&self) -> ObjectId {
        self.tree.object()
    }

    /// Offset in the object of the group that is needed next; the object's size when all are written.
    pub fn written(&self) -> u64 {
        self.next
    }

    /// Bytes that are missing.
    pub fn rest(&self) -> u64 {
        self.missing()
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }

    /// The parts of the object that are missing, in order.
    pub fn missing(&self) -> Vec<Range<u64>> {
        let mut missing: Vec<Range<u64>> = Vec::new();
        let mut at = self.next;
        while at < self.tree.size() {
            let end = at + self.tree.group_length(at / GROUP_BYTES);
            match missing.last_mut() {
                Some(last) if last.end == at => last.end = end,
                _ => missing.push(at..end),
            }
            at = self.needed(end);
        }
        missing
    }

    /// The next group, which is to be fetched if none of the [`holders`](Self::holders) has it, and what follows it that none can have.
    pub fn to_fetch(&self) -> Vec<Range<u64>> {
        let mut wanted: Vec<Range<u64>> = Vec::new();
        for range in self.missing() {
            let mut at = range.start;
            while at < range.end {
                if at > self.next && self.holders_at(at).next().is_some() {
                    return wanted;
                }
                let end = at + self.tree.group_length(at / GROUP_BYTES);
                match wanted.last_mut() {
                    Some(last) if last.end == at => last.end = end,
                    _ => wanted.push(at..end),
                }
                at = end;
            }
        }
        wanted
    }

    fn holders_at(&self, at: u64) -> impl Iterator<Item = &Holder> {
        let has = move |holder: &&Holder| holder.layout.locate(at).0 == holder.column;
        self.holders.iter().filter(has)
    }

    /// The devices that are written to.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = DeviceId> + '_ {
        self.columns.iter().map(|column| column.device.id())
    }

    /// The device that the next group goes to; after the last group, the first one.
    pub fn next_device(&self) -> DeviceId {
        let (index, _) = self.copy.layout.locate(self.next);
        let column = self.columns.iter().find(|column| column.index == index);
        column.unwrap_or(&self.columns[0]).device.id()
    }

    /// The devices of this box that may have the next group, the most promising first.
    pub fn holders(&self) -> Vec<DeviceId> {
        let holders = self.holders_at(self.next);
        holders.map(|holder| holder.device.id()).collect()
    }

    /// The next group as it is on that device, if it is good there. Blocks on that device alone.
    pub fn read_here(&mut self, device: DeviceId) -> Option<Vec<u8>> {
        let (next, group) = (self.next, self.next / GROUP_BYTES);
        let length = self.tree.group_length(group) as usize;
        let object = self.tree.object();
        let has = |holder: &&mut Holder| {
            holder.device.id() == device && holder.layout.locate(next).0 == holder.column
        };
        let holder = self.holders.iter_mut().find(has)?;
        let path = holder.device.column_path(&object);
        let open = || file::open_direct(&path).ok().map(|(file, _)| file);
        let file = holder.file.get_or_insert_with(open).as_ref()?;
        let (_, place) = holder.layout.locate(next);
        let bytes = self.buffer.read(file, place, length).ok()?;
        let is_good = self.tree.verify_group(group, bytes).is_ok();
        is_good.then(|| bytes.to_vec())
    }

    /// Verifies and writes the next group. Touches no other device than [`next_device`](Self::next_device).
    ///
    /// # Errors
    /// Bytes that are not the object's; what the device says: then drop this.
    pub fn write_group(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let object = self.object();
        self.tree
            .verify_group(self.next / GROUP_BYTES, bytes)
            .map_err(|source| StoreError::WrongBytes { object, source })?;
        let (index, _) = self.copy.layout.locate(self.next);
        let mut columns = self.columns.iter_mut();
        let column = columns
            .find(|column| column.index == index)
            .expect("`next` lies in a column that is written");
        let writer = column
            .writer
            .as_mut()
            .expect("columns are synced after the last group, and the tree has no further one");
        writer.write_all(bytes).map_err(|error| {
            write_problem(
                &column.device,
                column.file.path(),
                bytes.len() as u64,
                error,
            )
        })?;
        let crcs = bytes.chunks(CRC_BLOCK_BYTES as usize).map(crc32fast::hash);
        column.crcs.extend(crcs);
        self.next += bytes.len() as u64;
        self.skip();
        Ok(())
    }

    /// Syncs what is written to one of [`devices`](Self::devices), which touches that device alone.
    ///
    /// # Errors
    /// What the device says.
    pub fn sync_column(&mut self, column: usize) -> Result<(), StoreError> {
        let column = &mut self.columns[column];
        if let Some(writer) = column.writer.take() {
            writer
                .finish()
                .map_err(StoreError::io("sync", column.file.path()))?;
        }
        Ok(())
    }

    /// Syncs all that is not yet. Fails if bytes are missing.
    ///
    /// # Errors
    /// What a device says.
    pub fn seal(mut self) -> Result<Repaired, StoreError> {
        if self.next < self.tree.size() {
            return Err(StoreError::WrongLength {
                object: self.object(),
                expected: self.tree.size(),
                found: self.next,
            });
        }
        (0..self.columns.len()).try_for_each(|column| self.sync_column(column))?;
        let columns = self.columns.into_iter();
        let columns = columns.map(|one| (one.index, one.device, one.file, one.crcs.into()));
        Ok(Repaired {
            tree: self.tree,
            copy: self.copy,
            columns: columns.collect(),
        })
    }

    fn skip(&mut self) {
        self.next = self.needed(self.next);
    }

    /// The first group from `at` on that lies in a column that is written.
    fn needed(&self, mut at: u64) -> u64 {
        let size = self.tree.size();
        let is_written = |at: u64| {
            let (index, _) = self.copy.layout.locate(at);
            self.columns.iter().any(|column| column.index == index)
        };
        while at < size && !is_written(at) {
            let unit = self.copy.layout.stripe_unit();
            at = (at / unit + 1) * unit;
        }
        at.min(size)
    }
}

impl Repaired {
    /// The object.
    pub fn object(&self) -> ObjectId {
        self.tree.object()
    }

    /// Bytes of its columns.
    pub fn bytes(&self) -> u64 {
        let layout = self.copy.layout;
        let columns = self.columns.iter();
        columns
            .map(|(index, ..)| layout.column_length(*index))
            .sum()
    }

    /// The devices that it was written to.
    pub fn devices(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.columns.iter().map(|(_, device, ..)| device.id())
    }
}

impl Holder {
    pub(super) fn new(layout: StripeLayout, column: usize, device: Device) -> Self {
        Self {
            layout,
            column,
            device,
            file: None,
        }
    }
}

impl Column {
    pub(super) fn create(
        object: &ObjectId,
        copy: &CopyRecord,
        index: usize,
        device: Device,
    ) -> Result<Self, StoreError> {
        let length = copy.layout.column_length(index);
        let file = StagedFile::name(&device, object, "col");
        let writer = file::create_direct(file.path(), length)
            .map_err(|error| write_problem(&device, file.path(), length, error))?;
        Ok(Self {
            index,
            device,
            file,
            writer: Some(writer),
            crcs: Vec::new(),
        })
    }
}
