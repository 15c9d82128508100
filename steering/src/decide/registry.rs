//! Which prefixes an operator's appliances may ask viewers of: only those registered for him, and not what a router tells beyond
//! them. A prefix within his own that somebody else has registered more closely is a leak: by longest match it would take that
//! one's viewers away.

use super::prefix_map::PrefixMap;
use super::routes::Route;
use crate::bgp::Prefix;
use crate::bgp::learned::is_martian;

/// An operator of appliances, by its place in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperatorId(pub u16);

/// The prefixes of all operators.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    operators: Vec<Vec<Prefix>>,
    owners: PrefixMap<Vec<OperatorId>>,
}

/// Why a route is listed and not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unused {
    /// All addresses.
    Default,
    /// Addresses that no viewer can have.
    Bogon,
    /// Not within what is registered for the operator.
    Unregistered,
    /// Another operator has registered it more closely.
    Leak,
}

impl Unused {
    /// All, for tables and metrics.
    pub const ALL: [Self; 4] = [Self::Default, Self::Bogon, Self::Unregistered, Self::Leak];

    /// The word in JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Bogon => "bogon",
            Self::Unregistered => "unregistered",
            Self::Leak => "leak",
        }
    }
}

impl Registry {
    /// With the prefixes of each operator, in the order of their [`OperatorId`]s. Several may have registered the same one.
    #[must_use]
    pub fn of(operators: Vec<Vec<Prefix>>) -> Self {
        let mut owners: PrefixMap<Vec<OperatorId>> = PrefixMap::default();
        for (number, prefixes) in (0..).zip(&operators) {
            for prefix in prefixes {
                owners.entry(*prefix, Vec::new).push(OperatorId(number));
            }
        }
        Self { operators, owners }
    }

    /// Whether a route that an appliance of `operator` hears is used.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, operator: OperatorId, prefix: Prefix) -> Result<(), Unused> {
        if prefix.length() == 0 {
            return Err(Unused::Default);
        }
        if is_martian(prefix) {
            return Err(Unused::Bogon);
        }
        let mut owners = self.owners.covering(prefix).map(|(_, owners)| owners);
        match owners.next() {
            Some(closest) if closest.contains(&operator) => Ok(()),
            Some(_) if owners.any(|wider| wider.contains(&operator)) => Err(Unused::Leak),
            _ => Err(Unused::Unregistered),
        }
    }

    /// What is registered for `operator`, as routes: for appliances that hear none.
    pub fn routes(&self, operator: OperatorId) -> impl Iterator<Item = Route> + '_ {
        let prefixes = self.operators.get(usize::from(operator.0));
        let prefixes = prefixes.into_iter().flatten();
        prefixes.map(|prefix| Route {
            prefix: *prefix,
            hops: u16::MAX,
            med: u32::MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_registered_counts_and_nobody_takes_the_viewers_of_another() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let registry = Registry::of(vec![
            of(&["10.0.0.0/8", "2001:db8::/32"]),
            of(&["10.1.0.0/16", "198.51.100.0/24"]),
            of(&["10.1.0.0/16"]),
        ]);
        let check =
            |operator, prefix: &str| registry.check(OperatorId(operator), prefix.parse().unwrap());
        let table = [
            (0, "10.0.0.0/8", Ok(())),
            (0, "10.2.3.0/24", Ok(())),
            (0, "2001:db8:1::/48", Ok(())),
            (0, "10.1.2.0/24", Err(Unused::Leak)),
            (1, "10.1.2.0/24", Ok(())),
            (2, "10.1.2.0/24", Ok(())),
            (1, "10.0.0.0/8", Err(Unused::Unregistered)),
            (1, "10.2.0.0/16", Err(Unused::Unregistered)),
            (0, "198.51.100.0/24", Err(Unused::Unregistered)),
            (0, "192.0.2.0/24", Err(Unused::Unregistered)),
            (0, "0.0.0.0/0", Err(Unused::Default)),
            (0, "::/0", Err(Unused::Default)),
            (0, "127.0.0.0/16", Err(Unused::Bogon)),
        ];
        for (operator, prefix, expected) in table {
            assert_eq!(check(operator, prefix), expected, "{operator} {prefix}");
        }
        assert_eq!(registry.routes(OperatorId(1)).count(), 2);
        assert_eq!(registry.routes(OperatorId(9)).count(), 0);
    }
}
