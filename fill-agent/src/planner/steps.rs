//! From the choice to steps, in an order in which no tier passes its high watermark.
//!
//! The steps are tried on the sums of each tier: nothing leaves before something comes that needs its room, and what finds no
//! room because it waits for a move is left to a later plan.

use std::collections::VecDeque;

use super::choose::{Choice, free, slack};
use super::wants::{Rank, Want, Wants};
use super::{Allowance, Entries, Evict, Fetch, Held, HeldPath, Move, Plan, Publish, Situation};
use crate::limits::MOVE_ROUNDS;

pub(super) fn steps(situation: &Situation<'_>, wants: Wants, choice: &Choice) -> Plan {
    let mut plan = Plan::default();
    let mut tiers = tiers(situation, &wants, choice);
    let mut trial = Trial {
        plan: &mut plan,
        situation,
        tiers: &mut tiers,
        evicted: vec![false; situation.held.len()],
        budget: Budget::new(situation.allowance),
    };
    trial.go_below_the_high_watermark();
    trial.moves_and_fetches(&wants, choice);
    let evicted = trial.evicted;
    finish(&mut plan, situation, wants, choice, &evicted);
    plan
}

/// A tier in the trial.
struct Space {
    /// Bytes up to the high watermark.
    free: i128,
    /// Bytes between the watermarks.
    slack: i128,
    /// What may go at no loss, the least valuable first: not whole, or not wanted.
    spare: VecDeque<usize>,
    /// What is wanted and not chosen, the lowest first.
    losers: VecDeque<usize>,
    /// Bytes of both.
    evictable: i128,
    /// What belongs in a later tier, the lowest first: held index and tier.
    sinking: VecDeque<(usize, usize)>,
}

fn tiers(situation: &Situation<'_>, wants: &Wants, choice: &Choice) -> Vec<Space> {
    let mut spare: Vec<usize> = wants.unwanted.clone();
    let mut losers: Vec<(Rank, usize)> = Vec::new();
    let mut sinking: Vec<(Rank, usize, usize)> = Vec::new();
    for (want, chosen) in wants.objects.iter().zip(&choice.tiers) {
        let Some(held) = want.held else { continue };
        match (want.tier, *chosen) {
            (None, _) => spare.push(held),
            (Some(_), None) => losers.push((want.rank(), held)),
            (Some(from), Some(to)) if sinks(situation, from, to) => {
                sinking.push((want.rank(), held, to));
            }
            (Some(_), Some(_)) => {}
        }
    }
    spare.sort_unstable_by_key(|index| value(&situation.held[*index]));
    losers.sort_unstable_by(|a, b| b.cmp(a));
    sinking.sort_unstable_by(|a, b| b.cmp(a));
    let in_tier = |tier: usize| move |index: &usize| situation.held[*index].tier == tier;
    (0..situation.tiers.len())
        .map(|tier| {
            let here = in_tier(tier);
            let spare: VecDeque<usize> = spare.iter().copied().filter(here).collect();
            let losers: VecDeque<usize> = losers
                .iter()
                .map(|(_, index)| *index)
                .filter(here)
                .collect();
            let size = |index: &usize| i128::from(situation.held[*index].size);
            Space {
                free: free(situation, tier),
                slack: slack(situation, tier),
                evictable: spare.iter().chain(&losers).map(size).sum(),
                spare,
                losers,
                sinking: sinking
                    .iter()
                    .map(|(_, index, to)| (*index, *to))
                    .filter(|(index, _)| here(index))
                    .collect(),
            }
        })
        .collect()
}

/// The least valuable first: what cannot be served, then by demand per byte.
fn value(held: &Held<'_>) -> (bool, std::cmp::Reverse<Rank>) {
    let servable = held.whole && !held.paths.is_empty();
    (
        servable,
        std::cmp::Reverse(Rank::new(held.demand, held.size, held.root)),
    )
}

/// Whether `to` comes after `from` on the way that objects fall.
fn sinks(situation: &Situation<'_>, from: usize, to: usize) -> bool {
    let mut order = super::wants::tier_order(situation.tiers);
    from != to && order.find(|tier| *tier == from || *tier == to) == Some(from)
}

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
        let kind = want.urgent || !self.urgent_only;
        let amount = want.size <= self.bytes || (self.nothing_yet && self.bytes > 0);
        kind && amount
    }

    fn spend(&mut self, size: u64) {
        self.bytes = self.bytes.saturating_sub(size);
        self.nothing_yet = false;
    }
}

struct Trial<'a, 'p> {
    plan: &'p mut Plan,
    situation: &'a Situation<'a>,
    tiers: &'p mut Vec<Space>,
    evicted: Vec<bool>,
    budget: Budget,
}

impl Trial<'_, '_> {
    fn go_below_the_high_watermark(&mut self) {
        for tier in 0..self.tiers.len() {
            if self.tiers[tier].free < 0 {
                self.evict_until(tier, 0);
            }
        }
    }

    /// Rounds, because room that one step makes may be what an earlier one lacked.
    fn moves_and_fetches(&mut self, wants: &Wants, choice: &Choice) {
        let chosen = || {
            wants
                .objects
                .iter()
                .zip(&choice.tiers)
                .filter_map(|(want, tier)| Some((want, (*tier)?)))
        };
        let mut rising: Vec<(&Want, usize, usize)> = chosen()
            .filter_map(|(want, to)| Some((want, want.tier?, to)))
            .filter(|(_, from, to)| from != to && !sinks(self.situation, *from, *to))
            .collect();
        rising.sort_by_key(|(want, ..)| want.rank());
        let mut missing: Vec<(&Want, usize)> =
            chosen().filter(|(want, _)| want.tier.is_none()).collect();
        missing.sort_by_key(|(want, _)| (!want.urgent, want.rank()));
        if self.budget.urgent_only {
            rising.clear();
        }
        for _ in 0..MOVE_ROUNDS {
            let before = (rising.len(), missing.len());
            rising.retain(|(want, from, to)| !self.rises(want, *from, *to));
            missing.retain(|(want, to)| !self.fetches(want, *to));
            if before == (rising.len(), missing.len()) {
                break;
            }
        }
        self.plan.later = Plan::amount(missing.iter().map(|(want, _)| want.size));
    }

    fn rises(&mut self, want: &Want, from: usize, to: usize) -> bool {
        let moves = self.make_room(to, want.size);
        if let (true, Some(held)) = (moves, want.held) {
            self.move_to(held, from, to);
        }
        moves
    }

    fn fetches(&mut self, want: &Want, tier: usize) -> bool {
        if !self.budget.allows(want) || !self.make_room(tier, want.size) {
            return false;
        }
        self.budget.spend(want.size);
        self.tiers[tier].free -= i128::from(want.size);
        self.plan.fetch.push(fetch(want, tier));
        true
    }

    /// Makes room for `size` bytes if it can: what is spare or lost goes first, then what belongs in a later tier.
    fn make_room(&mut self, tier: usize, size: u64) -> bool {
        let size = i128::from(size);
        if self.tiers[tier].free >= size {
            return true;
        }
        if self.tiers[tier].free + self.tiers[tier].evictable < size && !self.budget.urgent_only {
            self.sink(tier, size);
        }
        let enough = self.tiers[tier].free + self.tiers[tier].evictable >= size;
        if enough {
            self.evict_until(tier, size);
        }
        enough
    }

    /// Moves down what belongs in a later tier, until `size` bytes could come.
    fn sink(&mut self, tier: usize, size: i128) {
        let mut stay = VecDeque::new();
        while self.tiers[tier].free + self.tiers[tier].evictable < size
            && let Some((held, to)) = self.tiers[tier].sinking.pop_front()
        {
            if self.make_room(to, self.situation.held[held].size) {
                self.move_to(held, tier, to);
            } else {
                stay.push_back((held, to));
            }
        }
        stay.append(&mut self.tiers[tier].sinking);
        self.tiers[tier].sinking = stay;
    }

    fn move_to(&mut self, held: usize, from: usize, to: usize) {
        let Held { root, size, .. } = self.situation.held[held];
        self.tiers[from].free += i128::from(size);
        self.tiers[to].free -= i128::from(size);
        self.plan.moves.push(Move {
            root,
            size,
            from,
            to,
        });
    }

    /// Evicts until `size` bytes are free, then goes on with what is spare until the low watermark.
    fn evict_until(&mut self, tier: usize, size: i128) {
        while self.tiers[tier].free < size
            && let Some(held) = self.tiers[tier].next_victim()
        {
            self.evict(tier, held);
        }
        while self.tiers[tier].free < size + self.tiers[tier].slack
            && let Some(held) = self.tiers[tier].spare.pop_front()
        {
            self.evict(tier, held);
        }
    }

    fn evict(&mut self, tier: usize, held: usize) {
        let Held { root, size, .. } = self.situation.held[held];
        self.evicted[held] = true;
        self.tiers[tier].free += i128::from(size);
        self.tiers[tier].evictable -= i128::from(size);
        self.plan.evict.push(Evict { root, size, tier });
    }
}

impl Space {
    fn next_victim(&mut self) -> Option<usize> {
        self.spare.pop_front().or_else(|| self.losers.pop_front())
    }
}

fn fetch(want: &Want, tier: usize) -> Fetch {
    Fetch {
        root: want.root,
        size: want.size,
        tier,
        urgent: want.urgent,
        repair: want.held.is_some(),
        entries: Entries(want.entries.clone()),
    }
}

/// What the trial does not touch: what has no room, what is there, and paths to set.
fn finish(
    plan: &mut Plan,
    situation: &Situation<'_>,
    wants: Wants,
    choice: &Choice,
    evicted: &[bool],
) {
    let rank: std::collections::HashMap<_, _> = wants
        .objects
        .iter()
        .map(|want| (want.root, want.rank()))
        .collect();
    plan.fetch
        .sort_by_key(|fetch| (!fetch.urgent, rank.get(&fetch.root).copied()));
    plan.entries = wants.entries;
    for (want, chosen) in wants.objects.iter().zip(&choice.tiers) {
        match (want.tier, want.held) {
            (Some(_), Some(held)) => {
                plan.held_wanted = plan.held_wanted.plus(want.size);
                if !evicted[held] {
                    publish(plan, situation, want, &situation.held[held]);
                }
            }
            _ if chosen.is_none() => plan.without_room.push(fetch(want, 0)),
            _ => {}
        }
    }
    plan.without_room
        .sort_by_key(|fetch| rank.get(&fetch.root).copied());
}

/// Adds the paths that do not lead to the object yet, or say something else of it.
fn publish(plan: &mut Plan, situation: &Situation<'_>, want: &Want, held: &Held<'_>) {
    let start = plan.entries.len() as u32;
    for index in want.entries.start..want.entries.end {
        let entry = plan.entries[index as usize];
        let wanted = &situation.wanted[entry as usize];
        let same = |held: &HeldPath<'_>| {
            held.path == &*wanted.path
                && held.content_type == &*wanted.content_type
                && held.modified == wanted.modified
                && wanted
                    .cache_control
                    .as_deref()
                    .is_none_or(|value| value == held.cache_control)
        };
        if !held.paths.iter().any(same) {
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
