//! Writing an object: `Staging` takes its bytes, `Sealed` is all of them on their devices, synced, and not yet published.
//!
//! Every group of 1 MiB is verified against the chunk tree before it is written, so a source that lies or changes is
//! refused after one group. Beside each column a [`journal`] notes which groups the kernel has taken, so that a staging outlives
//! the process: dropped or killed, it is resumed by the next one of its object. The file of a column that has no journal yet, or
//! never gets one ([`Store::stage_anew`](crate::Store::stage_anew)), goes with its owner.

use std::io::{self, Read};
use std::path::Path;

use platform::file::{self, DirectWriter};

use crate::chunk_tree::ChunkTree;
use crate::device::Device;
use crate::error::StoreError;
use crate::ids::{DeviceId, ObjectId};
use crate::limits::{CRC_BLOCK_BYTES, GROUP_BYTES};
use crate::store::{Step, StepHook};
use crate::stripe::StripeLayout;

pub(crate) mod files;
pub mod journal;
pub(crate) mod resume;

pub(crate) use files::{Claim, Kind, StagedFile};
use journal::{BootId, Journal, JournalHead, JournalWriter};

/// What is written, and where.
pub(crate) struct Target {
    pub(crate) tree: ChunkTree,
    pub(crate) layout: StripeLayout,
    pub(crate) tier: Box<str>,
    pub(crate) devices: Box<[DeviceId]>,
    pub(crate) boot: BootId,
    /// Without one it has no journal.
    pub(crate) claim: Option<Claim>,
}

/// An object that is being written.
pub struct Staging {
    target: Box<Target>,
    columns: Vec<Column>,
    written: u64,
    hook: Option<StepHook>,
}

/// A column that is being written, group by group.
pub(crate) struct Column {
    /// Until it is synced.
    writer: Option<DirectWriter>,
    part: Part,
}

/// A column but for its writer.
struct Part {
    device: Device,
    file: StagedFile,
    crcs: Vec<u32>,
    /// Made with the first group.
    journal: Option<JournalWriter>,
}

/// An object whose columns are written and synced, in `staging/`.
pub struct Sealed {
    pub(crate) target: Box<Target>,
    pub(crate) columns: Vec<SealedColumn>,
}

pub(crate) struct SealedColumn {
    pub(crate) device: Device,
    pub(crate) file: StagedFile,
    pub(crate) journal: Option<StagedFile>,
    pub(crate) crcs: Box<[u32]>,
}

impl Target {
    fn kind(&self) -> Kind {
        self.claim.as_ref().map_or(Kind::Object, Claim::kind)
    }

    /// The head of a column's journal; `None` if it is to have none.
    fn head(&self, column: usize) -> Option<JournalHead> {
        self.claim.as_ref()?;
        Some(JournalHead {
            object: self.tree.object(),
            layout: self.layout,
            tier: self.tier.clone(),
            column: column as u8,
            devices: self.devices.clone(),
            boot: self.boot,
            groups: self.tree.groups().into(),
        })
    }
}

impl Staging {
    /// `devices` are those of the target, in order.
    pub(crate) fn create(
        target: Target,
        devices: Vec<Device>,
        hook: Option<StepHook>,
    ) -> Result<Self, StoreError> {
        let columns = devices.into_iter().enumerate();
        let columns = columns.map(|(column, device)| Column::create(&target, column, device));
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Self {
            target: target.into(),
            columns,
            written: 0,
            hook,
        })
    }

    /// The object.
    pub fn object(&self) -> ObjectId {
        self.target.tree.object()
    }

    /// Bytes written so far: the offset of the next group. Not 0 at the beginning if an interrupted staging is resumed.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that are missing.
    pub fn rest(&self) -> u64 {
        self.target.tree.size() - self.written
    }

    /// The devices that it is written to, in the order of its columns.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = DeviceId> + '_ {
        self.target.devices.iter().copied()
    }

    /// The device that the next group goes to; after the last group, the last one's.
    pub fn next_device(&self) -> DeviceId {
        let next = self.written.min(self.target.tree.size().saturating_sub(1));
        let (column, _) = self.target.layout.locate(next);
        self.target.devices[column]
    }

    /// Verifies and writes the next group: 1 MiB, less at the object's end. Touches no other device than
    /// [`next_device`](Self::next_device). After an error that is not the source's, drop this and stage the object again.
    pub fn write_group(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let object = self.object();
        let group = self.written / GROUP_BYTES;
        self.target
            .tree
            .verify_group(group, bytes)
            .map_err(|source| StoreError::WrongBytes { object, source })?;
        let (index, _) = self.target.layout.locate(self.written);
        self.columns[index].write(&self.target, index, bytes, self.hook.as_ref())?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Removes what is written; it cannot be resumed.
    pub fn discard(self) {
        for column in self.columns {
            column.discard(&self.target);
        }
    }

    /// Writes the rest of the object from a source that begins at [`written`](Self::written); `progress` is told the bytes written so far, once per group.
    pub fn copy_from(
        &mut self,
        mut source: impl Read,
        mut progress: impl FnMut(u64),
    ) -> Result<(), StoreError> {
        let (object, size) = (self.object(), self.target.tree.size());
        let unreadable = |source| StoreError::Source { object, source };
        let mut buffer = vec![0; GROUP_BYTES as usize];
        while self.written < size {
            let wanted = self.target.tree.group_length(self.written / GROUP_BYTES) as usize;
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

    /// Syncs one column, which touches its device alone. Fails if bytes of the object are missing.
    pub fn sync_column(&mut self, column: usize) -> Result<(), StoreError> {
        let (object, expected) = (self.object(), self.target.tree.size());
        if self.written != expected {
            return Err(StoreError::WrongLength {
                object,
                expected,
                found: self.written,
            });
        }
        self.columns[column].sync(&self.target, column)
    }

    /// Syncs all columns that are not yet. Fails if bytes are missing.
    pub fn seal(mut self) -> Result<Sealed, StoreError> {
        (0..self.columns.len()).try_for_each(|column| self.sync_column(column))?;
        let target = &self.target;
        let columns = self.columns.into_iter();
        let columns = columns.map(|column| column.sealed(target)).collect();
        if let Some(hook) = &self.hook {
            hook(Step::Sealed);
        }
        Ok(Sealed {
            target: self.target,
            columns,
        })
    }
}

impl Sealed {
    /// The object.
    pub fn object(&self) -> ObjectId {
        self.target.tree.object()
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.target.tree.size()
    }

    /// Removes what is written.
    pub fn discard(self) {
        self.columns.into_iter().for_each(SealedColumn::discard);
    }
}

impl SealedColumn {
    pub(crate) fn discard(self) {
        self.journal.into_iter().for_each(StagedFile::discard);
        self.file.discard();
    }
}

impl Column {
    pub(crate) fn create(
        target: &Target,
        column: usize,
        device: Device,
    ) -> Result<Self, StoreError> {
        let (object, length) = (target.tree.object(), target.layout.column_length(column));
        let file = match &target.claim {
            Some(claim) => StagedFile::column(&device, &object, claim.kind()),
            None => StagedFile::name(&device, &object, "col"),
        };
        let writer = file::create_direct(file.path(), length)
            .map_err(|error| write_problem(&device, file.path(), length, error))?;
        let part = Part {
            device,
            file,
            crcs: Vec::with_capacity(length.div_ceil(CRC_BLOCK_BYTES) as usize),
            journal: None,
        };
        let writer = Some(writer);
        Ok(Self { writer, part })
    }

    /// Opens again what was written before: all that its journal says.
    pub(crate) fn resume(
        target: &Target,
        device: Device,
        journal: Journal,
    ) -> Result<Self, StoreError> {
        let (object, kind) = (target.tree.object(), target.kind());
        let mut file = StagedFile::column(&device, &object, kind);
        file.keep();
        let written = journal.head.bytes_of(journal.written);
        let writer = file::resume_direct(file.path(), written)
            .map_err(StoreError::io("resume", file.path()))?;
        let path = kind.journal_path(&device, &object);
        let journal_writer = match journal.head.boot == target.boot {
            true => JournalWriter::resume(&path, &journal),
            false => {
                let (written, crcs) = (journal.written, journal.crcs.clone());
                let head = JournalHead {
                    boot: target.boot,
                    ..journal.head
                };
                JournalWriter::create(
                    &path,
                    &Journal {
                        head,
                        written,
                        crcs,
                    },
                )
            }
        };
        let journal_writer = journal_writer.map_err(StoreError::io("resume", path))?;
        let part = Part {
            device,
            file,
            crcs: journal.crcs,
            journal: Some(journal_writer),
        };
        let writer = Some(writer);
        Ok(Self { writer, part })
    }

    /// The device that it is written to.
    pub(crate) fn device(&self) -> DeviceId {
        self.part.device.id()
    }

    /// Groups that it was given.
    pub(crate) fn groups(&self) -> u64 {
        (self.part.crcs.len() as u64).div_ceil(GROUP_BYTES / CRC_BLOCK_BYTES)
    }

    /// Writes its next group, which was verified.
    pub(crate) fn write(
        &mut self,
        target: &Target,
        index: usize,
        bytes: &[u8],
        hook: Option<&StepHook>,
    ) -> Result<(), StoreError> {
        let Self { writer, part } = self;
        let writer = writer
            .as_mut()
            .expect("columns are synced after the last group, and the tree has no further one");
        writer
            .write_all(bytes)
            .map_err(|error| part.problem(bytes.len() as u64, error))?;
        hook.inspect(|hook| hook(Step::GroupWritten));
        let crcs = bytes.chunks(CRC_BLOCK_BYTES as usize).map(crc32fast::hash);
        part.crcs.extend(crcs);
        part.note(target, index, writer.written())?;
        hook.inspect(|hook| hook(Step::GroupNoted));
        Ok(())
    }

    pub(crate) fn discard(self, target: &Target) {
        if self.part.journal.is_some() {
            StagedFile::journal(&self.part.device, &target.tree.object(), target.kind()).discard();
        }
        self.part.file.discard();
    }

    pub(crate) fn sync(&mut self, target: &Target, index: usize) -> Result<(), StoreError> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        if let Err(error) = writer.finish() {
            // What a failed fsync(2) could not write, the kernel may call clean: a second one that succeeds proves nothing. So nobody
            // resumes this.
            if let Some(claim) = &target.claim {
                files::remove(&self.part.device, &target.tree.object(), claim.kind())?;
            }
            return Err(StoreError::io("sync", self.part.file.path())(error));
        }
        let length = target.layout.column_length(index);
        self.part.note(target, index, length)
    }

    pub(crate) fn sealed(self, target: &Target) -> SealedColumn {
        let (part, object) = (self.part, target.tree.object());
        let is_noted = part.journal.is_some();
        let journal = is_noted.then(|| StagedFile::journal(&part.device, &object, target.kind()));
        SealedColumn {
            device: part.device,
            file: part.file,
            journal,
            crcs: part.crcs.into(),
        }
    }
}

impl Part {
    /// Notes the groups within the first `length` bytes of the column, which the kernel has.
    fn note(&mut self, target: &Target, index: usize, length: u64) -> Result<(), StoreError> {
        let column_length = target.layout.column_length(index);
        loop {
            let noted = self.journal.as_ref().map_or(0, |journal| journal.written);
            let start = noted * GROUP_BYTES;
            let end = (start + GROUP_BYTES).min(column_length);
            if start >= column_length || end > length {
                return Ok(());
            }
            if self.journal.is_none() {
                let Some(head) = target.head(index) else {
                    return Ok(());
                };
                self.journal = Some(self.begin_journal(head, target.kind())?);
                self.file.keep();
            }
            let blocks = start / CRC_BLOCK_BYTES..end.div_ceil(CRC_BLOCK_BYTES);
            let crcs = &self.crcs[blocks.start as usize..blocks.end as usize];
            if let Some(journal) = &mut self.journal {
                journal
                    .append(crcs)
                    .map_err(StoreError::io("note a group of", self.file.path()))?;
            }
        }
    }

    fn begin_journal(&self, head: JournalHead, kind: Kind) -> Result<JournalWriter, StoreError> {
        let path = kind.journal_path(&self.device, &head.object);
        JournalWriter::create(&path, &Journal::empty(head)).map_err(StoreError::io("create", path))
    }

    fn problem(&self, bytes: u64, error: io::Error) -> StoreError {
        write_problem(&self.device, self.file.path(), bytes, error)
    }
}

/// Why bytes could not be written to a device.
pub(crate) fn write_problem(
    device: &Device,
    path: &Path,
    bytes: u64,
    error: io::Error,
) -> StoreError {
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
