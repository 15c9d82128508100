//! Files in `staging/`: their names, and what becomes of them when nobody holds them any more.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::device::Device;
use crate::error::StoreError;
use crate::ids::ObjectId;

const COLUMN: &str = "col";
const JOURNAL: &str = "journal";

/// What is written so that it can be resumed. Both kinds of one object may lie beside each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// An object that comes.
    Object,
    /// A column of a copy that is here.
    Repair,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Object, Self::Repair];

    fn path(self, device: &Device, object: &ObjectId, end: &str) -> PathBuf {
        let name = match self {
            Self::Object => format!("{object}.{end}"),
            Self::Repair => format!("{object}.repair.{end}"),
        };
        device.staging().join(name)
    }

    /// Where the column is written.
    pub(crate) fn column_path(self, device: &Device, object: &ObjectId) -> PathBuf {
        self.path(device, object, COLUMN)
    }

    /// Where the journal of that column is.
    pub(crate) fn journal_path(self, device: &Device, object: &ObjectId) -> PathBuf {
        self.path(device, object, JOURNAL)
    }
}

/// A file in `staging/`. Dropped, it is removed, unless it is kept or was moved to its place.
pub(crate) struct StagedFile {
    path: PathBuf,
    is_kept: bool,
}

impl StagedFile {
    /// A name that no other staged file of this writer has; the file is not made.
    pub(crate) fn name(device: &Device, object: &ObjectId, extension: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{object}.{number}.{extension}");
        Self {
            path: device.staging().join(name),
            is_kept: false,
        }
    }

    /// The column that a [`Claim`] allows to be resumed.
    pub(crate) fn column(device: &Device, object: &ObjectId, kind: Kind) -> Self {
        Self {
            path: kind.column_path(device, object),
            is_kept: false,
        }
    }

    /// The journal of that column.
    pub(crate) fn journal(device: &Device, object: &ObjectId, kind: Kind) -> Self {
        Self {
            path: kind.journal_path(device, object),
            is_kept: true,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// From now on it stays when this is dropped.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Removes it.
    pub(crate) fn discard(mut self) {
        self.is_kept = false;
    }

    /// Moves it to its place.
    pub(crate) fn rename(mut self, to: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, to).map_err(StoreError::io("rename a staged file to", to))?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // Whatever stays is removed when the store is opened next.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The object that a file in `staging/` or `objects/` is of, by its name.
pub(crate) fn object_of(path: &Path) -> Option<ObjectId> {
    let name = path.file_name()?.to_str()?;
    name.split('.').next()?.parse().ok()
}

/// The objects that have a journal of that kind on a device.
pub(crate) fn journals(device: &Device, kind: Kind) -> BTreeSet<ObjectId> {
    let files = fs::read_dir(device.staging()).into_iter().flatten();
    let paths = files.flatten().map(|file| file.path());
    paths
        .filter_map(|path| {
            object_of(&path).filter(|object| path == kind.journal_path(device, object))
        })
        .collect()
}

/// Removes column and journal of an object from a device. On one that takes no writes they stay, as on one that is away.
pub(crate) fn remove(device: &Device, object: &ObjectId, kind: Kind) -> Result<(), StoreError> {
    // The journal first: a column alone is garbage to everybody.
    for path in [
        kind.journal_path(device, object),
        kind.column_path(device, object),
    ] {
        match fs::remove_file(&path).map_err(|error| (error.kind(), error)) {
            // The second one is said even of a file that is not there.
            Ok(()) | Err((io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem, _)) => {}
            Err((_, error)) => return Err(StoreError::io("remove", path)(error)),
        }
    }
    Ok(())
}

/// The right to the one resumable staging of a kind of an object in a state folder. There is one writing process, so a word in its memory is
/// enough; it outlives the [`Store`](crate::Store) as long as somebody writes the object.
pub(crate) struct Claim(Key);

type Key = (PathBuf, ObjectId, Kind);

static CLAIMS: Mutex<BTreeSet<Key>> = Mutex::new(BTreeSet::new());

fn claims() -> MutexGuard<'static, BTreeSet<Key>> {
    // A set is whole after any panic.
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Claim {
    /// `None` if somebody has it.
    pub(crate) fn take(state_dir: &Path, object: &ObjectId, kind: Kind) -> Option<Self> {
        let key = (state_dir.to_path_buf(), *object, kind);
        let is_new = claims().insert(key.clone());
        is_new.then(|| Self(key))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.2
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        claims().remove(&self.0);
    }
}
