//! `getifaddrs(3)`: the entry of an interface itself is of the family `AF_LINK`, and carries its `struct if_data`. Type-checked only.

use std::io;
use std::mem::offset_of;

use super::Interface;
use super::addresses::{Entries, family, name};

/// `LINK_STATE_DOWN` of net/if.h. Interfaces that do not know of links say 0.
const LINK_STATE_DOWN: u8 = 1;

// As in platform/freebsd-headers.c.
const _: () = {
    assert!(size_of::<libc::if_data>() == 152);
    assert!(offset_of!(libc::if_data, ifi_link_state) == 4);
    assert!(offset_of!(libc::if_data, ifi_baudrate) == 16);
    assert!(offset_of!(libc::if_data, ifi_ipackets) == 24);
};

pub(super) fn interfaces(entries: &Entries) -> io::Result<Vec<Interface>> {
    let links = entries
        .iter()
        .filter(|it| family(it) == Some(libc::AF_LINK));
    Ok(links.filter_map(interface).collect())
}

/// A device and what the kernel makes up (`lagg0`, `vlan5`) cannot be told apart here; all but loopback counts as hardware, and
/// what lies on what is not known, so `steering.interfaces` should name those that serve.
fn interface(entry: &libc::ifaddrs) -> Option<Interface> {
    let data = entry.ifa_data.cast::<libc::if_data>();
    if data.is_null() {
        return None;
    }
    // SAFETY: not null, and of this type in an entry of this family; it lives as long as the list.
    let data = unsafe { data.read_unaligned() };
    let flag = |flag: libc::c_int| entry.ifa_flags & flag.unsigned_abs() != 0;
    let has_link = flag(libc::IFF_UP) && data.ifi_link_state != LINK_STATE_DOWN;
    let is_hardware = !flag(libc::IFF_LOOPBACK);
    Some(Interface {
        name: name(entry),
        has_link,
        speed: Some(data.ifi_baudrate).filter(|speed| has_link && is_hardware && *speed > 0),
        is_hardware,
        packets: data.ifi_ipackets + data.ifi_opackets,
        errors: data.ifi_ierrors + data.ifi_oerrors,
        ..Interface::default()
    })
}
