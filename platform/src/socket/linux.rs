//! Linux words for sockets.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use socket2::Socket;

/// Bytes not handed to the device yet (`SIOCOUTQ` would count those that wait for an acknowledgement too).
pub(super) const UNSENT_BYTES: libc::Ioctl = libc::SIOCOUTQNSD as libc::Ioctl;

/// The option that bounds a connection's rate (Linux 3.13; more than 32 bits: 5.0).
pub(super) const MAX_PACING_RATE: libc::c_int = libc::SO_MAX_PACING_RATE;

/// Bytes per second as the option wants them; all bits set is no bound (`sk_setsockopt` in net/core/sock.c).
pub(super) fn pacing_rate(bytes_per_second: Option<NonZeroU64>) -> u64 {
    bytes_per_second.map_or(u64::MAX, NonZeroU64::get)
}

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
