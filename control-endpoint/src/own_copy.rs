//! Copies of objects in `state_dir/objects`, named by their root: written beside, synced, renamed.
//!
//! Their modification time is 1970-01-01: so writing the same object once more, also by a process that is then killed, changes
//! nothing that the database knows.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use content_store::chunk_tree::ChunkTree;
use content_store::chunk_tree::TreeBuilder;
use protocol::root::Root;

use crate::database::{Database, int};
use crate::ingest::Stored;
use crate::limits::UNCLAIMED_S;

/// A copy that is being written. Dropped without [`finish`](Self::finish), it leaves nothing.
pub(crate) struct OwnCopy {
    file: File,
    temporary: PathBuf,
    folder: PathBuf,
    tree: TreeBuilder,
    size: u64,
}

impl OwnCopy {
    pub(crate) fn begin(state_dir: &Path) -> Result<Self> {
        let folder = state_dir.join("objects");
        let mut name = [0; 8];
        getrandom::fill(&mut name)
            .map_err(|error| anyhow::anyhow!("no random numbers from the system: {error}"))?;
        let temporary = folder
            .join("incoming")
            .join(format!("{:016x}", u64::from_ne_bytes(name)));
        let cannot = || format!("cannot write {}", temporary.display());
        fs::create_dir_all(folder.join("incoming")).with_context(cannot)?;
        let file = File::create_new(&temporary).with_context(cannot)?;
        Ok(Self {
            file,
            temporary,
            folder,
            tree: TreeBuilder::default(),
            size: 0,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.tree.update(bytes);
        self.size += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .with_context(|| format!("cannot write {}", self.temporary.display()))
    }

    /// Bytes written so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The copy is on the disk when this returns.
    pub(crate) fn finish(mut self) -> Result<Stored> {
        let tree: ChunkTree = std::mem::take(&mut self.tree).finish();
        let name = tree.object().to_string();
        let folder = self.folder.join(&name[..2]);
        let file = folder.join(&name);
        let cannot = || format!("cannot write {}", file.display());
        self.file.set_modified(UNIX_EPOCH).with_context(cannot)?;
        self.file.sync_all().with_context(cannot)?;
        fs::create_dir_all(&folder).with_context(cannot)?;
        fs::rename(&self.temporary, &file).with_context(cannot)?;
        File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .with_context(cannot)?;
        Ok(Stored {
            tree,
            file,
            owned: true,
            mtime_ns: 0,
            modified: None,
        })
    }
}

/// Deletes copies that no object has, and what was half-written: left by processes that were killed. What is younger than
/// [`UNCLAIMED_S`] may still be on its way into the database.
pub(crate) async fn tidy(database: &Database, now: u64) -> Result<()> {
    let Ok(folders) = fs::read_dir(database.state_dir().join("objects")) else {
        return Ok(());
    };
    // The time of the last renaming: that of the bytes is always 1970.
    let is_old = |file: &fs::DirEntry| {
        let metadata = file.metadata();
        metadata
            .is_ok_and(|metadata| metadata.is_file() && metadata.ctime() + UNCLAIMED_S < int(now))
    };
    for folder in folders.filter_map(|folder| Some(folder.ok()?.path())) {
        let files =
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for file in files.filter_map(Result::ok).filter(is_old) {
            let name = file.file_name();
            let root = name.to_str().and_then(|name| name.parse::<Root>().ok());
            database
                .delete_unless_registered(root, &file.path())
                .await?;
        }
    }
    Ok(())
}

impl Drop for OwnCopy {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name.
        _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::now;
    use crate::ingest::{Expectation, registration};

    fn copied(database: &Database, bytes: &[u8]) -> Stored {
        let mut copy = OwnCopy::begin(database.state_dir()).unwrap();
        copy.write(bytes).unwrap();
        copy.finish().unwrap()
    }

    #[tokio::test]
    async fn what_nobody_claims_goes_after_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let (kept, left) = (copied(&database, b"kept"), copied(&database, b"left"));
        let files = [kept.file.clone(), left.file];
        let new = registration("/kept.mp4".to_owned(), kept, 1, &Expectation::default());
        database.register(&[new]).await.unwrap();
        let half = OwnCopy::begin(database.state_dir()).unwrap();
        let there = |half: &OwnCopy| {
            [
                files[0].exists(),
                files[1].exists(),
                half.temporary.exists(),
            ]
        };
        tidy(&database, now()).await.unwrap();
        assert_eq!(there(&half), [true, true, true]);
        tidy(&database, now() + 90_000).await.unwrap();
        assert_eq!(there(&half), [true, false, false]);
    }
}
