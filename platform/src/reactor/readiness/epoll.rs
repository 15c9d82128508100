//! The table of words for epoll(7).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use super::Readiness;
use crate::reactor::bell::Bell;
use crate::reactor::limits::READINESS_BATCH;
use crate::reactor::tag::Tag;

pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just handed us this descriptor; nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; READINESS_BATCH];
        Ok(Self { epoll, events })
    }

    pub(crate) fn bell(&self) -> io::Result<Bell> {
        Bell::new()
    }

    pub(crate) fn watch_bell(&self, bell: &Bell) -> io::Result<()> {
        self.add(bell.as_fd().as_raw_fd(), libc::EPOLLIN, Tag::Bell.to_bits())
    }

    /// Watches `descriptor` in both directions, edge-triggered, until it is closed.
    pub(crate) fn register(&self, descriptor: RawFd, key: u64) -> io::Result<()> {
        let both = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP;
        self.add(descriptor, both, key)
    }

    fn add(&self, descriptor: RawFd, interest: i32, key: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: (interest | libc::EPOLLET) as u32,
            u64: key,
        };
        // SAFETY: `event` is valid during the call; the kernel copies it.
        let result = unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                descriptor,
                &mut event,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Waits at most `timeout`, rounded up to a millisecond; how many `readiness` can be asked for. A
    /// signal ends the wait early with none.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        // SAFETY: `events` is writable for as many entries as are told, during the call.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                timeout.map_or(-1, milliseconds),
            )
        };
        counted(count.into())
    }

    /// [`wait`](Self::wait), not rounded; since Linux 5.11 (`epoll_pwait2(2)`).
    pub(crate) fn wait_exactly(&mut self, timeout: Duration) -> io::Result<usize> {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: `events` is writable for as many entries as are told and `timeout` readable, both during the call; no signal mask is given.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                &raw const timeout,
                ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        counted(count)
    }

    /// The `number`th answer of the last wait.
    pub(crate) fn readiness(&self, number: usize) -> Readiness {
        let event = self.events[number];
        let has = |bits: i32| event.events & bits as u32 != 0;
        Readiness {
            key: event.u64,
            readable: has(libc::EPOLLIN),
            writable: has(libc::EPOLLOUT),
            ending: has(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR),
        }
    }
}

/// What a wait has returned. A signal ends it early with none.
fn counted(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).or_else(|_| match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        error => Err(error),
    })
}

fn milliseconds(timeout: Duration) -> i32 {
    timeout
        .as_nanos()
        .div_ceil(1_000_000)
        .try_into()
        .unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_cut_short_by_rounding() {
        for (timeout, expected) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(100), 100),
            (Duration::MAX, i32::MAX),
        ] {
            assert_eq!(milliseconds(timeout), expected);
        }
    }
}
