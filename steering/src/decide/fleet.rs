//! How each appliance stands, by what it last said, what its site-mates say, and whether it still says anything.
//!
//! ```text
//! granted a drain, or says so ──────────────────────────────────► Leaving
//! reports: takes viewers ─► Well, else Down; two site-mates do not reach it ─► Unreachable
//! silent:  site-mates reach it ─► Held, do not ─► Unreachable
//!          many at once, or we have just started ─► Held, for an hour
//!          alone ─► Silent
//! ```
//!
//! Invariant: what ends many reports at once is trouble of those who collect them, and takes nobody's viewers away.

mod together;
mod view;

use std::collections::HashMap;

use super::limits::{HOLD, LEASE, LOAD_SMOOTHING, MEMBERS_MAX, REPORT_COUNTS};
use super::place::Place;
use super::rendezvous;
use super::routes::FeedId;
use crate::state::State;
use crate::time::UnixTime;
use together::Endings;

pub use view::View;

/// An appliance of the fleet, as long as the [`Fleet`] is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u16);

/// What is registered of an appliance.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// `appliance.id`.
    pub id: String,
    /// Its site.
    pub site: String,
    /// Whose prefixes it hears; `None`: nobody is sent to it.
    pub feed: Option<FeedId>,
    /// Where its site is.
    pub place: Option<Place>,
}

/// What an appliance says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its state.
    pub state: State,
    /// Whether viewers are welcome.
    pub accepting: bool,
    /// What it can send and what it sends, bits per second.
    pub capacity: Option<(u64, u64)>,
    /// Whether it reaches the service addresses of its site-mates.
    pub reaches: Vec<(String, bool)>,
}

/// How an appliance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It takes viewers.
    Well,
    /// It is silent for a reason that is most likely not its own: what it said last holds, and it took viewers.
    Held,
    /// On the way out of service, or out of it.
    Leaving,
    /// It says that it takes no viewers.
    Down,
    /// Its site-mates do not reach it.
    Unreachable,
    /// It says nothing.
    Silent,
}

impl Standing {
    /// All, for tables and metrics.
    pub const ALL: [Self; 6] = [
        Self::Well,
        Self::Held,
        Self::Leaving,
        Self::Down,
        Self::Unreachable,
        Self::Silent,
    ];

    /// The word in JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Held => "held",
            Self::Leaving => "leaving",
            Self::Down => "down",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
        }
    }
}

/// A drain is refused: too few would be left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooFew {
    /// The site.
    pub site: String,
    /// Appliances of it that would be left in service.
    pub left: usize,
}

/// The appliances.
#[derive(Debug, Clone)]
pub struct Fleet {
    started: UnixTime,
    /// The newest report before the start.
    last_before_start: UnixTime,
    members: Vec<Member>,
    names: HashMap<String, MemberId>,
}

#[derive(Debug, Clone)]
struct Member {
    setup: Setup,
    key: u64,
    last: Option<Last>,
    leaving_until: UnixTime,
    is_dismissed: bool,
}

/// The last report.
#[derive(Debug, Clone)]
struct Last {
    received: UnixTime,
    said: Said,
    /// Bits per second, smoothed.
    load: f64,
    is_from_before_start: bool,
}

impl Fleet {
    /// Without appliances.
    #[must_use]
    pub fn new(now: UnixTime) -> Self {
        Self {
            started: now,
            last_before_start: UnixTime::default(),
            members: Vec::new(),
            names: HashMap::new(),
        }
    }

    /// Takes an appliance in, or what has changed of it. `None`: there are [`MEMBERS_MAX`].
    pub fn enlist(&mut self, setup: Setup) -> Option<MemberId> {
        if let Some(known) = self.find(&setup.id) {
            let member = &mut self.members[usize::from(known.0)];
            (member.setup, member.is_dismissed) = (setup, false);
            return Some(known);
        }
        let id = MemberId(u16::try_from(self.members.len()).ok()?);
        if usize::from(id.0) >= MEMBERS_MAX {
            return None;
        }
        self.names.insert(setup.id.clone(), id);
        self.members.push(Member {
            key: rendezvous::key(&setup.id),
            setup,
            last: None,
            leaving_until: UnixTime::default(),
            is_dismissed: false,
        });
        Some(id)
    }

    /// Forgets all that are not registered any more.
    pub fn keep_only(&mut self, is_registered: impl Fn(&str) -> bool) {
        for member in &mut self.members {
            if !is_registered(&member.setup.id) {
                (member.is_dismissed, member.last) = (true, None);
            }
        }
    }

    /// The number of an appliance.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<MemberId> {
        self.names.get(id).copied()
    }

    /// What an appliance had said before this process started.
    pub fn remember(&mut self, member: MemberId, received: UnixTime, said: Said) {
        self.last_before_start = self.last_before_start.max(received);
        self.take(member, received, said);
        if let Some(last) = &mut self.members[usize::from(member.0)].last {
            last.is_from_before_start = true;
        }
    }

    /// What an appliance says now.
    pub fn report(&mut self, now: UnixTime, member: MemberId, said: Said) {
        self.take(member, now, said);
    }

    fn take(&mut self, member: MemberId, received: UnixTime, said: Said) {
        let member = &mut self.members[usize::from(member.0)];
        let sends = said.capacity.map_or(0.0, |(_, sends)| sends as f64);
        let before = member.last.as_ref().map_or(sends, |last| last.load);
        member.last = Some(Last {
            received,
            said,
            load: before + (sends - before) * LOAD_SMOOTHING,
            is_from_before_start: false,
        });
    }

    /// Lets an appliance leave: from now on it gets no viewers. With less than `min_serving` others of its site well, only with
    /// `force`. Returns until when this holds if it does not say itself that it is leaving.
    ///
    /// # Errors
    /// How many there would be.
    pub fn let_leave(
        &mut self,
        now: UnixTime,
        member: MemberId,
        min_serving: usize,
        force: bool,
    ) -> Result<UnixTime, TooFew> {
        let view = self.look(now);
        let site = &self.members[usize::from(member.0)].setup.site;
        let is_left = |(other, one): (MemberId, &Member)| {
            other != member && one.setup.site == *site && view.standing(other) == Standing::Well
        };
        let left = self.members().filter(|one| is_left(*one)).count();
        let is_serving = matches!(view.standing(member), Standing::Well | Standing::Held);
        if is_serving && left < min_serving && !force {
            let site = site.clone();
            return Err(TooFew { site, left });
        }
        let until = now + LEASE;
        self.restore_lease(member, until);
        Ok(until)
    }

    /// Takes a drain back that was granted: what the appliance says itself counts again.
    pub fn come_back(&mut self, member: MemberId) {
        self.restore_lease(member, UnixTime::default());
    }

    /// A drain that was granted until then, before the start.
    pub fn restore_lease(&mut self, member: MemberId, until: UnixTime) {
        self.members[usize::from(member.0)].leaving_until = until;
    }

    /// How all stand now.
    #[must_use]
    pub fn look(&self, now: UnixTime) -> View {
        let endings = Endings::of(now, self);
        let votes = self.votes(now);
        let standing = |(id, member): (MemberId, &Member)| {
            let votes = votes.get(&id).copied().unwrap_or_default();
            self.standing(now, member, votes, &endings)
        };
        let all: Vec<Standing> = self.members().map(standing).collect();
        View::of(now, self, &all)
    }

    fn members(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        (0..).map(MemberId).zip(&self.members)
    }

    /// What those who report say of their site-mates: how many reach it, how many do not.
    fn votes(&self, now: UnixTime) -> HashMap<MemberId, (u32, u32)> {
        let mut votes: HashMap<MemberId, (u32, u32)> = HashMap::new();
        for (id, member) in self.members() {
            let Some(last) = member.last.as_ref().filter(|last| last.counts(now)) else {
                continue;
            };
            for (other, is_reached) in &last.said.reaches {
                let other = self.find(other).filter(|other| *other != id);
                let is_of_site = |other: &MemberId| {
                    self.members[usize::from(other.0)].setup.site == member.setup.site
                };
                if let Some(other) = other.filter(is_of_site) {
                    let (reached, not) = votes.entry(other).or_default();
                    *if *is_reached { reached } else { not } += 1;
                }
            }
        }
        votes
    }

    fn standing(
        &self,
        now: UnixTime,
        member: &Member,
        (reached, not_reached): (u32, u32),
        endings: &Endings<'_>,
    ) -> Standing {
        let Some(last) = member.last.as_ref().filter(|_| !member.is_dismissed) else {
            return Standing::Silent;
        };
        if now < member.leaving_until || last.said.is_leaving() {
            return Standing::Leaving;
        }
        let is_fresh = last.counts(now);
        // One that speaks for itself is believed more than a single site-mate, whose own network may be ill.
        let votes_needed = if is_fresh { 2 } else { 1 };
        if reached == 0 && not_reached >= votes_needed {
            return Standing::Unreachable;
        }
        if !last.said.accepting {
            return Standing::Down;
        }
        if is_fresh {
            return Standing::Well;
        }
        let is_held = reached > 0 || self.holds_from_start(now, last) || endings.hold(member, last);
        if is_held {
            Standing::Held
        } else {
            Standing::Silent
        }
    }

    /// Whether it was there when the process before this one ended, and had no time yet to say more.
    fn holds_from_start(&self, now: UnixTime, last: &Last) -> bool {
        last.is_from_before_start
            && last.received + REPORT_COUNTS >= self.last_before_start
            && now < self.started + HOLD
    }
}

impl Last {
    fn counts(&self, now: UnixTime) -> bool {
        now.since(self.received) < REPORT_COUNTS
    }
}

impl Said {
    fn is_leaving(&self) -> bool {
        match self.state {
            State::Draining | State::Drained | State::DrainedForced => true,
            State::Ok | State::Degraded | State::Down => false,
        }
    }
}
