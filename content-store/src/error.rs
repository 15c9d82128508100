//! What can go wrong in the store, by whose fault it is. Messages name the file or device, and the way out.

use std::io;
use std::path::PathBuf;

use crate::catalog::CatalogProblem;
use crate::chunk_tree::WrongGroup;
use crate::device::DeviceProblem;
use crate::entry::BadEntry;
use crate::ids::ObjectId;
use crate::limits::{MAX_BATCH_OBJECTS, MAX_COPIES, MAX_PATHS_PER_OBJECT};
use crate::sidecar::BadSidecar;
use crate::stripe::BadLayout;

/// An operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    // The operator's: configuration, space, wrong use.
    /// A configured device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceProblem),
    /// The catalog cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogProblem),
    /// No such tier.
    #[error("no tier is named {name:?}; configured: {known}")]
    UnknownTier {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A tier's numbers make no sense.
    #[error("tier {tier:?}: {cause}")]
    BadTier {
        /// The tier.
        tier: String,
        /// What is wrong.
        cause: String,
    },
    /// Two configured folders are one device.
    #[error("{} and {} are the same device {id}: configure it once", first.display(), second.display())]
    SameDevice {
        /// Configured path.
        first: PathBuf,
        /// Configured path.
        second: PathBuf,
        /// Its name.
        id: crate::DeviceId,
    },
    /// No device of the tier can take the object.
    #[error(
        "tier {tier:?} has no room for object {object}: a column of {column_bytes} bytes is needed; {devices}"
    )]
    NoRoom {
        /// The tier.
        tier: String,
        /// The object.
        object: ObjectId,
        /// Bytes that one device must have room for.
        column_bytes: u64,
        /// Every device of the tier with its room or its problem.
        devices: String,
    },
    /// A device filled up while an object was written to it.
    #[error("device {} is full: no room for {bytes} bytes", device.display())]
    Full {
        /// Root of the device.
        device: PathBuf,
        /// Bytes of the column.
        bytes: u64,
    },
    /// A path or header value cannot be published.
    #[error(transparent)]
    BadEntry(#[from] BadEntry),
    /// A publication without a path.
    #[error("object {0} is to be published under no path")]
    NoPath(ObjectId),
    /// One batch sets a path twice.
    #[error("path {0:?} is set twice in one batch")]
    PathTwice(Box<str>),
    /// Too many paths lead to one object.
    #[error("more than {MAX_PATHS_PER_OBJECT} paths lead to object {0}")]
    TooManyPaths(ObjectId),
    /// No sidecar that can be read has the chunk tree of an object.
    #[error("the chunk tree of object {0} is on no device that can be read")]
    NoTree(ObjectId),
    /// An object has all the copies that it may have.
    #[error("object {0} has {MAX_COPIES} copies, which is the most")]
    TooManyCopies(ObjectId),
    /// A batch is too large.
    #[error("a batch of {0} objects is larger than {MAX_BATCH_OBJECTS}")]
    BatchTooLarge(usize),
    /// An object cannot be laid out.
    #[error(transparent)]
    Layout(#[from] BadLayout),

    // The source's: what gave us the bytes.
    /// Bytes that are not the object's.
    #[error("object {object}: {source}: the source changed while it was read, or lies")]
    WrongBytes {
        /// The object.
        object: ObjectId,
        /// Which group.
        source: WrongGroup,
    },
    /// The source ended early, or went on.
    #[error(
        "object {object}: the source gave {found} bytes instead of {expected}: it changed while it was read"
    )]
    WrongLength {
        /// The object.
        object: ObjectId,
        /// Bytes of the object.
        expected: u64,
        /// Bytes that came, as far as they were taken.
        found: u64,
    },
    /// The source could not be read.
    #[error("object {object}: the source cannot be read: {source}")]
    Source {
        /// The object.
        object: ObjectId,
        /// What it says.
        source: io::Error,
    },
    // The disk's.
    /// A sidecar cannot be used.
    #[error("{}: {problem}", path.display())]
    Sidecar {
        /// Its path.
        path: PathBuf,
        /// Why.
        problem: BadSidecar,
    },
    /// A document in `state_dir` cannot be used.
    #[error("{}: {cause}. Restore it, or remove it, which {removing}", path.display())]
    StateFile {
        /// Its path.
        path: PathBuf,
        /// Why.
        cause: String,
        /// What comes of removing it.
        removing: &'static str,
    },
    /// A file operation failed.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was being done: "write", "sync".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },

    // Ours, or a caller's.
    /// Paths were taken away meanwhile: the batch is to be checked, and published, anew.
    #[error("the catalog was changed while objects were being published; they are taken up again")]
    Overtaken,
    /// The object is not stored.
    #[error("object {0} is not stored")]
    UnknownObject(ObjectId),
    /// A path leads to nothing.
    #[error("path {0:?} is not published")]
    UnknownPath(Box<str>),
}

/// Whose fault an error is: decides between asking the operator, another source, and another disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Configuration, space, or wrong use.
    Operator,
    /// The source of the bytes.
    Source,
    /// A disk or its file system.
    Disk,
}

impl StoreError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::WrongBytes { .. } | Self::WrongLength { .. } | Self::Source { .. } => {
                Fault::Source
            }
            Self::Sidecar { .. } | Self::StateFile { .. } | Self::Io { .. } => Fault::Disk,
            Self::Catalog(problem) if problem.is_disk() => Fault::Disk,
            Self::Device(
                DeviceProblem::Unreadable { .. }
                | DeviceProblem::ReadOnly { .. }
                | DeviceProblem::Silent { .. },
            ) => Fault::Disk,
            _ => Fault::Operator,
        }
    }

    /// For `map_err` on a file operation.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.into(),
            source,
        }
    }
}
