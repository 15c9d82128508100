//! `send(MSG_MORE)` for the head, `sendfile(2)` for the file: two calls, one segment.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{FilePiece, More, Progress, send, uninterrupted};

pub(super) fn more_flag(more: More) -> i32 {
    match more {
        More::Yes => libc::MSG_MORE,
        More::No => 0,
    }
}

pub(super) fn send_head_and_file(
    socket: BorrowedFd<'_>,
    head: &[u8],
    piece: FilePiece<'_>,
) -> io::Result<Progress> {
    if head.is_empty() {
        let body = send_file(socket, piece)?;
        return Ok(Progress { head: 0, body });
    }
    let sent = send(socket, head, More::Yes)?;
    let partly = Progress {
        head: sent,
        body: 0,
    };
    if sent < head.len() {
        return Ok(partly);
    }
    match send_file(socket, piece) {
        Ok(body) => Ok(Progress { body, ..partly }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(partly),
        Err(error) => Err(error),
    }
}

/// `sendfile(2)` has no flags: whether it waits is up to the socket's `O_NONBLOCK`. It takes at most
/// 0x7ffff000 bytes at a time, which is a short count like any other.
fn send_file(socket: BorrowedFd<'_>, piece: FilePiece<'_>) -> io::Result<usize> {
    let start = i64::try_from(piece.offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let sent = uninterrupted(|| {
        let mut offset = start;
        // SAFETY: `offset` is valid during the call; both descriptors are borrowed for it.
        let sent = unsafe {
            libc::sendfile(
                socket.as_raw_fd(),
                piece.file.as_raw_fd(),
                &mut offset,
                piece.length,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    })?;
    match sent {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        sent => Ok(sent),
    }
}
