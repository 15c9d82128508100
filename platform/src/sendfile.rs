//! *The* primitive of a file server: send this head and this piece of file, without waiting for the socket.
//!
//! Direct calls on both systems: no completion interface carries `sendfile(2)`. Head and first bytes of the
//! file leave in the same segment: on Linux by `MSG_MORE`, on FreeBSD by `sf_hdtr`.
//!
//! Objects never change, so a retransmission cannot send other bytes than the first transmission.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(target_os = "linux")]
use linux as system;

/// Whether the caller is about to send more on the same connection, so that a segment may be left waiting
/// for it. A hint: FreeBSD, and the file part on Linux, do without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum More {
    /// More follows at once.
    Yes,
    /// This is all for now.
    No,
}

/// What a [`send_head_and_file`] got into the socket, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Of the head.
    pub head: usize,
    /// Of the piece of file; 0 unless the head went completely.
    pub body: usize,
}

/// A piece of an open file.
#[derive(Clone, Copy, Debug)]
pub struct FilePiece<'a> {
    /// Where it is.
    pub file: BorrowedFd<'a>,
    /// Its first byte.
    pub offset: u64,
    /// Its bytes.
    pub length: usize,
}

/// Sends what the non-blocking `socket` takes of `bytes`; how much that was.
///
/// Errors: `WouldBlock` if nothing fits, or the socket's error.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], more: More) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | system::more_flag(more);
    uninterrupted(|| {
        // SAFETY: `bytes` is valid for its length during the call, which does not keep it.
        let sent = unsafe {
            libc::send(
                socket.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                flags,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    })
}

/// Sends `head` and then `piece` through the non-blocking `socket`, as far as it takes them.
///
/// The bytes of the piece must be in memory: Linux would wait for the disk, FreeBSD refuses (`EBUSY`).
///
/// Errors: `WouldBlock` if nothing fits, `UnexpectedEof` if the file ends within the piece (whatever was
/// sent of it: the connection cannot be saved), or the socket's error.
pub fn send_head_and_file(
    socket: BorrowedFd<'_>,
    head: &[u8],
    piece: FilePiece<'_>,
    more: More,
) -> io::Result<Progress> {
    if piece.length == 0 {
        let head = send(socket, head, more)?;
        return Ok(Progress { head, body: 0 });
    }
    system::send_head_and_file(socket, head, piece)
}

/// Tries again as long as a signal is what ended the call.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
