//! Files in `staging/`: their names, and what becomes of them when nobody holds them any more.

use std::collections::BTreeSet;
use std::ffi::OsStr;
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
    pub(crate) fn column(device: &Device, object: &ObjectId) -> Self {
        Self {
            path: column_path(device, object),
            is_kept: false,
        }
    }

    /// The journal of that column.
    pub(crate) fn journal(device: &Device, object: &ObjectId) -> Self {
        Self {
            path: journal_path(device, object),
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

/// Where the column of an object is written so that it can be resumed.
pub(crate) fn column_path(device: &Device, object: &ObjectId) -> PathBuf {
    device.staging().join(format!("{object}.{COLUMN}"))
}

/// Where the journal of that column is.
pub(crate) fn journal_path(device: &Device, object: &ObjectId) -> PathBuf {
    device.staging().join(format!("{object}.{JOURNAL}"))
}

/// The object that a file in `staging/` is of, by its name.
pub(crate) fn object_of(path: &Path) -> Option<ObjectId> {
    let name = path.file_name()?.to_str()?;
    name.split('.').next()?.parse().ok()
}

/// The objects that have a journal on a device.
pub(crate) fn journals(device: &Device) -> BTreeSet<ObjectId> {
    let files = fs::read_dir(device.staging()).into_iter().flatten();
    let paths = files.flatten().map(|file| file.path());
    paths
        .filter(|path| path.extension() == Some(OsStr::new(JOURNAL)))
        .filter_map(|path| object_of(&path))
        .collect()
}

/// Removes column and journal of an object from a device.
pub(crate) fn remove(device: &Device, object: &ObjectId) -> Result<(), StoreError> {
    // The journal first: a column alone is garbage to everybody.
    for path in [journal_path(device, object), column_path(device, object)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The right to the one resumable staging of an object in a state folder. There is one writing process, so a word in its memory is
/// enough; it outlives the [`Store`](crate::Store) as long as somebody writes the object.
pub(crate) struct Claim(Key);

type Key = (PathBuf, ObjectId);

static CLAIMS: Mutex<BTreeSet<Key>> = Mutex::new(BTreeSet::new());

fn claims() -> MutexGuard<'static, BTreeSet<Key>> {
    // A set is whole after any panic.
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Claim {
    /// `None` if somebody has it.
    pub(crate) fn take(state_dir: &Path, object: &ObjectId) -> Option<Self> {
        let key = (state_dir.to_path_buf(), *object);
        let is_new = claims().insert(key.clone());
        is_new.then(|| Self(key))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        claims().remove(&self.0);
    }
}
