//! The fleet at one instant, as decisions read it.

use std::collections::HashMap;

use super::super::limits::{
    GONE, PANIC_PERCENT, UNKNOWN_CAPACITY, WEIGHT_FALLS_FROM, WEIGHT_LEAST,
};
use super::super::place::Place;
use super::super::routes::FeedId;
use super::{Fleet, Member, MemberId, Standing};
use crate::state::State;
use crate::time::UnixTime;

/// How all stand.
#[derive(Debug, Clone, Default)]
pub struct View {
    members: Vec<Seen>,
    hearing: HashMap<FeedId, Vec<MemberId>>,
    panics: bool,
}

#[derive(Debug, Clone)]
struct Seen {
    id: String,
    site: String,
    key: u64,
    standing: Standing,
    is_draining: bool,
    place: Option<Place>,
    /// Bits per second.
    capacity: u64,
    load: f64,
    weight: f64,
}

impl View {
    pub(super) fn of(now: UnixTime, fleet: &Fleet, standing: &[Standing]) -> Self {
        let mut hearing: HashMap<FeedId, Vec<MemberId>> = HashMap::new();
        for (id, member) in fleet.members() {
            if let Some(feed) = member.setup.feed.filter(|_| !member.is_dismissed) {
                hearing.entry(feed).or_default().push(id);
            }
        }
        let members = fleet.members.iter().zip(standing);
        Self {
            panics: panics(now, fleet, standing),
            members: members
                .map(|(member, standing)| Seen::of(now, member, *standing))
                .collect(),
            hearing,
        }
    }

    /// Those that hear what `feed` tells.
    #[must_use]
    pub fn hearing(&self, feed: FeedId) -> &[MemberId] {
        self.hearing.get(&feed).map_or(&[], Vec::as_slice)
    }

    /// All appliances.
    pub fn members(&self) -> impl Iterator<Item = MemberId> {
        (0..).map(MemberId).take(self.members.len())
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self, member: MemberId) -> Standing {
        self.seen(member).standing
    }

    /// Whether its viewers are on the way out.
    #[must_use]
    pub fn is_draining(&self, member: MemberId) -> bool {
        self.seen(member).is_draining
    }

    /// `appliance.id`.
    #[must_use]
    pub fn id(&self, member: MemberId) -> &str {
        &self.seen(member).id
    }

    /// Its site.
    #[must_use]
    pub fn site(&self, member: MemberId) -> &str {
        &self.seen(member).site
    }

    /// Its part among equals: capacity, less what is in use of it.
    #[must_use]
    pub fn weight(&self, member: MemberId) -> f64 {
        self.seen(member).weight
    }

    /// The part of its capacity that is in use.
    #[must_use]
    pub fn load(&self, member: MemberId) -> f64 {
        self.utilisation([member])
    }

    /// The part of their capacity that is in use; 0 of none.
    #[must_use]
    pub fn utilisation(&self, members: impl IntoIterator<Item = MemberId>) -> f64 {
        let (mut load, mut capacity) = (0.0, 0.0);
        for member in members {
            let seen = self.seen(member);
            load += seen.load;
            capacity += seen.capacity as f64;
        }
        if capacity > 0.0 { load / capacity } else { 0.0 }
    }

    /// Whether so little of the fleet's capacity is well that health is ignored.
    #[must_use]
    pub fn panics(&self) -> bool {
        self.panics
    }

    /// How many stand so.
    #[must_use]
    pub fn count(&self, standing: Standing) -> usize {
        let all = self.members.iter();
        all.filter(|seen| seen.standing == standing).count()
    }

    pub(in super::super) fn key(&self, member: MemberId) -> u64 {
        self.seen(member).key
    }

    pub(in super::super) fn place(&self, member: MemberId) -> Option<Place> {
        self.seen(member).place
    }

    fn seen(&self, member: MemberId) -> &Seen {
        &self.members[usize::from(member.0)]
    }
}

impl Seen {
    fn of(now: UnixTime, member: &Member, standing: Standing) -> Self {
        let said = member.last.as_ref().map(|last| last.said.state);
        let capacity = capacity(member);
        let load = member.last.as_ref().map_or(0.0, |last| last.load);
        let left = (1.0 - load / capacity as f64) / (1.0 - WEIGHT_FALLS_FROM);
        Self {
            id: member.setup.id.clone(),
            site: member.setup.site.clone(),
            key: member.key,
            standing,
            is_draining: now < member.leaving_until || said == Some(State::Draining),
            place: member.setup.place,
            capacity,
            load,
            weight: capacity as f64 * left.clamp(WEIGHT_LEAST, 1.0),
        }
    }
}

fn capacity(member: &Member) -> u64 {
    let said = member.last.as_ref().and_then(|last| last.said.capacity);
    said.map_or(UNKNOWN_CAPACITY, |(hard, _)| hard.max(1))
}

/// Of those that are not leaving and were there within a day.
fn panics(now: UnixTime, fleet: &Fleet, standing: &[Standing]) -> bool {
    let (mut well, mut all) = (0, 0);
    for (member, standing) in fleet.members.iter().zip(standing) {
        let was_there = |received: UnixTime| now.since(received) < GONE;
        let is_counted = member
            .last
            .as_ref()
            .is_some_and(|last| was_there(last.received));
        if !is_counted || *standing == Standing::Leaving {
            continue;
        }
        let capacity = u128::from(capacity(member));
        all += capacity;
        well += match standing {
            Standing::Well | Standing::Held => capacity,
            Standing::Leaving | Standing::Down | Standing::Unreachable | Standing::Silent => 0,
        };
    }
    well * 100 < all * PANIC_PERCENT
}
