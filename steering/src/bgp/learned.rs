//! The prefixes that one neighbour wants served, and for how long after its session ended.
//!
//! ```text
//! session up ──UPDATE──► fresh ──session down──► stale ──stale_time──► forgotten
//!                          ▲                       │
//!                          └──told again───────────┤
//!                                                  └─End-of-RIB, or RESYNC_WAIT after the session is back──► forgotten
//! ```
//!
//! Routes stay longer than a graceful restart (RFC 4724) asks for, and without one: they say whom to serve, not where packets
//! go, and viewers are better served by a list that is an hour old than by none.
//!
//! A route belongs to the session in which it was told last; those of older sessions are stale. So nothing is marked when a
//! session ends, however many routes there are.
//!
//! What does not come in: the default route, prefixes of no unicast address, what is not within `accept`, and routes through our
//! own AS (RFC 4271 section 9.1.2).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limits::RESYNC_WAIT;
use super::packet::attributes::PathAttributes;
use super::packet::update::Update;
use super::prefix::{Family, Prefix};

/// Which routes are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Routes within these; empty: all.
    pub accept: Vec<Prefix>,
    /// Our AS.
    pub local_as: u32,
    /// So many, and no more: beyond it the session ends.
    pub maximum: u32,
    /// How long routes are kept after the session.
    pub stale_time: Duration,
}

/// A prefix that is to be served. Nothing encodes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedRoute {
    /// What was said of it.
    pub attributes: Arc<PathAttributes>,
    /// When it was told.
    pub told: Instant,
    session: u64,
}

/// Why a route did not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// 0.0.0.0/0 or ::/0.
    Default,
    /// Not unicast, or of this host.
    Martian,
    /// Not within `accept`.
    NotAccepted,
    /// It leads through our own AS.
    Loop,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Default, Self::Martian, Self::NotAccepted, Self::Loop];

    /// The word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Martian => "martian",
            Self::NotAccepted => "not-accepted",
            Self::Loop => "loop",
        }
    }
}

/// More routes than the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// The family of the route that was one too many.
    pub family: Family,
}

/// How many routes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// IPv4, stale ones too.
    pub ipv4: u64,
    /// IPv6, stale ones too.
    pub ipv6: u64,
    /// Those of a session that has ended.
    pub stale: u64,
}

/// The routes.
#[derive(Debug, Clone)]
pub struct Learned {
    import: Import,
    routes: BTreeMap<Prefix, LearnedRoute>,
    by_family: [u64; 2],
    /// Routes of the present session.
    fresh: u64,
    session: u64,
    /// When what is stale is forgotten.
    forget_at: Option<Instant>,
    refused: [u64; Refused::ALL.len()],
}

impl Learned {
    /// No routes yet.
    #[must_use]
    pub fn new(import: Import) -> Self {
        Self {
            import,
            routes: BTreeMap::new(),
            by_family: [0; 2],
            fresh: 0,
            session: 0,
            forget_at: None,
            refused: [0; Refused::ALL.len()],
        }
    }

    /// A session is established: what it does not tell again within [`RESYNC_WAIT`] is forgotten.
    pub fn session_up(&mut self, now: Instant) {
        self.begin_session(now + RESYNC_WAIT);
    }

    /// The session has ended: its routes are stale.
    pub fn session_down(&mut self, now: Instant) {
        self.begin_session(now + self.import.stale_time);
    }

    fn begin_session(&mut self, forget_at: Instant) {
        self.session += 1;
        self.fresh = 0;
        self.forget_at = (!self.routes.is_empty()).then_some(forget_at);
    }

    /// Takes what an UPDATE says.
    ///
    /// # Errors
    /// There would be too many routes. What was taken before that stays until [`Self::clear`].
    pub fn apply(&mut self, now: Instant, update: Update) -> Result<(), TooMany> {
        for prefix in update.withdrawn {
            self.withdraw(prefix);
        }
        let attributes = Arc::new(update.attributes);
        for prefix in update.announced {
            match self.refusal(prefix, &attributes) {
                Some(why) => {
                    self.refused[why as usize] += 1;
                    // It may replace one that was good.
                    self.withdraw(prefix);
                }
                None => self.announce(now, prefix, &attributes)?,
            }
        }
        if let Some(family) = update.end_of_rib {
            self.forget_stale(|prefix| prefix.family() == family);
        }
        Ok(())
    }

    fn refusal(&self, prefix: Prefix, attributes: &PathAttributes) -> Option<Refused> {
        let accept = &self.import.accept;
        if prefix.length() == 0 {
            Some(Refused::Default)
        } else if is_martian(prefix) {
            Some(Refused::Martian)
        } else if !accept.is_empty() && !accept.iter().any(|within| within.covers(prefix)) {
            Some(Refused::NotAccepted)
        } else if attributes.passes(self.import.local_as) && !attributes.as_path.is_empty() {
            Some(Refused::Loop)
        } else {
            None
        }
    }

    fn announce(
        &mut self,
        now: Instant,
        prefix: Prefix,
        attributes: &Arc<PathAttributes>,
    ) -> Result<(), TooMany> {
        let route = LearnedRoute {
            attributes: Arc::clone(attributes),
            told: now,
            session: self.session,
        };
        let is_more = match self.routes.entry(prefix) {
            Entry::Vacant(place) => {
                place.insert(route);
                self.by_family[prefix.family() as usize] += 1;
                true
            }
            Entry::Occupied(mut place) => place.insert(route).session != self.session,
        };
        self.fresh += u64::from(is_more);
        if self.fresh > u64::from(self.import.maximum) {
            return Err(TooMany {
                family: prefix.family(),
            });
        }
        Ok(())
    }

    fn withdraw(&mut self, prefix: Prefix) {
        if let Some(route) = self.routes.remove(&prefix) {
            self.by_family[prefix.family() as usize] -= 1;
            self.fresh -= u64::from(route.session == self.session);
        }
    }

    fn forget_stale(&mut self, of: impl Fn(&Prefix) -> bool) {
        let (session, by_family) = (self.session, &mut self.by_family);
        self.routes.retain(|prefix, route| {
            let stays = route.session == session || !of(prefix);
            by_family[prefix.family() as usize] -= u64::from(!stays);
            stays
        });
    }

    /// Forgets all routes.
    pub fn clear(&mut self) {
        self.routes.clear();
        self.by_family = [0; 2];
        self.fresh = 0;
        self.forget_at = None;
    }

    /// So many routes are taken.
    #[must_use]
    pub fn maximum(&self) -> u32 {
        self.import.maximum
    }

    /// When [`Self::expire`] has something to do.
    #[must_use]
    pub fn timeout(&self) -> Option<Instant> {
        self.forget_at
    }

    /// Forgets what is stale for too long.
    pub fn expire(&mut self, now: Instant) {
        if self.forget_at.is_some_and(|at| at <= now) {
            self.forget_at = None;
            self.forget_stale(|_| true);
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let [ipv4, ipv6] = self.by_family;
        Counts {
            ipv4,
            ipv6,
            stale: (ipv4 + ipv6).saturating_sub(self.fresh),
        }
    }

    /// How many routes did not come in, in the order of [`Refused::ALL`].
    #[must_use]
    pub fn refused(&self) -> [u64; Refused::ALL.len()] {
        self.refused
    }

    /// The routes behind `after`, in the order of addresses; all of them, if it is `None`.
    pub fn routes_after(
        &self,
        after: Option<Prefix>,
    ) -> impl Iterator<Item = (Prefix, &LearnedRoute)> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let routes = self.routes.range((begin, Bound::Unbounded));
        routes.map(|(prefix, route)| (*prefix, route))
    }

    /// Whether the session that told `route` has ended.
    #[must_use]
    pub fn is_stale(&self, route: &LearnedRoute) -> bool {
        route.session != self.session
    }
}

/// Prefixes of addresses that no viewer can have on the network of an operator.
pub(crate) fn is_martian(prefix: Prefix) -> bool {
    const NEVER: [(IpAddr, u8); 7] = [
        (IpAddr::V4(Ipv4Addr::new(0, 0, 0, 0)), 8),
        (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
        (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
        (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 3),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 16),
        (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
        (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
    ];
    let mut never = NEVER.into_iter();
    never.any(|(address, length)| Prefix::of(address, length).is_some_and(|it| it.covers(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::packet::attributes::Hop;

    fn learned(maximum: u32) -> Learned {
        Learned::new(Import {
            accept: Vec::new(),
            local_as: 64512,
            maximum,
            stale_time: Duration::from_secs(3600),
        })
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn told(announced: &[&str]) -> Update {
        Update {
            announced: announced.iter().copied().map(prefix).collect(),
            attributes: PathAttributes {
                as_path: vec![Hop::As(64496)],
                ..PathAttributes::default()
            },
            ..Update::default()
        }
    }

    fn names(learned: &Learned) -> Vec<String> {
        let routes = learned.routes_after(None);
        routes
            .map(|(prefix, route)| {
                format!(
                    "{prefix}{}",
                    if learned.is_stale(route) {
                        " stale"
                    } else {
                        ""
                    }
                )
            })
            .collect()
    }

    #[test]
    fn routes_outlive_their_session_and_are_replaced_by_the_next_one() {
        let now = Instant::now();
        let mut learned = learned(10);
        learned.session_up(now);
        learned
            .apply(
                now,
                told(&["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"]),
            )
            .unwrap();
        assert_eq!(
            learned.counts(),
            Counts {
                ipv4: 2,
                ipv6: 1,
                stale: 0
            }
        );
        learned.session_down(now);
        assert_eq!(
            learned.counts(),
            Counts {
                ipv4: 2,
                ipv6: 1,
                stale: 3
            }
        );
        learned.session_up(now);
        learned.apply(now, told(&["192.0.2.0/24"])).unwrap();
        assert_eq!(
            names(&learned),
            [
                "192.0.2.0/24",
                "198.51.100.0/24 stale",
                "2001:db8::/32 stale"
            ]
        );
        let end = Update {
            end_of_rib: Some(Family::Ipv4),
            ..Update::default()
        };
        learned.apply(now, end).unwrap();
        assert_eq!(names(&learned), ["192.0.2.0/24", "2001:db8::/32 stale"]);
        learned.expire(now + RESYNC_WAIT);
        assert_eq!(names(&learned), ["192.0.2.0/24"]);
        assert_eq!(
            learned.counts(),
            Counts {
                ipv4: 1,
                ipv6: 0,
                stale: 0
            }
        );
    }

    #[test]
    fn stale_routes_are_forgotten_after_their_time() {
        let now = Instant::now();
        let mut learned = learned(10);
        learned.session_up(now);
        learned.apply(now, told(&["192.0.2.0/24"])).unwrap();
        learned.session_down(now);
        let end = learned.timeout().unwrap();
        assert_eq!(end, now + Duration::from_secs(3600));
        learned.expire(end - Duration::from_millis(1));
        assert_eq!(names(&learned), ["192.0.2.0/24 stale"]);
        learned.expire(end);
        assert_eq!((names(&learned), learned.timeout()), (Vec::new(), None));
    }

    #[test]
    fn what_is_not_to_be_served_does_not_come_in_and_takes_what_was_there() {
        let now = Instant::now();
        let mut learned = Learned::new(Import {
            accept: vec![
                prefix("192.0.0.0/8"),
                prefix("127.0.0.0/8"),
                prefix("2001:db8::/32"),
            ],
            ..learned(10).import
        });
        learned.session_up(now);
        let all = [
            "0.0.0.0/0",
            "127.1.0.0/16",
            "198.51.100.0/24",
            "192.0.2.0/24",
            "::/0",
        ];
        learned.apply(now, told(&all)).unwrap();
        assert_eq!(names(&learned), ["192.0.2.0/24"]);
        let mut round = told(&["192.0.2.0/24"]);
        round.attributes.as_path.push(Hop::Set(vec![1, 64512]));
        learned.apply(now, round).unwrap();
        assert_eq!(learned.refused(), [2, 1, 1, 1]);
        assert_eq!(learned.counts(), Counts::default());
    }

    #[test]
    fn one_too_many_is_said_and_the_same_again_is_none_more() {
        let now = Instant::now();
        let mut learned = learned(2);
        learned.session_up(now);
        learned
            .apply(now, told(&["192.0.2.0/25", "192.0.2.128/25"]))
            .unwrap();
        learned
            .apply(now, told(&["192.0.2.0/25", "192.0.2.128/25"]))
            .unwrap();
        let family = Family::Ipv6;
        assert_eq!(
            learned.apply(now, told(&["2001:db8::/32"])),
            Err(TooMany { family })
        );
        learned.clear();
        assert_eq!(learned.counts(), Counts::default());
        learned.apply(now, told(&["2001:db8::/32"])).unwrap();
    }
}
