//! A copy of which columns are being written anew, group by group.

use std::fs::File;
use std::ops::Range;

use platform::file;

use crate::catalog::CopyRecord;
use crate::device::Device;
use crate::error::StoreError;
use crate::ids::{DeviceId, ObjectId};
use crate::limits::GROUP_BYTES;
use crate::staging::{Column, SealedColumn, Target};
use crate::store::StepHook;
use crate::stripe::StripeLayout;
use crate::verify::AlignedBuffer;

/// A copy of which columns are being written anew.
pub struct Repairing {
    /// The copy as it will be.
    target: Box<Target>,
    /// As it was when this began.
    copy: CopyRecord,
    /// With their indices.
    columns: Vec<(usize, Column)>,
    holders: Vec<Holder>,
    buffer: AlignedBuffer,
    /// Offset in the object of the group that is written next.
    next: u64,
    hook: Option<StepHook>,
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
    /// The copy as it will be.
    pub(super) target: Box<Target>,
    /// As it was when this began.
    pub(super) copy: CopyRecord,
    /// With their indices.
    pub(super) columns: Vec<(usize, SealedColumn)>,
}

impl Repairing {
    pub(super) fn new(
        target: Target,
        copy: CopyRecord,
        columns: Vec<(usize, Column)>,
        holders: Vec<Holder>,
        hook: Option<StepHook>,
    ) -> Self {
        let mut repairing = Self {
            target: target.into(),
            copy,
            columns,
            holders,
            buffer: AlignedBuffer::default(),
            next: 0,
            hook,
        };
        repairing.skip();
        repairing
    }

    /// The object.
    pub fn object(&self) -> ObjectId {
        self.target.tree.object()
    }

    /// Offset in the object of the group that is needed next; the object's size when all are written. Not that of the first group if an
    /// interrupted repair is resumed.
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
        while at < self.target.tree.size() {
            let end = at + self.target.tree.group_length(at / GROUP_BYTES);
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
                let end = at + self.target.tree.group_length(at / GROUP_BYTES);
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
        self.columns.iter().map(|(_, column)| column.device())
    }

    /// The device that the next group goes to; after the last group, the first one.
    pub fn next_device(&self) -> DeviceId {
        let (at, _) = self.copy.layout.locate(self.next);
        let next = self.columns.iter().find(|(index, _)| *index == at);
        let (_, column) = next.unwrap_or(&self.columns[0]);
        column.device()
    }

    /// The devices of this box that may have the next group, the most promising first.
    pub fn holders(&self) -> Vec<DeviceId> {
        let holders = self.holders_at(self.next);
        holders.map(|holder| holder.device.id()).collect()
    }

    /// The next group as it is on that device, if it is good there. Blocks on that device alone.
    pub fn read_here(&mut self, device: DeviceId) -> Option<Vec<u8>> {
        let (next, group) = (self.next, self.next / GROUP_BYTES);
        let length = self.target.tree.group_length(group) as usize;
        let object = self.object();
        let has = |holder: &&mut Holder| {
            holder.device.id() == device && holder.layout.locate(next).0 == holder.column
        };
        let holder = self.holders.iter_mut().find(has)?;
        let path = holder.device.column_path(&object);
        let open = || file::open_direct(&path).ok().map(|(file, _)| file);
        let file = holder.file.get_or_insert_with(open).as_ref()?;
        let (_, place) = holder.layout.locate(next);
        let bytes = self.buffer.read(file, place, length).ok()?;
        let is_good = self.target.tree.verify_group(group, bytes).is_ok();
        is_good.then(|| bytes.to_vec())
    }

    /// Verifies and writes the next group. Touches no other device than [`next_device`](Self::next_device).
    ///
    /// # Errors
    /// Bytes that are not the object's; what the device says: then drop this.
    pub fn write_group(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let object = self.object();
        let tree = &self.target.tree;
        tree.verify_group(self.next / GROUP_BYTES, bytes)
            .map_err(|source| StoreError::WrongBytes { object, source })?;
        let (at, _) = self.copy.layout.locate(self.next);
        let mut columns = self.columns.iter_mut();
        let (index, column) = columns
            .find(|(index, _)| *index == at)
            .expect("`next` lies in a column that is written");
        column.write(&self.target, *index, bytes, self.hook.as_ref())?;
        self.next += bytes.len() as u64;
        self.skip();
        Ok(())
    }

    /// Syncs what is written to one of [`devices`](Self::devices), which touches that device alone.
    ///
    /// # Errors
    /// What the device says.
    pub fn sync_column(&mut self, column: usize) -> Result<(), StoreError> {
        let (index, column) = &mut self.columns[column];
        column.sync(&self.target, *index)
    }

    /// Syncs all that is not yet. Fails if bytes are missing.
    ///
    /// # Errors
    /// What a device says.
    pub fn seal(mut self) -> Result<Repaired, StoreError> {
        if self.next < self.target.tree.size() {
            return Err(StoreError::WrongLength {
                object: self.object(),
                expected: self.target.tree.size(),
                found: self.next,
            });
        }
        (0..self.columns.len()).try_for_each(|column| self.sync_column(column))?;
        let columns = self.columns.into_iter();
        let columns = columns.map(|(index, column)| (index, column.sealed(&self.target)));
        Ok(Repaired {
            columns: columns.collect(),
            target: self.target,
            copy: self.copy,
        })
    }

    fn skip(&mut self) {
        self.next = self.needed(self.next);
    }

    /// The first group from `at` on that lies in a column that is written, and is not in it yet.
    fn needed(&self, mut at: u64) -> u64 {
        let (size, layout) = (self.target.tree.size(), self.copy.layout);
        while at < size {
            let (of, place) = layout.locate(at);
            let written = self.columns.iter().find(|(index, _)| *index == of);
            at = match written {
                Some((_, column)) if place / GROUP_BYTES >= column.groups() => break,
                Some(_) => (at / GROUP_BYTES + 1) * GROUP_BYTES,
                None => (at / layout.stripe_unit() + 1) * layout.stripe_unit(),
            };
        }
        at.min(size)
    }
}

impl Repaired {
    /// The object.
    pub fn object(&self) -> ObjectId {
        self.target.tree.object()
    }

    /// Bytes of its columns.
    pub fn bytes(&self) -> u64 {
        let columns = self.columns.iter();
        columns
            .map(|(index, _)| self.target.layout.column_length(*index))
            .sum()
    }

    /// The devices that it was written to.
    pub fn devices(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.columns.iter().map(|(_, column)| column.device.id())
    }

    /// Removes what is written.
    pub(super) fn discard(self) {
        let columns = self.columns.into_iter();
        columns.for_each(|(_, column)| column.discard());
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
