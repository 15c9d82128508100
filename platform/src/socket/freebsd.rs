//! FreeBSD words for sockets.

use std::io;

use socket2::Socket;

/// Bytes in the send queue: there is no word for those among them that were never sent.
pub(super) const UNSENT_BYTES: libc::c_ulong = libc::FIONWRITE;

/// Plain `SO_REUSEPORT` would give all connections to the listener that came last.
pub(super) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port_lb(true)
}

/// A resource limit as a plain number.
pub(super) fn limit(limit: libc::rlim_t) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}
