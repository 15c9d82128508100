//! Files visited by child processes, for programs that have to end whatever their disks do.
//!
//! Nobody can end a thread that hangs in a disk (state D). Its process ends with the last of its threads, and until then keeps open what it
//! has open: a shell waits for it, and so does whoever reads from its pipe. A child that hangs has nothing open but the file.

use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::file::DIRECT_ALIGNMENT;

/// A child that reads the beginning of a file past the page cache.
#[derive(Debug)]
pub struct Visit {
    child: libc::pid_t,
    /// Ends when the child does.
    line: UnixStream,
}

impl Visit {
    /// Sends it.
    ///
    /// # Errors
    /// The path holds a zero byte; what `socketpair(2)` or `fork(2)` says.
    pub fn begin(file: &Path) -> io::Result<Self> {
        let file = CString::new(file.as_os_str().as_bytes())?;
        let (line, end) = UnixStream::pair()?;
        // SAFETY: the child only calls `read_and_exit`, which allocates nothing, takes no lock and does not return: other threads of this
        // process, which the child does not have, may have been in the midst of anything.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => read_and_exit(&file, end.as_raw_fd()),
            child => Ok(Self { child, line }),
        }
    }

    /// Whether it is back before `deadline`, whatever it found. One that is not is killed, and ends when the disk lets it.
    #[must_use]
    pub fn is_back(self, deadline: Instant) -> bool {
        // A time-out of zero would be none.
        let left = deadline.saturating_duration_since(Instant::now());
        let bounded = self
            .line
            .set_read_timeout(Some(left.max(Duration::from_millis(1))));
        let is_back = bounded
            .and_then(|()| (&self.line).read_to_end(&mut Vec::new()))
            .is_ok();
        if is_back {
            // SAFETY: the child was not waited for yet, so its number is its own; no status is asked for.
            unsafe { libc::waitpid(self.child, std::ptr::null_mut(), 0) };
        } else {
            // SAFETY: this call takes no pointer, and the number is that of a child that was not waited for.
            unsafe { libc::kill(self.child, libc::SIGKILL) };
        }
        is_back
    }
}

/// What a direct read wants of its memory.
#[repr(align(4096))]
struct Page([u8; DIRECT_ALIGNMENT]);

const _: () = assert!(align_of::<Page>() >= DIRECT_ALIGNMENT);

/// The child: only calls of signal-safety(7), and close_range(2), which is a system call. Its answer is that it ends.
fn read_and_exit(file: &CStr, end: RawFd) -> ! {
    let mut page = Page([0; DIRECT_ALIGNMENT]);
    // SAFETY: this call takes no pointer.
    unsafe { libc::dup2(end, 0) };
    // SAFETY: nothing in this process uses a descriptor any more.
    unsafe { libc::close_range(1, libc::c_uint::MAX, 0) };
    // SAFETY: `file` ends with a zero byte and outlives the call.
    let mut opened = unsafe { libc::open(file.as_ptr(), libc::O_RDONLY | libc::O_DIRECT) };
    if opened < 0 {
        // SAFETY: as above. Some file systems refuse direct reads.
        opened = unsafe { libc::open(file.as_ptr(), libc::O_RDONLY) };
    }
    // SAFETY: `page` is as long as is said, and ours; a descriptor below zero is refused.
    unsafe { libc::read(opened, page.0.as_mut_ptr().cast(), page.0.len()) };
    // SAFETY: this call takes no pointer and does not return.
    unsafe { libc::_exit(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::process::Command;

    const SOON: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(30);

    /// To open it waits for a writer, of whom there is none.
    fn pipe_without_writer(folder: &Path) -> PathBuf {
        let pipe = folder.join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        pipe
    }

    #[test]
    fn who_visits_a_file_or_finds_none_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "here").unwrap();
        for path in [file, folder.path().join("none"), folder.path().to_owned()] {
            let visit = Visit::begin(&path).unwrap();
            assert!(visit.is_back(Instant::now() + LONG), "{}", path.display());
        }
    }

    #[test]
    fn who_hangs_is_not_back_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let visit = Visit::begin(&pipe_without_writer(folder.path())).unwrap();
        let begun = Instant::now();
        assert!(!visit.is_back(begun + SOON));
        assert!(begun.elapsed() >= SOON);
    }

    #[test]
    fn who_hangs_holds_nothing_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let visit = Visit::begin(&pipe_without_writer(folder.path())).unwrap();
        drop(writer);
        reader.set_read_timeout(Some(LONG)).unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        assert!(!visit.is_back(Instant::now()));
    }
}
