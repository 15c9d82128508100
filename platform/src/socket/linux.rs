//! Linux words for sockets.

use std::io;
use std::mem;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use socket2::Socket;

use super::{Path, set_option};

/// Bytes not handed to the device yet (`SIOCOUTQ` would count those that wait for an acknowledgement too).
pub(super) const UNSENT_BYTES: libc::Ioctl = libc::SIOCOUTQNSD as libc::Ioctl;

/// The option that bounds a connection's rate (Linux 3.13; more than 32 bits: 5.0).
pub(super) const MAX_PACING_RATE: libc::c_int = libc::SO_MAX_PACING_RATE;

/// Bytes per second as the option wants them; all bits set is no bound (`sk_setsockopt` in net/core/sock.c).
pub(super) fn pacing_rate(bytes_per_second: Option<NonZeroU64>) -> u64 {
    bytes_per_second.map_or(u64::MAX, NonZeroU64::get)
}

/// By the rate at which bytes were delivered, and the shortest round trip: a queue in front of a slow link is not a long path.
pub(super) fn path(info: &libc::tcp_info) -> Path {
    let round_trip = Duration::from_micros(info.tcpi_min_rtt.into());
    let bytes = u128::from(info.tcpi_delivery_rate) * round_trip.as_micros() / 1_000_000;
    Path {
        round_trip,
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    }
}

/// Takes back that its size was set.
pub(super) fn grow_send_buffer(socket: BorrowedFd<'_>) -> io::Result<()> {
    let locked: libc::c_int = 0;
    set_option(socket, libc::SOL_SOCKET, libc::SO_BUF_LOCK, &locked)
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

/// Arrival in software: when the network stack got the packet, on the core that brought it.
pub(super) fn stamp_arrivals(socket: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
    set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &flags)
}

/// `struct scm_timestamping` of linux/errqueue.h: the first is the software's, the others are a device's.
type Stamps = [libc::timespec; 3];

/// Room for a control message of [`Stamps`], aligned as its header wants.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    stamps: Stamps,
}

pub(super) fn discard_stamped(
    socket: BorrowedFd<'_>,
    most: usize,
) -> io::Result<(usize, Option<SystemTime>)> {
    let mut nowhere = libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: most,
    };
    // SAFETY: plain numbers, for which zeros are values.
    let mut control: Control = unsafe { mem::zeroed() };
    // SAFETY: numbers and null pointers.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut nowhere;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = mem::size_of::<Control>();
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: the message and what it points to live during the call; a stream socket writes no bytes with these flags.
    let gone = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let gone = usize::try_from(gone).map_err(|_| io::Error::last_os_error())?;
    let is_stamp = message.msg_controllen >= mem::size_of::<Control>()
        && (control.header.cmsg_level, control.header.cmsg_type)
            == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING);
    let [software, ..] = control.stamps;
    Ok((gone, is_stamp.then(|| moment(software)).flatten()))
}

/// `None` for zero: not noted.
fn moment(at: libc::timespec) -> Option<SystemTime> {
    let seconds = u64::try_from(at.tv_sec)
        .ok()
        .filter(|seconds| *seconds > 0)?;
    Some(UNIX_EPOCH + Duration::new(seconds, u32::try_from(at.tv_nsec).ok()?))
}

const _: () = assert!(
    mem::offset_of!(Control, stamps) == 16 && mem::size_of::<Control>() == 16 + 3 * 16,
    "a control message as CMSG_DATA and CMSG_LEN lay it out on 64 bits (cmsg(3))"
);
