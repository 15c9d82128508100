//! Guards of TCP sessions between routers: who is more than one hop away is not heard (GTSM, RFC 5082), and who does not know the
//! key neither (TCP-MD5, RFC 2385).
//!
//! Both are set before a connection is opened, or on the listening socket: a connection that is accepted has what its listener
//! had. A segment that does not pass is dropped by the kernel, so the other side sees a neighbour that does not answer.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::SockRef;

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(target_os = "linux")]
use linux as system;

/// The TTL that a neighbour's packet has if no router has forwarded it.
const DIRECT: u32 = 255;

/// The longest key, bytes (`TCP_MD5SIG_MAXKEYLEN`; setkey(8) takes as many).
pub const KEY_MAX_BYTES: usize = 80;

/// Sends with the TTL that a direct neighbour wants to see, whatever it hears: for a listener that also hears others. `family` is
/// any address of the socket's family.
///
/// # Errors
/// What the kernel says.
pub fn as_direct(socket: BorrowedFd<'_>, family: IpAddr) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    match family {
        IpAddr::V4(_) => socket.set_ttl_v4(DIRECT),
        IpAddr::V6(_) => socket.set_unicast_hops_v6(DIRECT),
    }
}

/// Sends with the TTL that only a direct neighbour can receive, and hears only what came with it. `family` is any address of the
/// socket's family.
///
/// # Errors
/// What the kernel says; `Unsupported` for IPv6 on FreeBSD, which has no such option.
pub fn only_direct(socket: BorrowedFd<'_>, family: IpAddr) -> io::Result<()> {
    as_direct(socket, family)?;
    system::least_ttl(socket, family, DIRECT)
}

/// Signs segments to `peer`, and drops those from it that are not signed, with `key` of at most [`KEY_MAX_BYTES`]. FreeBSD takes
/// the key from the security association that setkey(8) holds, not from here.
///
/// # Errors
/// What the kernel says: `InvalidInput` for a key that is too long or empty, `Unsupported` without `CONFIG_TCP_MD5SIG` (Linux) or
/// `options TCP_SIGNATURE` (FreeBSD).
pub fn sign(socket: BorrowedFd<'_>, peer: IpAddr, key: &[u8]) -> io::Result<()> {
    if key.is_empty() || key.len() > KEY_MAX_BYTES {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    system::sign(socket, peer, key)
}

/// Sets one option to `value`.
fn set<T>(socket: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: `value` is valid for the length that is given, and only read, during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::os::fd::AsFd;
    use std::time::Duration;

    fn socket(address: &str) -> (Socket, SocketAddr) {
        let address: SocketAddr = address.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        (socket, address)
    }

    fn listener(address: &str, guard: impl Fn(BorrowedFd<'_>, IpAddr)) -> TcpListener {
        let (socket, address) = socket(address);
        guard(socket.as_fd(), address.ip());
        socket.bind(&address.into()).unwrap();
        socket.listen(8).unwrap();
        socket.into()
    }

    /// Whether a connection through both guards comes about, and carries a byte.
    fn talks(
        address: &str,
        theirs: impl Fn(BorrowedFd<'_>, IpAddr),
        ours: impl Fn(BorrowedFd<'_>, IpAddr),
    ) -> bool {
        let listener = listener(address, theirs);
        let (socket, address) = socket(address);
        ours(socket.as_fd(), address.ip());
        let remote = listener.local_addr().unwrap().into();
        if socket
            .connect_timeout(&remote, Duration::from_secs(2))
            .is_err()
        {
            return false;
        }
        let (mut accepted, _) = listener.accept().unwrap();
        accepted
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let mut byte = [0];
        (&socket).write_all(&[7]).is_ok() && accepted.read_exact(&mut byte).is_ok()
    }

    fn signed(key: &'static str) -> impl Fn(BorrowedFd<'_>, IpAddr) {
        move |socket, address| sign(socket, address, key.as_bytes()).unwrap()
    }

    fn direct(socket: BorrowedFd<'_>, address: IpAddr) {
        only_direct(socket, address).unwrap();
    }

    fn unguarded(_: BorrowedFd<'_>, _: IpAddr) {}

    #[test]
    fn a_key_opens_only_to_the_same_key() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            assert!(
                talks(address, signed("secret"), signed("secret")),
                "{address}"
            );
            assert!(
                !talks(address, signed("secret"), signed("other")),
                "{address}"
            );
            assert!(!talks(address, signed("secret"), unguarded), "{address}");
        }
    }

    #[test]
    fn who_does_not_send_with_the_whole_ttl_is_not_heard() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            assert!(talks(address, direct, direct), "{address}");
            assert!(!talks(address, direct, unguarded), "{address}");
        }
    }

    #[test]
    fn a_key_without_a_byte_or_with_too_many_is_refused() {
        let (socket, address) = socket("127.0.0.1:0");
        for key in [&[][..], &[1; KEY_MAX_BYTES + 1]] {
            let error = sign(socket.as_fd(), address.ip(), key).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
