//! Who hears which prefixes. A *feed* is what one router tells, or several of them alike: appliances of a cluster share one, so a
//! table of a million prefixes is there once for all of them.

use std::collections::HashMap;
use std::net::IpAddr;

use super::prefix_map::{PrefixMap, host};
use crate::bgp::Prefix;

/// A set of prefixes that some appliances hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId(pub u16);

/// A prefix, as one feed tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    /// The prefix.
    pub prefix: Prefix,
    /// AS hops.
    pub hops: u16,
    /// MULTI_EXIT_DISC; 0 if there is none (RFC 4271 section 9.1.2.2).
    pub med: u32,
}

/// The longest prefix of a viewer that a feed tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Who tells it.
    pub feed: FeedId,
    /// Bits of the prefix.
    pub length: u8,
    /// AS hops.
    pub hops: u16,
    /// MULTI_EXIT_DISC.
    pub med: u32,
}

/// The table of all feeds.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// Numbers in `sets`.
    prefixes: PrefixMap<u32>,
    /// Most prefixes are told by the same feeds in the same way: each such set is there once.
    sets: Vec<Box<[Told]>>,
}

/// By whom and how a prefix is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Told {
    feed: FeedId,
    hops: u16,
    med: u32,
}

impl Routes {
    /// The table of these feeds. About a microsecond for each route.
    #[must_use]
    pub fn of<R: IntoIterator<Item = Route>>(feeds: impl IntoIterator<Item = (FeedId, R)>) -> Self {
        let mut building = Building::default();
        for (feed, routes) in feeds {
            for route in routes {
                building.add(feed, route);
            }
        }
        Self {
            prefixes: building.prefixes,
            sets: building.sets,
        }
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Of each feed that tells a prefix of `client`, the longest one.
    #[must_use]
    pub fn heard_of(&self, client: IpAddr) -> Vec<Heard> {
        let mut heard: Vec<Heard> = Vec::new();
        for (length, set) in self.prefixes.covering(host(client)) {
            for told in &self.sets[*set as usize] {
                if heard.iter().all(|known| known.feed != told.feed) {
                    heard.push(Heard {
                        feed: told.feed,
                        length,
                        hops: told.hops,
                        med: told.med,
                    });
                }
            }
        }
        heard
    }
}

#[derive(Default)]
struct Building {
    prefixes: PrefixMap<u32>,
    sets: Vec<Box<[Told]>>,
    numbers: HashMap<Box<[Told]>, u32>,
}

impl Building {
    /// Puts the prefix from the set that it is in into the one with `feed` as well. The better one counts of two of one feed.
    fn add(&mut self, feed: FeedId, route: Route) {
        let told = Told {
            feed,
            hops: route.hops,
            med: route.med,
        };
        let number = self.prefixes.entry(route.prefix, || u32::MAX);
        let before = self.sets.get(*number as usize);
        let mut set: Vec<Told> = before.map(|set| set.to_vec()).unwrap_or_default();
        match set.iter_mut().find(|other| other.feed == feed) {
            Some(other) => *other = told.min(*other),
            None => set.push(told),
        }
        *number = match self.numbers.get(&*set) {
            Some(known) => *known,
            None => {
                let next = u32::try_from(self.sets.len()).expect("fewer sets than prefixes");
                self.sets.push(set.clone().into());
                self.numbers.insert(set.into(), next);
                next
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(prefix: &str, hops: u16, med: u32) -> Route {
        let prefix = prefix.parse().unwrap();
        Route { prefix, hops, med }
    }

    #[test]
    fn each_feed_counts_with_its_longest_prefix_and_its_better_route() {
        let one = [route("10.0.0.0/8", 1, 0), route("10.1.0.0/16", 3, 7)];
        let other = [
            route("10.0.0.0/8", 2, 5),
            route("10.0.0.0/8", 2, 4),
            route("10.2.0.0/16", 1, 0),
        ];
        let routes = Routes::of([(FeedId(1), one.to_vec()), (FeedId(2), other.to_vec())]);
        assert_eq!(routes.len(), 3);
        let heard = |feed, length, hops, med| Heard {
            feed: FeedId(feed),
            length,
            hops,
            med,
        };
        let of = |client: &str| routes.heard_of(client.parse().unwrap());
        assert_eq!(of("10.1.0.1"), [heard(1, 16, 3, 7), heard(2, 8, 2, 4)]);
        assert_eq!(of("10.9.0.1"), [heard(1, 8, 1, 0), heard(2, 8, 2, 4)]);
        assert_eq!(of("192.0.2.1"), []);
        assert_eq!(of("::1"), []);
    }

    #[test]
    fn prefixes_that_are_told_alike_share_what_is_known_of_them() {
        let all = (0..1000_u32).map(|number| Route {
            prefix: Prefix::of(IpAddr::V4((number << 16).into()), 16).unwrap(),
            hops: 1,
            med: 0,
        });
        let feeds = [FeedId(0), FeedId(1), FeedId(2)];
        let routes = Routes::of(feeds.map(|feed| (feed, all.clone())));
        assert_eq!((routes.len(), routes.sets.len()), (1000, 3));
    }
}
