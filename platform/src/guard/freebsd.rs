//! FreeBSD words for guards.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::set;

/// ip(4): `IP_MINTTL`. ip6(4) has no such option.
pub(super) fn least_ttl(socket: BorrowedFd<'_>, family: IpAddr, ttl: u32) -> io::Result<()> {
    match family {
        IpAddr::V4(_) => set(
            socket,
            libc::IPPROTO_IP,
            libc::IP_MINTTL,
            &(ttl as libc::c_int),
        ),
        IpAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// tcp(4): the option only turns signatures on; the key is in the security association, which setkey(8) makes.
pub(super) fn sign(socket: BorrowedFd<'_>, _peer: IpAddr, _key: &[u8]) -> io::Result<()> {
    let on: libc::c_int = 1;
    set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &on)
}
