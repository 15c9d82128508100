//! Messages between two processes of this system, with open descriptors in them (`SCM_RIGHTS` of unix(7)): each arrives whole, and the end
//! of the other process is seen as the end of the messages.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// The most descriptors in one message. Linux takes 253.
pub const DESCRIPTORS: usize = 64;

/// The longest message, in bytes.
pub const MESSAGE_BYTES: usize = 4096;

/// Room for the descriptors and the head before them, aligned as the head is. Cost: on the stack of a call.
type Rights = [u64; 64];

const _: () = assert!(size_of::<Rights>() >= DESCRIPTORS * size_of::<RawFd>() + 64);

/// One end of a pair.
#[derive(Debug)]
pub struct Messages {
    socket: OwnedFd,
}

impl Messages {
    /// Two ends. Neither goes on into programs that this process starts, unless it is made their standard input.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        let end = |socket: Socket| Self {
            socket: socket.into(),
        };
        Ok((end(one), end(other)))
    }

    /// The end that this process was started with.
    ///
    /// # Errors
    /// If its standard input is something else.
    pub fn of_standard_input() -> io::Result<Self> {
        Self::try_from(io::stdin().as_fd().try_clone_to_owned()?)
    }

    /// Whether a call waits. It holds for all copies of this end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        SockRef::from(&self.socket).set_nonblocking(nonblocking)
    }

    /// How long [`Messages::receive`] waits.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        SockRef::from(&self.socket).set_read_timeout(Some(patience))
    }

    /// Another name for this end.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self { socket })
    }

    /// Sends `message`, which is not empty, with copies of at most [`DESCRIPTORS`] `descriptors`.
    ///
    /// # Errors
    /// `InvalidInput` if there are more, or if the message is empty or longer than [`MESSAGE_BYTES`]; what the kernel says, as when the
    /// other end is gone.
    pub fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if message.is_empty() || message.len() > MESSAGE_BYTES || descriptors.len() > DESCRIPTORS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut part = libc::iovec {
            iov_base: message.as_ptr().cast_mut().cast(),
            iov_len: message.len(),
        };
        let mut rights: Rights = [0; 64];
        let mut header = header(&mut part);
        if !descriptors.is_empty() {
            enclose(descriptors, &mut rights, &mut header);
        }
        // SAFETY: the header names one part and the rights, all of them alive and unmoved during the call, which only reads them.
        let sent = unsafe {
            libc::sendmsg(
                self.socket.as_raw_fd(),
                &raw const header,
                libc::MSG_NOSIGNAL,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The next message and what came with it; `None` once the other end is gone.
    ///
    /// # Errors
    /// `InvalidData` if it is longer, or brings more descriptors, than may be sent; `WouldBlock` if none has come; what the kernel says.
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut message = vec![0; MESSAGE_BYTES];
        let mut part = libc::iovec {
            iov_base: message.as_mut_ptr().cast(),
            iov_len: message.len(),
        };
        let mut rights: Rights = [0; 64];
        let mut header = header(&mut part);
        header.msg_control = rights.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&rights) as _;
        // SAFETY: the header names one part and the rights, all of them alive, unmoved and writable during the call.
        let received = unsafe {
            libc::recvmsg(
                self.socket.as_raw_fd(),
                &raw mut header,
                libc::MSG_CMSG_CLOEXEC,
            )
        };
        let Ok(received) = usize::try_from(received) else {
            return Err(io::Error::last_os_error());
        };
        let descriptors = enclosed(&header);
        if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        message.truncate(received);
        Ok((received > 0).then_some((message, descriptors)))
    }
}

impl AsFd for Messages {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Messages {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<Messages> for OwnedFd {
    fn from(messages: Messages) -> Self {
        messages.socket
    }
}

/// Refuses what is no such end.
impl TryFrom<OwnedFd> for Messages {
    type Error = io::Error;

    fn try_from(socket: OwnedFd) -> io::Result<Self> {
        match SockRef::from(&socket).r#type()? {
            Type::SEQPACKET => Ok(Self { socket }),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

fn header(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: a `msghdr` is integers and pointers, and may be all zero.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header
}

/// Puts `descriptors` into `rights`, and `rights` into `header`.
fn enclose(descriptors: &[BorrowedFd<'_>], rights: &mut Rights, header: &mut libc::msghdr) {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let bytes = size_of_val(raw.as_slice()) as libc::c_uint;
    header.msg_control = rights.as_mut_ptr().cast();
    // SAFETY: it only computes.
    header.msg_controllen = unsafe { libc::CMSG_SPACE(bytes) } as _;
    // SAFETY: the header names `rights`, which has room for one head.
    let first = unsafe { libc::CMSG_FIRSTHDR(header) };
    let head = libc::cmsghdr {
        // SAFETY: it only computes.
        cmsg_len: unsafe { libc::CMSG_LEN(bytes) } as _,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    // SAFETY: `first` is the beginning of `rights`, which is writable, aligned for a head and larger than one.
    unsafe { first.write(head) };
    // SAFETY: `first` is a whole head.
    let data = unsafe { libc::CMSG_DATA(first) };
    // SAFETY: by the assertion at `Rights`, `bytes` bytes behind the head lie in it.
    unsafe { ptr::copy_nonoverlapping(raw.as_ptr().cast(), data, bytes as usize) };
}

/// Takes the descriptors out of what a call has put into `header`.
fn enclosed(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has filled what the header names, and said how much of it.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: `at` is null or a whole head in what the kernel has filled.
    while let Some(head) = unsafe { at.as_ref() } {
        if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: it only computes.
            let empty = unsafe { libc::CMSG_LEN(0) } as usize;
            #[allow(clippy::unnecessary_cast, reason = "FreeBSD has it as 32 bits")]
            let count = (head.cmsg_len as usize - empty) / size_of::<RawFd>();
            // SAFETY: `at` is a whole head.
            let data = unsafe { libc::CMSG_DATA(at) }.cast::<RawFd>();
            for place in 0..count {
                // SAFETY: the head says that so many lie behind it.
                let from = unsafe { data.add(place) };
                // SAFETY: the kernel has put a descriptor there, aligned or not.
                let raw = unsafe { from.read_unaligned() };
                // SAFETY: the kernel has just opened it for this process; nobody else knows it.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(raw) });
            }
        }
        // SAFETY: `at` is a head in what the header names.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
    descriptors
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_listening_socket_outlives_who_made_it() {
        let (ours, theirs) = Messages::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut viewer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        viewer.write_all(b"early").unwrap();
        ours.send(b"here", &[listener.as_fd()]).unwrap();
        drop(listener);
        let (message, mut descriptors) = theirs.receive().unwrap().unwrap();
        assert_eq!((message.as_slice(), descriptors.len()), (&b"here"[..], 1));
        let listener = TcpListener::from(descriptors.remove(0));
        let (mut connection, _) = listener.accept().unwrap();
        let mut heard = [0; 5];
        connection.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"early");
    }

    #[test]
    fn messages_stay_apart_and_end_with_the_other_side() {
        let (ours, theirs) = Messages::pair().unwrap();
        let many = vec![ours.as_fd(); DESCRIPTORS];
        theirs.send(b"one", &[]).unwrap();
        theirs.send(&[7; MESSAGE_BYTES], &many).unwrap();
        for wrong in [&b""[..], &[0; MESSAGE_BYTES + 1]] {
            let refused = theirs.send(wrong, &[]).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
        drop(theirs);
        assert_eq!(ours.receive().unwrap().unwrap().0, b"one");
        let (message, descriptors) = ours.receive().unwrap().unwrap();
        assert_eq!(
            (message.len(), descriptors.len()),
            (MESSAGE_BYTES, DESCRIPTORS)
        );
        assert!(ours.receive().unwrap().is_none());
        assert!(ours.send(b"anybody?", &[]).is_err());
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (ours, _theirs) = Messages::pair().unwrap();
        ours.set_patience(Duration::from_millis(1)).unwrap();
        let waited = ours.receive().unwrap_err();
        assert_eq!(waited.kind(), io::ErrorKind::WouldBlock);
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(Messages::try_from(file).is_err());
    }
}
