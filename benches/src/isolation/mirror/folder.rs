//! The folder that is mirrored: nodes and handles are numbers outside, paths and files here.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileHandle, FileType, INodeNo};

use super::IntoIo as _;

pub(super) struct Folder {
    /// By the number of the node, which is the one it has in the folder, but for the root.
    paths: Mutex<HashMap<INodeNo, PathBuf>>,
    files: Mutex<HashMap<FileHandle, Arc<File>>>,
    next: AtomicU64,
}

/// Nobody panics while holding one of these.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            paths: Mutex::new(HashMap::from([(INodeNo::ROOT, root.to_owned())])),
            files: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    fn of(&self, node: INodeNo) -> io::Result<PathBuf> {
        let path = locked(&self.paths).get(&node).cloned();
        path.ok_or_else(|| Errno::ESTALE.into_io())
    }

    /// Of an entry; a node that is not known has none.
    pub(super) fn path(&self, parent: INodeNo, name: &OsStr) -> PathBuf {
        self.of(parent).unwrap_or_default().join(name)
    }

    pub(super) fn look_up(&self, parent: INodeNo, name: &OsStr) -> io::Result<FileAttr> {
        let path = self.of(parent)?.join(name);
        let attributes = attributes(&fs::symlink_metadata(&path)?, None);
        locked(&self.paths).insert(attributes.ino, path);
        Ok(attributes)
    }

    pub(super) fn attributes(
        &self,
        node: INodeNo,
        handle: Option<FileHandle>,
    ) -> io::Result<FileAttr> {
        let open = handle.and_then(|handle| self.file(handle).ok());
        let metadata = match open {
            Some(file) => file.metadata()?,
            None => fs::symlink_metadata(self.of(node)?)?,
        };
        Ok(attributes(&metadata, Some(node)))
    }

    pub(super) fn resize(&self, node: INodeNo, size: u64) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .open(self.of(node)?)?
            .set_len(size)
    }

    pub(super) fn make_folder(&self, parent: INodeNo, name: &OsStr) -> io::Result<FileAttr> {
        fs::create_dir(self.path(parent, name))?;
        self.look_up(parent, name)
    }

    pub(super) fn rename(&self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr)) -> io::Result<()> {
        fs::rename(self.path(from.0, from.1), self.path(to.0, to.1))?;
        self.look_up(to.0, to.1).map(drop)
    }

    pub(super) fn open(&self, node: INodeNo) -> io::Result<FileHandle> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.of(node)?)?;
        Ok(self.keep(file))
    }

    pub(super) fn create(
        &self,
        parent: INodeNo,
        name: &OsStr,
    ) -> io::Result<(FileAttr, FileHandle)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(self.path(parent, name))?;
        Ok((self.look_up(parent, name)?, self.keep(file)))
    }

    fn keep(&self, file: File) -> FileHandle {
        let handle = FileHandle(self.next.fetch_add(1, Relaxed));
        locked(&self.files).insert(handle, Arc::new(file));
        handle
    }

    pub(super) fn file(&self, handle: FileHandle) -> io::Result<Arc<File>> {
        let file = locked(&self.files).get(&handle).cloned();
        file.ok_or_else(|| Errno::EBADF.into_io())
    }

    pub(super) fn close(&self, handle: FileHandle) {
        locked(&self.files).remove(&handle);
    }

    pub(super) fn entries(&self, node: INodeNo) -> io::Result<Vec<(INodeNo, FileType, OsString)>> {
        let mut entries = vec![
            (node, FileType::Directory, ".".into()),
            (node, FileType::Directory, "..".into()),
        ];
        for entry in fs::read_dir(self.of(node)?)? {
            let entry = entry?;
            let number = INodeNo(entry.metadata()?.ino());
            let kind = kind(entry.file_type()?);
            entries.push((number, kind, entry.file_name()));
        }
        Ok(entries)
    }
}

fn kind(of: fs::FileType) -> FileType {
    FileType::from_std(of).unwrap_or(FileType::RegularFile)
}

fn attributes(metadata: &Metadata, node: Option<INodeNo>) -> FileAttr {
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs());
    FileAttr {
        ino: node.unwrap_or(INodeNo(metadata.ino())),
        size: metadata.len(),
        blocks: metadata.blocks(),
        atime: time(metadata.atime()),
        mtime: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        ctime: time(metadata.ctime()),
        crtime: UNIX_EPOCH,
        kind: kind(metadata.file_type()),
        perm: (metadata.mode() & 0o7777) as u16,
        nlink: metadata.nlink() as u32,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}
