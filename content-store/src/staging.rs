//! Writing an object: `Staging` takes its bytes, `Sealed` is all of them on their devices, synced, and not yet published.
//!
//! Every group of 1 MiB is verified against the chunk tree before it is written, so a source that lies or changes is
//! refused after one group. A `Staging` or `Sealed` that is dropped takes its files with it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use platform::file::{self, DirectWriter};

use crate::chunk_tree::ChunkTree;
use crate::device::Device;
use crate::error::StoreError;
use crate::ids::{DeviceId, ObjectId};
use crate::limits::{CRC_BLOCK_BYTES, GROUP_BYTES};
use crate::store::{Step, StepHook};
use crate::stripe::StripeLayout;

/// An object that is being written.
pub struct Staging {
    tree: ChunkTree,
    layout: StripeLayout,
    tier: Box<str>,
    columns: Vec<Column>,
    written: u64,
    hook: Option<StepHook>,
}

struct Column {
    device: Device,
    writer: DirectWriter,
    file: StagedFile,
    crcs: Vec<u32>,
}

/// An object whose columns are written and synced, in `staging/`.
pub struct Sealed {
    pub(crate) tree: ChunkTree,
    pub(crate) layout: StripeLayout,
    pub(crate) tier: Box<str>,
    pub(crate) columns: Vec<SealedColumn>,
}

pub(crate) struct SealedColumn {
    pub(crate) device: Device,
    pub(crate) file: StagedFile,
    pub(crate) crcs: Box<[u32]>,
}

/// A file in `staging/`, removed when this is dropped unless it was moved to its place.
pub(crate) struct StagedFile {
    path: Option<PathBuf>,
}

impl StagedFile {
    /// A name that no other staged file of this writer has; the file is not made.
    pub(crate) fn name(device: &Device, object: &ObjectId, extension: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            path: Some(
                device
                    .staging()
                    .join(format!("{object}.{number}.{extension}")),
            ),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.path
            .as_deref()
            .expect("only `rename` takes the path, and it takes the file with it")
    }

    /// Moves it to its place.
    pub(crate) fn rename(mut self, to: &Path) -> Result<(), StoreError> {
        fs::rename(self.path(), to).map_err(StoreError::io("rename a staged file to", to))?;
        self.path = None;
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Whatever stays is removed when the store is opened next.
            let _ = fs::remove_file(path);
        }
    }
}

impl Staging {
    pub(crate) fn create(
        tree: ChunkTree,
        layout: StripeLayout,
        tier: &str,
        devices: Vec<Device>,
    ) -> Result<Self, StoreError> {
        let object = tree.object();
        let columns = devices.into_iter().enumerate();
        let columns = columns
            .map(|(column, device)| Column::create(device, &object, layout.column_length(column)));
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Self {
            tree,
            layout,
            tier: tier.into(),
            columns,
            written: 0,
            hook: None,
        })
    }

    pub(crate) fn with_hook(self, hook: Option<StepHook>) -> Self {
        Self { hook, ..self }
    }

    /// The object.
    pub fn object(&self) -> ObjectId {
        self.tree.object()
    }

    /// Bytes written so far: the offset of the next group.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The device that the next group goes to; after the last group, the last one's.
    pub fn next_device(&self) -> DeviceId {
        let next = self.written.min(self.tree.size().saturating_sub(1));
        let (column, _) = self.layout.locate(next);
        self.columns[column].device.id()
    }

    /// Verifies and writes the next group: 1 MiB, less at the object's end.
    pub fn write_group(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let object = self.object();
        let group = self.written / GROUP_BYTES;
        self.tree
            .verify_group(group, bytes)
            .map_err(|source| StoreError::WrongBytes { object, source })?;
        let (column, _) = self.layout.locate(self.written);
        let column = &mut self.columns[column];
        column
            .writer
            .write_all(bytes)
            .map_err(|error| column.problem(bytes.len() as u64, error))?;
        column
            .crcs
            .extend(bytes.chunks(CRC_BLOCK_BYTES as usize).map(crc32fast::hash));
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes the whole object from a source; `progress` is told the bytes written so far, once per group.
    pub fn copy_from(
        &mut self,
        mut source: impl Read,
        mut progress: impl FnMut(u64),
    ) -> Result<(), StoreError> {
        let (object, size) = (self.object(), self.tree.size());
        let unreadable = |source| StoreError::Source { object, source };
        let mut buffer = vec![0; GROUP_BYTES as usize];
        while self.written < size {
            let wanted = self.tree.group_length(self.written / GROUP_BYTES) as usize;
            let found = read_full(&mut source, &mut buffer[..wanted]).map_err(unreadable)?;
            if found < wanted {
                let found = self.written + found as u64;
                return Err(StoreError::WrongLength {
                    object,
                    expected: size,
                    found,
                });
            }
            self.write_group(&buffer[..wanted])?;
            progress(self.written);
        }
        match read_full(&mut source, &mut buffer[..1]).map_err(unreadable)? {
            0 => Ok(()),
            _ => Err(StoreError::WrongLength {
                object,
                expected: size,
                found: size + 1,
            }),
        }
    }

    /// Syncs all columns. Fails if bytes are missing.
    pub fn seal(self) -> Result<Sealed, StoreError> {
        let (object, expected) = (self.object(), self.tree.size());
        if self.written != expected {
            return Err(StoreError::WrongLength {
                object,
                expected,
                found: self.written,
            });
        }
        let columns = self
            .columns
            .into_iter()
            .map(Column::seal)
            .collect::<Result<_, _>>()?;
        if let Some(hook) = &self.hook {
            hook(Step::Sealed);
        }
        Ok(Sealed {
            tree: self.tree,
            layout: self.layout,
            tier: self.tier,
            columns,
        })
    }
}

impl Sealed {
    /// The object.
    pub fn object(&self) -> ObjectId {
        self.tree.object()
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }
}

impl Column {
    fn create(device: Device, object: &ObjectId, length: u64) -> Result<Self, StoreError> {
        let file = StagedFile::name(&device, object, "col");
        let writer = file::create_direct(file.path(), length)
            .map_err(|error| problem(&device, file.path(), length, error))?;
        Ok(Self {
            device,
            writer,
            file,
            crcs: Vec::with_capacity(length.div_ceil(CRC_BLOCK_BYTES) as usize),
        })
    }

    fn problem(&self, bytes: u64, error: io::Error) -> StoreError {
        problem(&self.device, self.file.path(), bytes, error)
    }

    fn seal(self) -> Result<SealedColumn, StoreError> {
        self.writer
            .finish()
            .map_err(StoreError::io("sync", self.file.path()))?;
        Ok(SealedColumn {
            device: self.device,
            file: self.file,
            crcs: self.crcs.into(),
        })
    }
}

fn problem(device: &Device, path: &Path, bytes: u64, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full {
            device: device.root().into(),
            bytes,
        },
        _ => StoreError::io("write", path)(error),
    }
}

/// Reads until the buffer is full or the source ends.
fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
