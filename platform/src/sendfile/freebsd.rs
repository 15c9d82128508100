//! `sendfile(2)` with the head in `sf_hdtr`: one call.
//!
//! `SF_NODISKIO`: a page that is not in memory ends the call with `EBUSY` instead of starting a read.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::{FilePiece, More, Progress};

// As in platform/freebsd-headers.c.
const _: () = assert!(size_of::<libc::sf_hdtr>() == 32 && offset_of!(libc::sf_hdtr, hdr_cnt) == 8);
const _: () = assert!(libc::SF_NODISKIO == 1);

/// There is no `MSG_MORE`; `TCP_NOPUSH` would cost a call each way.
pub(super) fn more_flag(_: More) -> i32 {
    0
}

pub(super) fn send_head_and_file(
    socket: BorrowedFd<'_>,
    head: &[u8],
    piece: FilePiece<'_>,
) -> io::Result<Progress> {
    let start = i64::try_from(piece.offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut header = libc::iovec {
        iov_base: head.as_ptr().cast_mut().cast(),
        iov_len: head.len(),
    };
    let mut headers = libc::sf_hdtr {
        headers: &mut header,
        hdr_cnt: 1,
        trailers: ptr::null_mut(),
        trl_cnt: 0,
    };
    let headers = if head.is_empty() {
        ptr::null_mut()
    } else {
        ptr::from_mut(&mut headers)
    };
    loop {
        let mut sent: libc::off_t = 0;
        // SAFETY: `headers` is null or points at `header` and so at `head`, all alive during the call, which
        // only reads them; `sent` is writable; both descriptors are borrowed for the call.
        let result = unsafe {
            libc::sendfile(
                piece.file.as_raw_fd(),
                socket.as_raw_fd(),
                start,
                piece.length,
                headers,
                &mut sent,
                libc::SF_NODISKIO,
            )
        };
        let error = io::Error::last_os_error();
        match (result, usize::try_from(sent).unwrap_or(0)) {
            (0, sent) if sent == head.len() => return Err(io::ErrorKind::UnexpectedEof.into()),
            (0, sent) => return Ok(progress(head, sent)),
            // `sent` counts the head too. A short count comes with EAGAIN, EINTR or EBUSY.
            (_, sent) if sent > 0 && is_pause(&error) => return Ok(progress(head, sent)),
            (_, _) if error.kind() == io::ErrorKind::Interrupted => {}
            (_, _) => return Err(error),
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ResourceBusy
    )
}

fn progress(head: &[u8], sent: usize) -> Progress {
    let of_head = sent.min(head.len());
    Progress {
        head: of_head,
        body: sent - of_head,
    }
}
