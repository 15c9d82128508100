//! From the choice to steps, in an order in which no tier passes its high watermark.
//!
//! The steps are tried on the sums of each tier: nothing leaves before something comes that needs its room, and what finds no
//! room because it waits for a move is left to a later plan.

use std::collections::VecDeque;

use super::choose::Choice;
use super::space::{Sinking, Space, sinks, spaces};
use super::wants::{Rank, Want, Wants};
use super::{Allowance, Entries, Evict, Fetch, Held, HeldPath, Move, Plan, Publish, Situation};
use crate::limits::{PLAN_ROUNDS, SINK_TRIES};

pub(super) fn steps(situation: &Situation<'_>, wants: Wants, choice: &Choice) -> Plan {
    let mut trial = Trial {
        situation,
        tiers: spaces(situation, &wants, choice),
        budget: Budget::new(situation.allowance),
        evicted: vec![false; situation.held.len()],
        plan: Plan::default(),
    };
    trial.come(&wants, choice);
    let Trial {
        mut plan, evicted, ..
    } = trial;
    plan.entries = wants.entries;
    finish(&mut plan, situation, &wants.objects, choice, &evicted);
    plan
}

/// What may be fetched.
struct Budget {
    bytes: u64,
    urgent_only: bool,
    nothing_yet: bool,
}

impl Budget {
    fn new(allowance: Allowance) -> Self {
        let (bytes, urgent_only) = match allowance {
            Allowance::All(bytes) => (bytes, false),
            Allowance::Urgent(bytes) => (bytes, true),
        };
        Self {
            bytes,
            urgent_only,
            nothing_yet: true,
        }
    }

    /// The first object may be larger than the allowance: its beginning is kept, and the next window goes on.
    fn allows(&self, want: &Want) -> bool {
        let fits = want.size <= self.bytes || (self.nothing_yet && self.bytes > 0);
        fits && (want.urgent || !self.urgent_only)
    }

    fn spend(&mut self, size: u64) {
        self.bytes = self.bytes.saturating_sub(size);
        self.nothing_yet = false;
    }
}

/// The plan in the making, and the tiers as if it were done.
struct Trial<'a> {
    situation: &'a Situation<'a>,
    tiers: Vec<Space>,
    budget: Budget,
    evicted: Vec<bool>,
    plan: Plan,
}

/// Something that is to come into a tier.
struct Coming<'a> {
    want: &'a Want,
    rank: Rank,
    to: usize,
}

impl Trial<'_> {
    fn go_below_the_high_watermarks(&mut self) {
        for tier in 0..self.tiers.len() {
            if self.tiers[tier].free < 0 {
                self.sink_until(tier, |space, _| space.free + space.spare_bytes >= 0);
                self.evict_until(tier, 0);
            }
        }
    }

    /// Goes below the high watermarks, moves up and fetches, by rank. In rounds, because a step may make the room that an earlier one lacked.
    fn come(&mut self, wants: &Wants, choice: &Choice) {
        let (mut rising, mut missing) = (Vec::new(), Vec::new());
        for (want, chosen) in wants.objects.iter().zip(&choice.tiers) {
            let Some(to) = *chosen else { continue };
            let rank = want.rank();
            let coming = Coming { want, rank, to };
            match want.tier {
                None => missing.push(coming),
                Some(from) if from == to || sinks(self.situation, from, to) => {}
                Some(_) => rising.push(coming),
            }
        }
        if self.budget.urgent_only {
            rising.clear();
        }
        rising.sort_unstable_by_key(|coming| coming.rank);
        missing.sort_unstable_by_key(|coming| (!coming.want.urgent, coming.rank));
        let order: Vec<Fetch> = self.rounds(&mut rising, &mut missing);
        self.plan.fetch = order;
        self.plan.later = Plan::amount(missing.iter().map(|coming| coming.want.size));
    }

    /// Takes out what comes; returns the fetches in their order.
    fn rounds(
        &mut self,
        rising: &mut Vec<Coming<'_>>,
        missing: &mut Vec<Coming<'_>>,
    ) -> Vec<Fetch> {
        let mut fetched = Vec::new();
        for _ in 0..PLAN_ROUNDS {
            let before = (rising.len() + missing.len(), self.plan.moves.len());
            self.go_below_the_high_watermarks();
            rising.retain(|coming| !self.rises(coming));
            let comes = missing.extract_if(.., |coming| self.fetches(coming));
            fetched.extend(comes);
            if before == (rising.len() + missing.len(), self.plan.moves.len()) {
                break;
            }
        }
        fetched.sort_unstable_by_key(|coming| (!coming.want.urgent, coming.rank));
        let fetches = fetched.iter().map(|coming| fetch(coming.want, coming.to));
        fetches.collect()
    }

    fn rises(&mut self, coming: &Coming<'_>) -> bool {
        let Some(held) = coming.want.held else {
            return false;
        };
        let moves = self.make_room(coming.to, coming.want.size, coming.rank);
        if moves {
            self.move_to(held, coming.to);
        }
        moves
    }

    fn fetches(&mut self, coming: &Coming<'_>) -> bool {
        let Coming { want, rank, to } = *coming;
        let comes = self.budget.allows(want) && self.make_room(to, want.size, rank);
        if comes {
            self.budget.spend(want.size);
            self.tiers[to].free -= i128::from(want.size);
        }
        comes
    }

    /// Makes room for `size` bytes of that rank, if it can: first by what may be evicted, then by what belongs in a later tier.
    fn make_room(&mut self, tier: usize, size: u64, rank: Rank) -> bool {
        let size = i128::from(size);
        if self.tiers[tier].free >= size {
            return true;
        }
        let comes = self.sink_until(tier, |space, situation| {
            space.could_free(situation, size, rank)
        });
        if comes {
            self.evict_until(tier, size);
        }
        comes
    }

    /// Moves down what belongs in a later tier until it is enough; says whether it is.
    fn sink_until(&mut self, tier: usize, enough: impl Fn(&Space, &Situation<'_>) -> bool) -> bool {
        let mut stay = VecDeque::new();
        while !enough(&self.tiers[tier], self.situation)
            && !self.budget.urgent_only
            && stay.len() < SINK_TRIES
            && let Some(sinking) = self.tiers[tier].sinking.pop_front()
        {
            if !self.sink(sinking) {
                stay.push_back(sinking);
            }
        }
        stay.append(&mut self.tiers[tier].sinking);
        self.tiers[tier].sinking = stay;
        enough(&self.tiers[tier], self.situation)
    }

    fn sink(&mut self, sinking: Sinking) -> bool {
        let Sinking { rank, held, to } = sinking;
        let moves = self.make_room(to, self.situation.held[held].size, rank);
        if moves {
            self.move_to(held, to);
        }
        moves
    }

    fn move_to(&mut self, held: usize, to: usize) {
        let Held {
            root, size, tier, ..
        } = self.situation.held[held];
        self.tiers[tier].free += i128::from(size);
        self.tiers[to].free -= i128::from(size);
        self.plan.moves.push(Move {
            root,
            size,
            from: tier,
            to,
        });
    }

    /// Evicts until `size` bytes are free, and goes on with what is spare until the low watermark.
    fn evict_until(&mut self, tier: usize, size: i128) {
        while self.tiers[tier].free < size
            && let Some(held) = self.tiers[tier].take_victim(self.situation)
        {
            self.evict(held);
        }
        while self.tiers[tier].free < size + self.tiers[tier].slack
            && let Some(held) = self.tiers[tier].take_spare(self.situation)
        {
            self.evict(held);
        }
    }

    fn evict(&mut self, held: usize) {
        let Held {
            root, size, tier, ..
        } = self.situation.held[held];
        self.evicted[held] = true;
        self.tiers[tier].free += i128::from(size);
        self.plan.evict.push(Evict { root, size, tier });
    }
}

fn fetch(want: &Want, tier: usize) -> Fetch {
    Fetch {
        root: want.root,
        size: want.size,
        tier,
        urgent: want.urgent,
        entries: Entries(want.entries.clone()),
    }
}

/// What needs no trial: what has no room, what is here, and its paths.
fn finish(
    plan: &mut Plan,
    situation: &Situation<'_>,
    wants: &[Want],
    choice: &Choice,
    evicted: &[bool],
) {
    let mut without_room: Vec<&Want> = Vec::new();
    for (want, chosen) in wants.iter().zip(&choice.tiers) {
        match want.held.filter(|_| want.tier.is_some()) {
            Some(held) => {
                plan.held_wanted = plan.held_wanted.plus(want.size);
                if !evicted[held] {
                    publish(plan, situation, want, &situation.held[held]);
                }
            }
            None if chosen.is_none() => without_room.push(want),
            None => {}
        }
    }
    without_room.sort_unstable_by_key(|want| want.rank());
    let fetches = without_room.iter().map(|want| fetch(want, want.first_tier));
    plan.without_room = fetches.collect();
}

/// Adds the paths that do not lead to the object yet, or say something else of it.
fn publish(plan: &mut Plan, situation: &Situation<'_>, want: &Want, held: &Held<'_>) {
    let start = plan.entries.len() as u32;
    for index in want.entries.clone() {
        let entry = plan.entries[index as usize];
        let wanted = &situation.wanted[entry as usize];
        let cache_control = wanted.cache_control.as_deref();
        let set = |path: &HeldPath<'_>| {
            path.path == &*wanted.path
                && path.content_type == &*wanted.content_type
                && path.modified == wanted.modified
                && cache_control.is_none_or(|value| value == path.cache_control)
        };
        if !held.paths.iter().any(set) {
            plan.entries.push(entry);
        }
    }
    let end = plan.entries.len() as u32;
    if start < end {
        plan.publish.push(Publish {
            root: want.root,
            entries: Entries(start..end),
        });
    }
}
