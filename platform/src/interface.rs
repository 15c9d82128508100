//! Network interfaces: which addresses they hold, whether they have a link, how fast it is, and what went wrong on it.
//!
//! On Linux from `getifaddrs(3)` and `/sys/class/net` (Documentation/ABI/testing/sysfs-class-net in the kernel's sources), on FreeBSD
//! from `getifaddrs(3)` alone: there the members of a `lagg(4)` are not read, only whether it has a link and how fast that is.
//!
//! Reading them asks drivers, which may keep the caller waiting: not for a thread that serves.

mod addresses;
#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

use std::io;
use std::net::IpAddr;

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(target_os = "linux")]
use linux as system;

use addresses::Entries;

/// One interface, just now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// As in `eth0`.
    pub name: String,
    /// The addresses on it.
    pub addresses: Vec<IpAddr>,
    /// Whether packets can leave through it: it is switched on and has a link.
    pub has_link: bool,
    /// Bits per second of its link; `None` if it does not say, as those of many virtual machines and all without a link.
    pub speed: Option<u64>,
    /// Whether a device is behind it, rather than the kernel's imagination.
    pub is_hardware: bool,
    /// Packets received and sent.
    pub packets: u64,
    /// Packets that were not, because something was wrong with them or with the link.
    pub errors: u64,
    /// What it lies on: the device of a VLAN, the ports of a bridge, the members of a bond.
    pub below: Vec<String>,
    /// If several links are one here (a bond, LACP): each of them.
    pub members: Vec<Member>,
}

/// A link that is one of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// As in `eth1`.
    pub name: String,
    /// Whether it carries its part.
    pub carries: bool,
}

/// All interfaces, in the order of their names.
///
/// # Errors
/// What the kernel says, as where `/sys` is not mounted.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let entries = Entries::read()?;
    let mut found = system::interfaces(&entries)?;
    for (name, address) in entries.addresses() {
        if let Some(interface) = found.iter_mut().find(|it| it.name == name) {
            interface.addresses.push(address);
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_with_its_address_and_without_hardware() {
        let all = interfaces().unwrap();
        let loopback = all
            .iter()
            .find(|it| it.addresses.contains(&IpAddr::from([127, 0, 0, 1])));
        let loopback = loopback.expect("a loopback interface");
        assert!(!loopback.is_hardware && loopback.speed.is_none());
        assert!(all.is_sorted_by_key(|it| &it.name));
    }
}
