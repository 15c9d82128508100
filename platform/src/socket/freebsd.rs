//! FreeBSD words for sockets.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use socket2::{SockRef, Socket};

use super::Path;

/// Bytes in the send queue: there is no word for those among them that were never sent.
pub(super) const UNSENT_BYTES: libc::c_ulong = libc::FIONWRITE;

/// `SO_MAX_PACING_RATE` of sys/socket.h, which `libc` does not have.
pub(super) const MAX_PACING_RATE: libc::c_int = 0x1018;

/// Bytes per second as the option wants them; 0 is no bound (`in_pcboutput_txrtlmt` in netinet/in_pcb.c).
pub(super) fn pacing_rate(bytes_per_second: Option<NonZeroU64>) -> u32 {
    bytes_per_second.map_or(0, |rate| u32::try_from(rate.get()).unwrap_or(u32::MAX))
}

/// What a send buffer may be with the system's own bound of 2 MiB for a buffer and its overhead (`kern.ipc.maxsockbuf`, setsockopt(2)).
const LARGE_SEND_BUFFER: usize = 1536 << 10;

/// By what may be under way: delivered bytes are not told.
pub(super) fn path(info: &libc::tcp_info) -> Path {
    Path {
        round_trip: Duration::from_micros(info.tcpi_rtt.into()),
        bytes: info.tcpi_snd_cwnd.min(info.tcpi_snd_wnd).into(),
    }
}

pub(super) fn grow_send_buffer(socket: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&socket).set_send_buffer_size(LARGE_SEND_BUFFER)
}

/// Plain `SO_REUSEPORT` would give all connections to the listener that came last.
pub(super) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port_lb(true)
}

/// A resource limit as a plain number.
pub(super) fn limit(limit: libc::rlim_t) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}

pub(super) fn stamp_arrivals(_: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn discard_stamped(
    socket: BorrowedFd<'_>,
    most: usize,
) -> io::Result<(usize, Option<SystemTime>)> {
    discard(socket, most).map(|gone| (gone, None))
}

/// There is no word for throwing bytes away: they are copied to where nobody looks, a piece at a time.
pub(super) fn discard(socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    let mut scratch = [0_u8; 16 * 1024];
    let room = most.min(scratch.len());
    // SAFETY: `scratch` is writable for `room` bytes, and ours during the call.
    let gone = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            scratch.as_mut_ptr().cast(),
            room,
            libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(gone).map_err(|_| io::Error::last_os_error())
}
