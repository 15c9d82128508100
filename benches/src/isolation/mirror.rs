//! A file system (FUSE) that mirrors a folder: it answers, or is silent to every question, or has lost its data.
//!
//! Silence is total: `open` and `stat` hang as `read` does. What hangs goes on when it answers again. The process that serves it is
//! this one: when that ends, however it ends, the kernel answers whatever still hangs with an error.

mod folder;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileHandle, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use folder::Folder;

/// The kernel asks for everything anew each time.
const NO_MEMORY: Duration = Duration::ZERO;

/// Questions that are worked on at once.
const THREADS: usize = 4;

/// How questions are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    Silent,
    /// Names and attributes are there; reading and writing says EIO.
    Failing,
}

/// Who must be heard before anything is answered.
struct Gate {
    mood: Mutex<Mood>,
    changed: Condvar,
}

impl Gate {
    fn mood(&self) -> MutexGuard<'_, Mood> {
        self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn await_voice(&self) -> Mood {
        let silent = |mood: &mut Mood| *mood == Mood::Silent;
        *self
            .changed
            .wait_while(self.mood(), silent)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mounted; gone with this value.
pub(super) struct Mirror {
    pub(super) mount: PathBuf,
    gate: Arc<Gate>,
    session: Option<BackgroundSession>,
}

impl Mirror {
    /// Shows `source` at `mount`; both are made. It says of itself that it has `bytes`, nearly all of them free.
    pub(super) fn make(source: &Path, mount: &Path, bytes: u64) -> Result<Self> {
        std::fs::create_dir_all(source)?;
        std::fs::create_dir_all(mount)?;
        let gate = Arc::new(Gate {
            mood: Mutex::new(Mood::Well),
            changed: Condvar::new(),
        });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("mirror".into())];
        config.n_threads = Some(THREADS);
        let files = Files {
            folder: Folder::new(source),
            gate: Arc::clone(&gate),
            bytes,
        };
        let session =
            fuser::spawn_mount(files, mount, &config).context("mounting a FUSE file system")?;
        Ok(Self {
            mount: mount.to_owned(),
            gate,
            session: Some(session),
        })
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.gate.mood() = mood;
        self.gate.changed.notify_all();
    }

    /// Empties all files; through the mount, so that nobody has anything of them in memory afterwards. What they held is kept.
    pub(super) fn truncate(&self) -> Result<()> {
        // Of an error that a write met before, the first who closes the file hears: not the second copy.
        let each = "rm -rf \"$2\"; cp -r \"$1\" \"$2\" || { rm -rf \"$2\"; cp -r \"$1\" \"$2\"; }; find \"$1\" -type f -exec truncate -s 0 {} +";
        self.shell(each)
    }

    /// Answers again, with what the files held.
    pub(super) fn heal(&self) -> Result<()> {
        self.set(Mood::Well);
        self.shell("if [ -d \"$2\" ]; then cp -r \"$2/.\" \"$1\"; rm -rf \"$2\"; fi")
    }

    /// `$1` is the mount, `$2` a place for a copy.
    fn shell(&self, script: &str) -> Result<()> {
        let (mount, kept) = (&self.mount, self.mount.with_extension("kept"));
        let (mount, kept) = (mount.display().to_string(), kept.display().to_string());
        super::disk::run("sh", &["-ec", script, "sh", &mount, &kept])
    }

    /// Questions that the kernel has and that are not answered.
    pub(super) fn waiting(&self) -> Result<u64> {
        // The number of the connection is the minor of the device, which is not asked for through the mount: it may hang.
        let table = std::fs::read_to_string("/proc/self/mountinfo")?;
        let mount = self.mount.display().to_string();
        let line = table
            .lines()
            .find(|line| line.split(' ').nth(4) == Some(&mount));
        let number = line.and_then(|line| line.split(' ').nth(2)?.split_once(':'));
        let (_, minor) = number.context("the mirror is not mounted")?;
        let file = format!("/sys/fs/fuse/connections/{minor}/waiting");
        let text = std::fs::read_to_string(&file).context(file)?;
        Ok(text.trim().parse()?)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.set(Mood::Well);
        let mount = self.mount.display().to_string();
        // Also while a server has files of it open; nothing can be done about a failure.
        let _ = super::disk::run("umount", &["-l", &mount]);
        drop(self.session.take());
    }
}

struct Files {
    folder: Folder,
    gate: Arc<Gate>,
    bytes: u64,
}

impl Files {
    /// For names and attributes.
    fn names(&self) -> &Folder {
        self.gate.await_voice();
        &self.folder
    }

    /// For what is in files.
    fn data(&self) -> io::Result<&Folder> {
        match self.gate.await_voice() {
            Mood::Failing => Err(Errno::EIO.into_io()),
            Mood::Well | Mood::Silent => Ok(&self.folder),
        }
    }
}

/// `Errno` has no way back.
trait IntoIo {
    fn into_io(self) -> io::Error;
}

impl IntoIo for Errno {
    fn into_io(self) -> io::Error {
        io::Error::from_raw_os_error(self.into())
    }
}

fn answer(reply: ReplyEmpty, result: io::Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error.into()),
    }
}

fn answer_entry(reply: ReplyEntry, result: io::Result<fuser::FileAttr>) {
    match result {
        Ok(attributes) => reply.entry(&NO_MEMORY, &attributes, Generation(0)),
        Err(error) => reply.error(error.into()),
    }
}

fn answer_attributes(reply: ReplyAttr, result: io::Result<fuser::FileAttr>) {
    match result {
        Ok(attributes) => reply.attr(&NO_MEMORY, &attributes),
        Err(error) => reply.error(error.into()),
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer_entry(reply, self.names().look_up(parent, name));
    }

    fn getattr(&self, _: &Request, node: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        answer_attributes(reply, self.names().attributes(node, handle));
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let folder = self.names();
        let resized = size.map_or(Ok(()), |size| folder.resize(node, size));
        answer_attributes(
            reply,
            resized.and_then(|()| folder.attributes(node, handle)),
        );
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        answer_entry(reply, self.names().make_folder(parent, name));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, std::fs::remove_file(self.names().path(parent, name)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, std::fs::remove_dir(self.names().path(parent, name)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        answer(reply, self.names().rename((parent, name), (to, new_name)));
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.names().open(node) {
            Ok(handle) => reply.opened(handle, FopenFlags::empty()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.names().create(parent, name) {
            Ok((attributes, handle)) => {
                let (generation, flags) = (Generation(0), FopenFlags::empty());
                reply.created(&NO_MEMORY, &attributes, generation, handle, flags);
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = |folder: &Folder| read_at(&*folder.file(handle)?, offset, size);
        match self.data().and_then(read) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = |folder: &Folder| folder.file(handle)?.write_all_at(data, offset);
        match self.data().and_then(write) {
            // The kernel writes less than 4 GiB at once.
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.names();
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _node: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.names().close(handle);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        let sync = |folder: &Folder| folder.file(handle)?.sync_data();
        answer(reply, self.data().and_then(sync));
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.data().map(drop));
    }

    fn fallocate(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        let folder = self.names();
        let enlarge =
            |attributes: fuser::FileAttr| folder.resize(node, attributes.size.max(offset + length));
        answer(
            reply,
            folder.attributes(node, Some(handle)).and_then(enlarge),
        );
    }

    fn readdir(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = match self.names().entries(node) {
            Ok(entries) => entries,
            Err(error) => return reply.error(error.into()),
        };
        for (at, (node, kind, name)) in entries.into_iter().enumerate().skip(offset as usize) {
            if reply.add(node, at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.names();
        let blocks = self.bytes / 4096;
        let free = blocks / 10 * 9;
        reply.statfs(blocks, free, free, 1 << 20, 1 << 19, 4096, 255, 4096);
    }
}

/// Fewer at the end of the file.
fn read_at(file: &File, offset: u64, size: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], offset + length as u64)? {
            0 => break,
            count => length += count,
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}
