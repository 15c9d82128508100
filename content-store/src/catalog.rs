//! The catalog: what is published, in LMDB. A cache of the sidecars, so it is never repaired, only rebuilt.
//!
//! One key space, one record per key, every record with a CRC-32 over key and value; the first byte of a key says
//! what it is (see `docs/formats/catalog.md`). One process writes, behind the writer lock; any number read. A reader
//! copies what it needs inside one short transaction and decodes it afterwards: no transaction is ever held across
//! device I/O.

use std::io;
use std::path::{Path, PathBuf};

mod changes;
mod contradictions;
pub(crate) mod environment;
mod inspect;
mod listing;
mod lock;
mod reader;
mod record;
mod seed;
mod writer;

pub use changes::Changes;
pub use listing::Listing;
pub use lock::WriterLock;
pub use reader::{CatalogReader, Published, Snapshot};
pub use record::{ColumnSet, CopyRecord, DoomedRecord, ObjectRecord};
pub(crate) use record::{Key, path_key};
pub use seed::seed;
pub(crate) use writer::{Catalog, Edit};

/// The version that is written, and the newest that is read.
pub const CATALOG_FORMAT: u32 = 3;

/// The catalog's folder in the state folder.
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("catalog")
}

/// Why the catalog cannot be used. Nothing is ever deleted because of it.
#[derive(Debug, thiserror::Error)]
pub enum CatalogProblem {
    /// There is none yet, or its disk is not mounted.
    #[error("{}: there is no catalog: on a new appliance import content; otherwise mount the state folder, or run \
        `ocactl catalog rebuild`", path.display())]
    Missing {
        /// Its folder.
        path: PathBuf,
    },
    /// It is damaged.
    #[error("{}: the catalog is damaged ({cause}): run `ocactl catalog rebuild`, which makes it anew from the devices \
        and keeps this one aside", path.display())]
    Corrupt {
        /// Its folder.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
    /// A newer program wrote it.
    #[error("{}: catalog format {found} is newer than this program reads ({CATALOG_FORMAT}): install the newer \
        version, or run `ocactl catalog rebuild`", path.display())]
    NewerFormat {
        /// Its folder.
        path: PathBuf,
        /// The format.
        found: u32,
    },
    /// Another process writes.
    #[error("{}: the catalog is being written by {holder}: {way_out}", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Process id and program of the holder, and for how long.
        holder: String,
        /// What to do.
        way_out: String,
    },
    /// It was replaced by a rebuild while this process still had the old one open.
    #[error("{}: the catalog was rebuilt while this program had it open: start the program again", path.display())]
    Replaced {
        /// Its folder.
        path: PathBuf,
    },
    /// The disk of the state folder fails, or is full, or it is not for this user.
    #[error("{}: {source}; {}", path.display(), platform::file::way_out(source))]
    Io {
        /// Its folder.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

impl CatalogProblem {
    pub(crate) fn is_disk(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Io { .. })
    }

    pub(crate) fn corrupt(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Corrupt {
            path: path.into(),
            cause: cause.to_string(),
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }

    /// What LMDB says: its own words about pages are damage, anything else is the kernel's.
    pub(crate) fn heed(path: &Path, error: heed::Error) -> Self {
        match error {
            heed::Error::Io(source) => Self::io(path, source),
            heed::Error::Mdb(heed::MdbError::MapFull) => Self::io(
                path,
                io::Error::new(io::ErrorKind::StorageFull, "the catalog's map is full"),
            ),
            heed::Error::Mdb(heed::MdbError::Panic) => {
                Self::io(path, io::Error::other("an earlier commit failed half way"))
            }
            heed::Error::EnvAlreadyOpened => Self::Replaced { path: path.into() },
            error => Self::corrupt(path, error),
        }
    }
}
