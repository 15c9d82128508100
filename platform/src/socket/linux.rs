//! Linux words for sockets.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use socket2::Socket;

/// Bytes not handed to the device yet (`SIOCOUTQ` would count those that wait for an acknowledgement too).
pub(super) const UNSENT_BYTES: libc::Ioctl = libc::SIOCOUTQNSD as libc::Ioctl;

/// Every listener of the port gets its share of new connections.
pub(super) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// A resource limit as a plain number.
pub(super) fn limit(limit: libc::rlim_t) -> u64 {
    limit
}

/// tcp(7): with `MSG_TRUNC`, "the received bytes are discarded, rather than passed back in a caller-supplied buffer".
pub(super) fn discard(socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: a stream socket writes nothing to the buffer with these flags, so there need not be one.
    let gone = unsafe { libc::recv(socket.as_raw_fd(), ptr::null_mut(), most, flags) };
    usize::try_from(gone).map_err(|_| io::Error::last_os_error())
}
