//! `getifaddrs(3)`.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// What it returns; freed when dropped.
pub(super) struct Entries {
    first: *mut libc::ifaddrs,
}

impl Entries {
    pub(super) fn read() -> io::Result<Self> {
        let mut first = ptr::null_mut();
        // SAFETY: `first` is writable.
        if unsafe { libc::getifaddrs(&mut first) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { first })
    }

    /// An interface may be there many times: once for each address, and on FreeBSD once for itself.
    pub(super) fn iter(&self) -> impl Iterator<Item = &libc::ifaddrs> {
        // SAFETY: null, or the first entry of a list that lives as long as `self`.
        let first = unsafe { self.first.as_ref() };
        // SAFETY: as above, for the one after it.
        std::iter::successors(first, |entry| unsafe { entry.ifa_next.as_ref() })
    }

    /// The addresses of IPv4 and IPv6, each with its interface. An IPv4 address with a label of its own is listed by Linux
    /// under that: `eth0:1`.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (String, IpAddr)> {
        self.iter().filter_map(|entry| {
            let name = name(entry);
            let name = name.split(':').next().unwrap_or_default();
            Some((name.to_owned(), address(entry)?))
        })
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        // SAFETY: the list is ours, and nothing borrows from it any more.
        unsafe { libc::freeifaddrs(self.first) };
    }
}

pub(super) fn name(entry: &libc::ifaddrs) -> String {
    // SAFETY: each entry has a name that ends with a zero and lives as long as the list.
    let name = unsafe { CStr::from_ptr(entry.ifa_name) };
    name.to_string_lossy().into_owned()
}

/// The kind of the entry's address, if it has one at all.
pub(super) fn family(entry: &libc::ifaddrs) -> Option<i32> {
    // SAFETY: null, or an address that lives as long as the list.
    let address = unsafe { entry.ifa_addr.as_ref() }?;
    Some(i32::from(address.sa_family))
}

fn address(entry: &libc::ifaddrs) -> Option<IpAddr> {
    match family(entry)? {
        libc::AF_INET => {
            // SAFETY: an address of this family is a `sockaddr_in`; where it lies need not be aligned for one.
            let address = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, a `sockaddr_in6`.
            let address = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}
