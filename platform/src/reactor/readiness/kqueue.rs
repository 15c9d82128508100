//! The table of words for kqueue(2).
//!
//! On Linux, where only its tests use it, a table of our own plays the kernel.

#[cfg(not(target_os = "freebsd"))]
pub(crate) mod fake;

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

#[cfg(not(target_os = "freebsd"))]
pub(crate) use fake as kernel;
#[cfg(target_os = "freebsd")]
pub(crate) use libc as kernel;

use super::Readiness;
use crate::reactor::bell::freebsd::Bell;
use crate::reactor::limits::READINESS_BATCH;
use crate::reactor::tag::Tag;

// As in platform/freebsd-headers.c.
const _: () = {
    assert!(size_of::<kernel::kevent>() == 64);
    assert!(offset_of!(kernel::kevent, filter) == 8 && offset_of!(kernel::kevent, flags) == 10);
    assert!(offset_of!(kernel::kevent, fflags) == 12 && offset_of!(kernel::kevent, data) == 16);
    assert!(offset_of!(kernel::kevent, udata) == 24 && offset_of!(kernel::kevent, ext) == 32);
};

pub(crate) struct Poller {
    kqueue: OwnedFd,
    events: Vec<kernel::kevent>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no arguments.
        let kqueue = unsafe { kernel::kqueue() };
        if kqueue < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just handed us this descriptor; nobody else owns it.
        let kqueue = unsafe { OwnedFd::from_raw_fd(kqueue) };
        // fork() does not hand on a kqueue, exec() would.
        // SAFETY: the descriptor is ours; F_SETFD takes an integer.
        let set = unsafe { libc::fcntl(kqueue.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        if set < 0 {
            return Err(io::Error::last_os_error());
        }
        let events = vec![change(0, 0, 0, 0); READINESS_BATCH];
        Ok(Self { kqueue, events })
    }

    pub(crate) fn bell(&self) -> io::Result<Bell> {
        Bell::new(self.kqueue.try_clone()?)
    }

    /// The bell is part of the kqueue already.
    pub(crate) fn watch_bell(&self, _: &Bell) -> io::Result<()> {
        Ok(())
    }

    /// Watches `descriptor` in both directions, edge-triggered, until it is closed. (`EVFILT_WRITE` on a
    /// listening socket is accepted and never fires.)
    pub(crate) fn register(&self, descriptor: RawFd, key: u64) -> io::Result<()> {
        let flags = kernel::EV_ADD | kernel::EV_CLEAR;
        let identifier = descriptor as usize;
        let changes = [
            change(identifier, kernel::EVFILT_READ, flags, key),
            change(identifier, kernel::EVFILT_WRITE, flags, key),
        ];
        apply(self.kqueue.as_raw_fd(), &changes)
    }

    /// Waits at most `timeout`; how many `readiness` can be asked for. A signal ends the wait early with none.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(timespec);
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: no changes; `events` is writable for as many entries as are told and `timeout` is null
        // or points at a value of this frame, both during the call.
        let count = unsafe {
            kernel::kevent(
                self.kqueue.as_raw_fd(),
                ptr::null(),
                0,
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                timeout,
            )
        };
        if count >= 0 {
            return Ok(count as usize);
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            error => Err(error),
        }
    }

    /// [`wait`](Self::wait), which is exact here.
    pub(crate) fn wait_exactly(&mut self, timeout: Duration) -> io::Result<usize> {
        self.wait(Some(timeout))
    }

    /// The `number`th answer of the last wait.
    pub(crate) fn readiness(&self, number: usize) -> Readiness {
        let event = &self.events[number];
        let is_bell = event.filter == kernel::EVFILT_USER;
        Readiness {
            key: if is_bell {
                Tag::Bell.to_bits()
            } else {
                event.udata as u64
            },
            readable: event.filter == kernel::EVFILT_READ,
            writable: event.filter == kernel::EVFILT_WRITE,
            ending: event.flags & (kernel::EV_EOF | kernel::EV_ERROR) != 0,
        }
    }
}

/// One entry of a change list; `key` comes back in `udata`.
pub(crate) fn change(identifier: usize, filter: i16, flags: u16, key: u64) -> kernel::kevent {
    kernel::kevent {
        ident: identifier,
        filter,
        flags,
        fflags: 0,
        data: 0,
        udata: key as usize as *mut libc::c_void,
        ext: [0; 4],
    }
}

/// Makes `changes` without waiting. Errors: of the first change that fails.
pub(crate) fn apply(kqueue: RawFd, changes: &[kernel::kevent]) -> io::Result<()> {
    // SAFETY: `changes` is valid for its length during the call; there is no room for events, so an error
    // of a change is the result of the call.
    let result = unsafe {
        kernel::kevent(
            kqueue,
            changes.as_ptr(),
            changes.len() as i32,
            ptr::null_mut(),
            0,
            ptr::null(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    }
}

#[cfg(all(test, not(target_os = "freebsd")))]
mod tests;
