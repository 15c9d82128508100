//! Address families and prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address family, for unicast: (AFI, SAFI) = (1, 1) or (2, 1) of RFC 4760.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Self::Ipv4
        } else {
            Self::Ipv6
        }
    }

    /// The word in metrics and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// Bits of an address.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }

    pub(super) fn afi(self) -> u16 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv6 => 2,
        }
    }

    /// The family and a number of prefixes, as RFC 4486 section 4 wants them.
    pub(super) fn limit(self, prefixes: u32) -> Vec<u8> {
        let [high, low] = self.afi().to_be_bytes();
        [&[high, low, UNICAST], &prefixes.to_be_bytes()[..]].concat()
    }

    /// `None`: not unicast, or another protocol.
    pub(super) fn from_wire(afi: u16, safi: u8) -> Option<Self> {
        let families = Self::ALL.into_iter();
        families
            .filter(|_| safi == UNICAST)
            .find(|it| it.afi() == afi)
    }
}

/// The SAFI of unicast.
pub(super) const UNICAST: u8 = 1;

/// Addresses that begin with the same bits. The other bits are 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of `length` bits that `address` lies in; `None` if an address has fewer bits.
    #[must_use]
    pub fn of(address: IpAddr, length: u8) -> Option<Self> {
        (length <= Family::of(address).bits()).then(|| Self {
            address: masked(address, length),
            length,
        })
    }

    /// The first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits count.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }

    /// Its family.
    #[must_use]
    pub fn family(self) -> Family {
        Family::of(self.address)
    }

    /// Whether all of `other` lies in it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.family() == other.family()
            && self.length <= other.length
            && masked(other.address, self.length) == self.address
    }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.address, self.length))
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not an address, a slash and a length with no bits set behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAPrefix;

impl FromStr for Prefix {
    type Err = NotAPrefix;

    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        let (address, length) = text.split_once('/').ok_or(NotAPrefix)?;
        let address = address.parse().map_err(|_| NotAPrefix)?;
        let prefix = Self::of(address, length.parse().map_err(|_| NotAPrefix)?);
        prefix.filter(|it| it.address == address).ok_or(NotAPrefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_masked_and_compared() {
        let of = |text: &str| text.parse::<Prefix>();
        for text in [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "192.0.2.1/32",
            "::/0",
            "2001:db8::/32",
        ] {
            assert_eq!(of(text).unwrap().to_string(), text);
        }
        for text in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0",
            "::/129",
            "/8",
            "x/8",
        ] {
            assert_eq!(of(text), Err(NotAPrefix), "{text}");
        }
        let all = of("0.0.0.0/0").unwrap();
        let one = of("192.0.2.1/32").unwrap();
        assert!(all.covers(one) && !one.covers(all) && one.covers(one));
        assert!(!of("::/0").unwrap().covers(one));
        assert_eq!(
            Prefix::of("192.0.2.255".parse().unwrap(), 25),
            of("192.0.2.128/25").ok()
        );
    }
}
