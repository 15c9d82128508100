//! The table of words for kqueue(2).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use super::Readiness;
use crate::reactor::bell::Bell;
use crate::reactor::limits::READINESS_BATCH;
use crate::reactor::tag::Tag;

pub(crate) struct Poller {
    kqueue: OwnedFd,
    events: Vec<libc::kevent>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no arguments.
        let kqueue = unsafe { libc::kqueue() };
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
        let flags = libc::EV_ADD | libc::EV_CLEAR;
        let identifier = descriptor as usize;
        let changes = [
            change(identifier, libc::EVFILT_READ, flags, key),
            change(identifier, libc::EVFILT_WRITE, flags, key),
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
            libc::kevent(
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
        let is_bell = event.filter == libc::EVFILT_USER;
        Readiness {
            key: if is_bell {
                Tag::Bell.to_bits()
            } else {
                event.udata as u64
            },
            readable: event.filter == libc::EVFILT_READ,
            writable: event.filter == libc::EVFILT_WRITE,
            ending: event.flags & (libc::EV_EOF | libc::EV_ERROR) != 0,
        }
    }
}

/// One entry of a change list; `key` comes back in `udata`.
pub(crate) fn change(identifier: usize, filter: i16, flags: u16, key: u64) -> libc::kevent {
    libc::kevent {
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
pub(crate) fn apply(kqueue: RawFd, changes: &[libc::kevent]) -> io::Result<()> {
    // SAFETY: `changes` is valid for its length during the call; there is no room for events, so an error
    // of a change is the result of the call.
    let result = unsafe {
        libc::kevent(
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
