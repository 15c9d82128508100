//! A stored object's bytes, each group verified before it is given: to move an object, or to copy it.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use platform::file;

use crate::chunk_tree::ChunkTree;
use crate::error::StoreError;
use crate::ids::{DeviceId, ObjectId};
use crate::limits::GROUP_BYTES;
use crate::sidecar::Sidecar;
use crate::store::Store;
use crate::stripe::StripeLayout;
use crate::verify::AlignedBuffer;

/// Reads an object from its start, past the page cache. Every read blocks on one device.
pub struct ObjectReader {
    tree: ChunkTree,
    layout: StripeLayout,
    columns: Vec<(DeviceId, PathBuf, File)>,
    buffer: AlignedBuffer,
    /// Offset in the object of the group after the one in the buffer.
    next: u64,
    /// What of the buffer's group is not yet given by `read`.
    rest: std::ops::Range<usize>,
}

impl Store {
    /// Opens an object that is stored.
    pub fn reader(&self, object: &ObjectId) -> Result<ObjectReader, StoreError> {
        let record = self
            .stored(object)?
            .ok_or(StoreError::UnknownObject(*object))?;
        let copy = record
            .copies
            .iter()
            .find(|copy| self.has_all(object, copy))
            .ok_or(StoreError::UnknownObject(*object))?;
        let mut columns = Vec::new();
        let mut tree = None;
        for device in copy.devices.iter().filter_map(|id| self.device(id)) {
            let path = device.sidecar_path(object);
            let sidecar = |problem| StoreError::Sidecar {
                path: path.clone(),
                problem,
            };
            if tree.is_none() {
                tree = Sidecar::read(&path).map_err(sidecar)?.tree().ok();
            }
            let path = device.column_path(object);
            let (file, _) = file::open_direct(&path).map_err(StoreError::io("open", &path))?;
            columns.push((device.id(), path, file));
        }
        Ok(ObjectReader {
            tree: tree.ok_or(StoreError::UnknownObject(*object))?,
            layout: copy.layout,
            columns,
            buffer: AlignedBuffer::default(),
            next: 0,
            rest: 0..0,
        })
    }
}

impl ObjectReader {
    /// The object's tree.
    pub fn tree(&self) -> &ChunkTree {
        &self.tree
    }

    /// Begins with the group that holds the byte at `offset`, as [`Staging::written`](crate::Staging::written) says.
    pub fn starting_at(mut self, offset: u64) -> Self {
        self.next = offset / GROUP_BYTES * GROUP_BYTES;
        if offset == self.tree.size() {
            self.next = offset;
        }
        self.rest = 0..0;
        self
    }

    /// The device that the next group is read from; after the last group, the last one's.
    pub fn next_device(&self) -> DeviceId {
        let next = self.next.min(self.tree.size().saturating_sub(1));
        let (column, _) = self.layout.locate(next);
        self.columns[column].0
    }

    /// The next group; `None` after the last. Bytes that are not the object's are an error of their disk.
    pub fn next_group(&mut self) -> Result<Option<&[u8]>, StoreError> {
        let length = match self.fill()? {
            0 => return Ok(None),
            length => length,
        };
        self.rest = 0..0;
        Ok(Some(self.buffer.filled(length)))
    }

    fn fill(&mut self) -> Result<usize, StoreError> {
        if self.next >= self.tree.size() {
            return Ok(0);
        }
        let group = self.next / GROUP_BYTES;
        let length = self.tree.group_length(group) as usize;
        let (column, place) = self.layout.locate(self.next);
        let (_, path, file) = &self.columns[column];
        let bytes = self
            .buffer
            .read(file, place, length)
            .map_err(StoreError::io("read", path))?;
        self.tree
            .verify_group(group, bytes)
            .map_err(|wrong| io::Error::new(io::ErrorKind::InvalidData, wrong))
            .map_err(StoreError::io("read", path))?;
        self.next += length as u64;
        Ok(length)
    }
}

impl Read for ObjectReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = 0..self.fill().map_err(io::Error::other)?;
        }
        let taken = self.rest.len().min(into.len());
        let bytes = self.buffer.filled(self.rest.end);
        into[..taken].copy_from_slice(&bytes[self.rest.start..self.rest.start + taken]);
        self.rest.start += taken;
        Ok(taken)
    }
}
