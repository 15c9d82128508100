//! Opening the LMDB environment, once per process and folder.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, WithoutTls};

use super::{CatalogProblem, inspect};
use crate::limits::{CATALOG_MAP_BYTES, CATALOG_READERS};

/// An open environment; the last holder closes it.
pub(crate) struct Environment {
    pub(super) env: Env<WithoutTls>,
    pub(super) database: Database<'static, Bytes, Bytes>,
    /// Device and inode of `data.mdb`: a rebuild puts another file in its place.
    identity: (u64, u64),
    /// The most bytes that `data.mdb` and `lock.mdb` were seen to have. LMDB never shortens them.
    lengths: [AtomicU64; 2],
}

/// Its files.
const FILES: [&str; 2] = ["data.mdb", "lock.mdb"];

/// LMDB must not be opened twice in one process, so reader and writer of one process share it.
static OPEN: Mutex<Vec<(PathBuf, Weak<Environment>)>> = Mutex::new(Vec::new());

/// How long to wait for another thread of this process that is just closing it.
const CLOSING: Duration = Duration::from_secs(1);

impl Environment {
    /// Opens the catalog in `folder`, which must exist; an empty folder gets an empty environment.
    pub(crate) fn open(folder: &Path) -> Result<Arc<Self>, CatalogProblem> {
        let path = folder
            .canonicalize()
            .map_err(|source| CatalogProblem::io(folder, source))?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, environment)| environment.strong_count() > 0);
        let shared = open
            .iter()
            .find(|(known, _)| *known == path)
            .and_then(|(_, environment)| environment.upgrade());
        if let Some(environment) = shared {
            environment.check_current(folder)?;
            return Ok(environment);
        }
        let environment = Arc::new(Self::map(&path)?);
        open.push((path, Arc::downgrade(&environment)));
        Ok(environment)
    }

    fn map(folder: &Path) -> Result<Self, CatalogProblem> {
        let problem = |error| CatalogProblem::heed(folder, error);
        inspect::check(folder)?;
        let open = || platform::lmdb::open(folder, CATALOG_MAP_BYTES, CATALOG_READERS);
        let env = match open() {
            Err(heed::Error::EnvAlreadyOpened) => {
                if let Some(closing) = heed::env_closing_event(folder) {
                    closing.wait_timeout(CLOSING);
                }
                open()
            }
            opened => opened,
        }
        .map_err(problem)?;
        // Slots of readers that were killed keep old pages from being used again.
        env.clear_stale_readers().map_err(problem)?;
        let database = main_database(&env).map_err(problem)?;
        let environment = Self {
            env,
            database,
            identity: identity(folder)?,
            lengths: [AtomicU64::new(0), AtomicU64::new(0)],
        };
        environment.check_current(folder)?;
        Ok(environment)
    }

    /// Whether the folder still holds the file that is mapped, and all of it.
    pub(crate) fn check_current(&self, folder: &Path) -> Result<(), CatalogProblem> {
        if identity(folder)? != self.identity {
            return Err(CatalogProblem::Replaced {
                path: folder.into(),
            });
        }
        for (name, known) in FILES.iter().zip(&self.lengths) {
            let path = folder.join(name);
            let length = fs::metadata(&path)
                .map_err(|source| CatalogProblem::io(&path, source))?
                .len();
            let before = known.fetch_max(length, Relaxed);
            if length < before {
                let cause = format!("{name} was shortened from {before} to {length} bytes");
                return Err(CatalogProblem::corrupt(folder, cause));
            }
        }
        Ok(())
    }
}

/// The unnamed database always exists; opening it writes nothing.
fn main_database(env: &Env<WithoutTls>) -> heed::Result<Database<'static, Bytes, Bytes>> {
    let transaction = env.read_txn()?;
    let opened = env.open_databases_and_commit(transaction, |opener, transaction| {
        opener
            .open_database::<Bytes, Bytes>(transaction, None)
            .map(CommitOrAbort::<_, ()>::Commit)
    })?;
    opened
        .unwrap_commit()
        .ok_or(heed::Error::Mdb(heed::MdbError::NotFound))
}

fn identity(folder: &Path) -> Result<(u64, u64), CatalogProblem> {
    match fs::metadata(folder.join("data.mdb")) {
        Ok(data) => Ok((data.dev(), data.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CatalogProblem::Missing {
            path: folder.into(),
        }),
        Err(source) => Err(CatalogProblem::io(folder, source)),
    }
}
