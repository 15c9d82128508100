//! Values by prefix, found by longest match: a hash table for each length that occurs. At most 33 or 129 of them are asked; of the
//! routes of the Internet about 25 and 40, some 50 ns each when they are in no cache.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::bgp::{Family, Prefix};

/// The map. Cost: about 50 bytes for each prefix.
#[derive(Debug, Clone)]
pub struct PrefixMap<V> {
    families: [Vec<Level<V>>; 2],
    len: usize,
}

/// The prefixes of one length, by their bits from the left.
#[derive(Debug, Clone)]
struct Level<V> {
    length: u8,
    values: HashMap<u128, V>,
}

impl<V> Default for PrefixMap<V> {
    fn default() -> Self {
        Self {
            families: [Vec::new(), Vec::new()],
            len: 0,
        }
    }
}

impl<V> PrefixMap<V> {
    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of exactly this prefix, made by `new` if there is none.
    pub fn entry(&mut self, prefix: Prefix, new: impl FnOnce() -> V) -> &mut V {
        let levels = &mut self.families[prefix.family() as usize];
        let at = levels.partition_point(|level| level.length > prefix.length());
        if levels
            .get(at)
            .is_none_or(|level| level.length != prefix.length())
        {
            let values = HashMap::new();
            let length = prefix.length();
            levels.insert(at, Level { length, values });
        }
        let len = &mut self.len;
        let entry = levels[at].values.entry(bits(prefix.address()));
        entry.or_insert_with(|| {
            *len += 1;
            new()
        })
    }

    /// The values of all prefixes that cover `prefix`, with their lengths, the longest first.
    pub fn covering(&self, prefix: Prefix) -> impl Iterator<Item = (u8, &V)> {
        let bits = bits(prefix.address());
        let levels = self.families[prefix.family() as usize].iter();
        let long_enough = levels.skip_while(move |level| level.length > prefix.length());
        long_enough.filter_map(move |level| {
            let value = level.values.get(&(bits & mask(level.length)))?;
            Some((level.length, value))
        })
    }

    /// The value of the longest prefix that `address` lies in.
    #[must_use]
    pub fn longest(&self, address: IpAddr) -> Option<&V> {
        self.covering(host(address)).next().map(|(_, value)| value)
    }
}

/// The prefix of one address.
pub(super) fn host(address: IpAddr) -> Prefix {
    let length = Family::of(address).bits();
    Prefix::of(address, length).expect("the length is that of its addresses")
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_match_comes_first_and_families_do_not_mix() {
        let mut map = PrefixMap::default();
        for text in [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "::/0",
            "2001:db8::/32",
        ] {
            assert_eq!(map.entry(prefix(text), || text), &text);
        }
        assert_eq!(map.len(), 5);
        let of = |address: &str| -> Vec<&str> {
            let address = host(address.parse().unwrap());
            map.covering(address).map(|(_, text)| *text).collect()
        };
        assert_eq!(of("10.1.2.3"), ["10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]);
        assert_eq!(of("11.0.0.0"), ["0.0.0.0/0"]);
        assert_eq!(of("2001:db8::1"), ["2001:db8::/32", "::/0"]);
        let of_prefix: Vec<u8> = map.covering(prefix("10.0.0.0/12")).map(|it| it.0).collect();
        assert_eq!(of_prefix, [8, 0]);
        assert_eq!(map.longest("2001:db9::".parse().unwrap()), Some(&"::/0"));
    }

    proptest! {
        #[test]
        fn it_finds_what_a_search_through_all_finds(
            prefixes in proptest::collection::vec((any::<u32>(), 0_u8..=32), 0..60),
            address in any::<u32>(),
        ) {
            let of = |address: u32, length| Prefix::of(IpAddr::V4(address.into()), length).unwrap();
            let prefixes: Vec<Prefix> = prefixes.into_iter().map(|(it, length)| of(it, length)).collect();
            let mut map = PrefixMap::default();
            for prefix in &prefixes {
                map.entry(*prefix, || *prefix);
            }
            let address = of(address, 32);
            let mut expected: Vec<Prefix> = prefixes.into_iter().filter(|it| it.covers(address)).collect();
            expected.sort_by_key(|prefix| std::cmp::Reverse(prefix.length()));
            expected.dedup();
            let found: Vec<Prefix> = map.covering(address).map(|(_, prefix)| *prefix).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
