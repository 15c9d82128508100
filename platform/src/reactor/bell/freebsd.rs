//! An `EVFILT_USER` event of the reactor's own kqueue, cleared as it is reported.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::reactor::readiness::kqueue::{apply, change, kernel};

/// The only user event of a reactor. It is recognised by its filter: a trigger overwrites `udata`.
const IDENTIFIER: usize = 0;

#[derive(Debug)]
pub(crate) struct Bell {
    /// A duplicate of the kqueue's descriptor: a waker may outlive the reactor.
    kqueue: OwnedFd,
}

impl Bell {
    /// Registers the event in `kqueue`.
    pub(crate) fn new(kqueue: OwnedFd) -> io::Result<Self> {
        let flags = kernel::EV_ADD | kernel::EV_CLEAR;
        apply(
            kqueue.as_raw_fd(),
            &[change(IDENTIFIER, kernel::EVFILT_USER, flags, 0)],
        )?;
        Ok(Self { kqueue })
    }

    pub(crate) fn ring(&self) {
        let mut event = change(IDENTIFIER, kernel::EVFILT_USER, 0, 0);
        event.fflags = kernel::NOTE_TRIGGER;
        // Fails only if the kqueue is gone, and then nobody sleeps in it.
        let _ = apply(self.kqueue.as_raw_fd(), &[event]);
    }
}
