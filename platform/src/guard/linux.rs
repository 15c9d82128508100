//! Linux words for guards.

use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use socket2::SockAddr;

use super::{KEY_MAX_BYTES, set};

/// `struct tcp_md5sig` of linux/tcp.h, which `libc` does not have.
#[repr(C)]
struct Md5Signature {
    address: libc::sockaddr_storage,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: libc::c_int,
    key: [u8; KEY_MAX_BYTES],
}

const _: () = {
    assert!(size_of::<Md5Signature>() == 216);
    assert!(offset_of!(Md5Signature, flags) == 128 && offset_of!(Md5Signature, key_length) == 130);
    assert!(offset_of!(Md5Signature, interface) == 132 && offset_of!(Md5Signature, key) == 136);
};

/// tcp(7), ip(7): `IP_MINTTL` since Linux 2.6.34, `IPV6_MINHOPCOUNT` since 2.6.35.
pub(super) fn least_ttl(socket: BorrowedFd<'_>, family: IpAddr, ttl: u32) -> io::Result<()> {
    let ttl = ttl as libc::c_int;
    match family {
        IpAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &ttl),
        IpAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &ttl),
    }
}

pub(super) fn sign(socket: BorrowedFd<'_>, peer: IpAddr, key: &[u8]) -> io::Result<()> {
    let mut padded = [0; KEY_MAX_BYTES];
    padded
        .get_mut(..key.len())
        .ok_or(io::ErrorKind::InvalidInput)?
        .copy_from_slice(key);
    let signature = Md5Signature {
        address: storage(peer),
        flags: 0,
        prefix_length: 0,
        key_length: key.len() as u16,
        interface: 0,
        key: padded,
    };
    set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &signature)
}

/// The address, with port 0: the kernel looks at the address alone.
fn storage(peer: IpAddr) -> libc::sockaddr_storage {
    let address = SockAddr::from(SocketAddr::new(peer, 0));
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    // SAFETY: both are valid for the length of the address, which is that of a storage at most, and do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            storage.as_mut_ptr().cast::<u8>(),
            address.len() as usize,
        );
    }
    // SAFETY: zeroes are a storage, and the bytes over them are an address of the kernel's own form.
    unsafe { storage.assume_init() }
}
