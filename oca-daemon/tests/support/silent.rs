//! A file that hangs whoever opens or reads it in the kernel when the test wants: mounted over a column through FUSE. Needs root and `/dev/fuse`.

use std::any::Any;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen,
    Request,
};

const FILE: INodeNo = INodeNo(2);
const FOREVER: Duration = Duration::from_secs(3600);

/// Mounted; what was there before is seen again when this is dropped.
pub(crate) struct SilentFile {
    file: PathBuf,
    mount: PathBuf,
    silence: Silence,
    session: Option<BackgroundSession>,
}

/// Answers that are waited for; `None` while all are given.
type Silence = Arc<Mutex<Option<Vec<Box<dyn Any + Send>>>>>;

impl SilentFile {
    /// Shows the bytes of `file` in its place. `mount` is a folder to make.
    pub(crate) fn over(file: &Path, mount: &Path) -> Self {
        let silence = Silence::default();
        let content = Content {
            bytes: fs::read(file).unwrap(),
            silence: Arc::clone(&silence),
        };
        fs::create_dir_all(mount).unwrap();
        let session = fuser::spawn_mount(content, mount, &Config::default())
            .expect("a FUSE file system can be mounted: needs root and /dev/fuse");
        run("mount", &[Path::new("--bind"), &mount.join("file"), file]);
        Self {
            file: file.into(),
            mount: mount.into(),
            silence,
            session: Some(session),
        }
    }

    /// Nothing is answered any more.
    pub(crate) fn fall_silent(&self) {
        *self.silence.lock().unwrap() = Some(Vec::new());
    }

    /// Whether somebody waits for an answer.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub(crate) fn is_waited_for(&self) -> bool {
        let silence = self.silence.lock().unwrap();
        silence.as_ref().is_some_and(|waiting| !waiting.is_empty())
    }
}

impl Drop for SilentFile {
    fn drop(&mut self) {
        // Those who wait are told of an error.
        drop(self.silence.lock().unwrap().take());
        run("umount", &[Path::new("-l"), &self.file]);
        run("umount", &[Path::new("-l"), &self.mount]);
        drop(self.session.take());
    }
}

fn run(program: &str, arguments: &[&Path]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.unwrap().success(), "{program} {arguments:?}");
}

struct Content {
    bytes: Vec<u8>,
    silence: Silence,
}

impl Content {
    fn attributes(&self, node: INodeNo) -> FileAttr {
        let (kind, perm) = match node {
            FILE => (FileType::RegularFile, 0o444),
            _ => (FileType::Directory, 0o555),
        };
        FileAttr {
            ino: node,
            size: self.bytes.len() as u64,
            blocks: self.bytes.len().div_ceil(512) as u64,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Content {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "file" {
            reply.entry(&FOREVER, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attributes(node));
    }

    /// Who waits for this cannot be killed.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match &mut *self.silence.lock().unwrap() {
            Some(waiting) => waiting.push(Box::new(reply)),
            None => reply.opened(FileHandle(0), FopenFlags::empty()),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if let Some(waiting) = &mut *self.silence.lock().unwrap() {
            return waiting.push(Box::new(reply));
        }
        let start = self.bytes.len().min(offset as usize);
        let end = self.bytes.len().min(start + size as usize);
        reply.data(&self.bytes[start..end]);
    }
}
