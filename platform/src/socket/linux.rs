//! Linux words for sockets.

use std::io;

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
