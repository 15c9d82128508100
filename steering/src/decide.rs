//! Which appliance a viewer is sent to, and why.
//!
//! ```text
//! reports ─► Fleet (who is well, held, leaving) ─► View ─┐
//! routes  ─► Registry (whose prefixes count) ─► Routes ──┼─► decide ─► Decision ─► OriginBudget, if it asks for the origin
//! places  ─► PrefixMap ──────────────────────────────────┘
//! ```
//!
//! Those that hear a prefix of the viewer, hold the object and are well are ranked: longest prefix, fewest AS hops, lowest MED,
//! least distance. Those that are equal in all of it form a group and share viewers by rendezvous hashing, weighted by capacity and
//! by what is left of it. A group that nears its capacity gives a part of its viewers to the next group, and the last one to the
//! origin. All of that changes smoothly with load: nothing is ever switched off because it is busy.
//!
//! Pure: `now`, the reports and the routes come in, a [`Decision`] comes out. The same question to the same [`View`] has the same
//! answer, on every machine and in every release that keeps [`rendezvous`].

pub mod fleet;
pub mod limits;
pub mod origin;
pub mod place;
pub mod prefix_map;
pub mod registry;
pub mod rendezvous;
pub mod routes;

use std::net::IpAddr;

use crate::bgp::Prefix;
use fleet::{MemberId, Standing, View};
use limits::{OVERFLOW_BEGINS, OVERFLOW_COMPLETE};
use place::Place;
use prefix_map::PrefixMap;
use routes::{Heard, Routes};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The viewer's address.
    pub client: IpAddr,
    /// Of the object: the first bytes of its root, or any other number that is its own.
    pub object: u64,
    /// Who holds it, in rising order.
    pub holders: &'a [MemberId],
}

/// What a decision is made of, beside the question.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The appliances.
    pub view: &'a View,
    /// Who hears which prefixes.
    pub routes: &'a Routes,
    /// Where viewers are.
    pub places: &'a PrefixMap<Place>,
}

/// Where to send a viewer.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The best first. Those from [`Self::busy`] on are behind the origin, if it is granted.
    pub ranked: Vec<Ranked>,
    /// How many of them are first choices; behind them are groups that give this viewer away because they near their capacity.
    pub busy: usize,
    /// Those that hear the viewer's prefix and are not to be used.
    pub passed_over: Vec<(MemberId, PassedOver)>,
}

/// An appliance for a viewer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// Which.
    pub member: MemberId,
    /// By what it is better or worse than those of other groups.
    pub rank: Rank,
    /// Its part of the viewers of its group.
    pub weight: f64,
}

/// The order of groups: the smaller one is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Bits by which the prefix is shorter than an address.
    pub host_bits: u8,
    /// AS hops.
    pub hops: u16,
    /// MULTI_EXIT_DISC.
    pub med: u32,
    /// In steps of [`limits::DISTANCE_STEP_KM`]; the largest number if it is not known.
    pub distance: u16,
}

/// Why an appliance that hears the viewer's prefix is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PassedOver {
    /// It does not hold the object.
    NotHeld,
    /// It says that it cannot serve, or takes no viewers yet.
    Down,
    /// It is being drained.
    Leaving,
    /// It does not report.
    Silent,
    /// Site-mates do not reach its service address.
    Unreachable,
}

impl PassedOver {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotHeld => "not-held",
            Self::Down => "down",
            Self::Leaving => "leaving",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Decision {
    /// Whether the origin is to be asked whether it takes this viewer: no group does.
    #[must_use]
    pub fn wants_origin(&self) -> bool {
        self.busy == 0
    }
}

/// Decides. About 10 µs with a million prefixes: most of it is misses of the processor's caches.
#[must_use]
pub fn decide(scene: Scene<'_>, question: Question<'_>) -> Decision {
    let client = question.client.to_canonical();
    let mut decision = Decision {
        ranked: Vec::new(),
        busy: 0,
        passed_over: Vec::new(),
    };
    let place = scene.places.longest(client);
    for heard in scene.routes.heard_of(client) {
        for member in scene.view.hearing(heard.feed) {
            match standing(scene.view, question.holders, *member) {
                Ok(weight) => decision.ranked.push(Ranked {
                    member: *member,
                    rank: rank(client, heard, place, scene.view.place(*member)),
                    weight,
                }),
                Err(why) => decision.passed_over.push((*member, why)),
            }
        }
    }
    order(scene.view, question, client, &mut decision);
    decision
}

/// The weight, if the appliance is to be used.
fn standing(view: &View, holders: &[MemberId], member: MemberId) -> Result<f64, PassedOver> {
    if holders.binary_search(&member).is_err() {
        return Err(PassedOver::NotHeld);
    }
    match view.standing(member) {
        Standing::Well | Standing::Held => {}
        Standing::Leaving => return Err(PassedOver::Leaving),
        // Panic: so few are well that what they say of themselves is believed less than that they are overrun.
        Standing::Down | Standing::Silent | Standing::Unreachable if view.panics() => {}
        Standing::Down => return Err(PassedOver::Down),
        Standing::Silent => return Err(PassedOver::Silent),
        Standing::Unreachable => return Err(PassedOver::Unreachable),
    }
    Ok(view.weight(member))
}

fn rank(client: IpAddr, heard: Heard, viewer: Option<&Place>, box_at: Option<Place>) -> Rank {
    let bits = if client.is_ipv4() { 32 } else { 128 };
    let distance = viewer
        .zip(box_at)
        .map(|(one, other)| one.distance_to(other));
    Rank {
        host_bits: bits - heard.length,
        hops: heard.hops,
        med: heard.med,
        distance: distance.unwrap_or(u16::MAX),
    }
}

/// Groups in the order of their rank, members by rendezvous; those groups last that give this viewer away.
fn order(view: &View, question: Question<'_>, client: IpAddr, decision: &mut Decision) {
    let viewer = rendezvous::viewer(client, question.object);
    let score = |one: &Ranked| rendezvous::score(viewer, view.key(one.member), one.weight);
    decision.ranked.sort_by(|one, other| {
        let by_rank = one.rank.cmp(&other.rank);
        by_rank.then_with(|| score(other).total_cmp(&score(one)))
    });
    let (mut chosen, mut busy) = (Vec::new(), Vec::new());
    for group in decision
        .ranked
        .chunk_by(|one, other| one.rank == other.rank)
    {
        let members = group.iter().map(|one| one.member);
        let is_given_away = rendezvous::part(viewer) < overflow(view.utilisation(members));
        if is_given_away {
            &mut busy
        } else {
            &mut chosen
        }
        .extend_from_slice(group);
    }
    decision.busy = chosen.len();
    chosen.append(&mut busy);
    decision.ranked = chosen;
}

/// The part of its viewers that a group gives away, by the part of its capacity that is in use.
fn overflow(utilisation: f64) -> f64 {
    ((utilisation - OVERFLOW_BEGINS) / (OVERFLOW_COMPLETE - OVERFLOW_BEGINS)).clamp(0.0, 1.0)
}

/// The prefix of a viewer that `rank` speaks of.
#[must_use]
pub fn prefix_of(client: IpAddr, rank: Rank) -> Option<Prefix> {
    let client = client.to_canonical();
    let bits: u8 = if client.is_ipv4() { 32 } else { 128 };
    Prefix::of(client, bits.checked_sub(rank.host_bits)?)
}
