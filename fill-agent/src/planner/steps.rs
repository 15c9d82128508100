//! From the choice to steps, in an order in which no tier passes its high watermark.
//!
//! The steps are tried on the sums of each tier: nothing leaves before something comes that needs its room, and what finds no
//! room because it waits for a move is left to a later plan.

use std::collections::{HashSet, VecDeque};

use protocol::root::Root;

use super::choose::{Choice, excess};
use super::relief::relief;
use super::space::{Need, Sinking, Sizes, Space, Victim, sinks, spaces};
use super::wants::{Rank, Want, Wants};
use super::{
    Allowance, Duplicate, Entries, Evict, Fetch, Fewer, Held, HeldPath, Move, Plan, Publish,
    Situation,
};
use crate::limits::{PLAN_ROUNDS, SINK_TRIES};

pub(super) fn steps(situation: &Situation<'_>, wants: Wants, choice: &Choice) -> Plan {
    let budget = Budget::new(situation.allowance);
    let mut sizes = Sizes {
        situation,
        copies: situation.held.iter().map(|held| held.copies).collect(),
    };
    if !budget.urgent_only {
        drop_surplus(&mut sizes, &wants);
    }
    let mut trial = Trial {
        situation,
        tiers: spaces(&sizes, &wants, choice),
        sizes,
        budget,
        evicted: vec![false; situation.held.len()],
        plan: Plan::default(),
    };
    trial.relieve_devices();
    let waiting = trial.come(&wants, choice);
    trial.settle_copies(&wants.objects, choice, &waiting);
    let Trial {
        mut plan, evicted, ..
    } = trial;
    plan.relief = relief(situation, &wants, &plan);
    plan.entries = wants.entries;
    finish(&mut plan, situation, &wants.objects, choice, &evicted);
    plan
}

/// Copies that are not wanted any more.
fn drop_surplus(sizes: &mut Sizes<'_>, wants: &Wants) {
    for held in &wants.unwanted {
        sizes.copies[*held] = 1;
    }
    for want in &wants.objects {
        if let Some(held) = want.held {
            sizes.copies[held] = sizes.copies[held].min(want.copies.max(1));
        }
    }
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
    sizes: Sizes<'a>,
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
    /// What is not wanted goes from devices that are above their high watermark.
    fn relieve_devices(&mut self) {
        for tier in 0..self.tiers.len() {
            for (device, excess) in (0..).zip(excess(self.situation, tier)) {
                for held in self.tiers[tier].take_spare_on(device, excess, &self.sizes) {
                    self.evict(held);
                }
            }
        }
    }

    fn go_below_the_high_watermarks(&mut self) {
        for tier in 0..self.tiers.len() {
            if self.tiers[tier].free < 0 {
                self.sink_until(tier, |space, _| {
                    space.free + space.spare_bytes + space.further_bytes >= 0
                });
                self.evict_until(tier, Need::default());
            }
        }
    }

    /// Goes below the high watermarks, moves up and fetches, by rank. In rounds, because a step may make the room that an earlier one lacked.
    /// Gives what waits, for each tier.
    fn come(&mut self, wants: &Wants, choice: &Choice) -> Vec<Need> {
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
        let mut waiting = vec![Need::default(); self.tiers.len()];
        for coming in rising.iter().chain(&missing) {
            let need = self.need(coming.want.size);
            waiting[coming.to].bytes += need.bytes;
            waiting[coming.to].objects += need.objects;
        }
        waiting
    }

    fn need(&self, size: u64) -> Need {
        Need {
            bytes: self.situation.bytes(size),
            objects: 1,
        }
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
            self.comes(to, self.need(want.size));
        }
        comes
    }

    /// Makes room for an object of that size and rank, if it can: first by what may be evicted, then by what belongs in a later tier.
    fn make_room(&mut self, tier: usize, size: u64, rank: Rank) -> bool {
        let need = self.need(size);
        if self.tiers[tier].has(need) {
            return true;
        }
        let comes = self.sink_until(tier, |space, situation| {
            space.could_free(situation, need, rank)
        });
        if comes {
            self.evict_until(tier, need);
        }
        comes
    }

    fn comes(&mut self, tier: usize, need: Need) {
        self.tiers[tier].free -= need.bytes;
        self.tiers[tier].objects -= need.objects;
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

    /// One copy comes, all others go.
    fn move_to(&mut self, held: usize, to: usize) {
        let Held {
            root, size, tier, ..
        } = self.situation.held[held];
        self.note_fewer(held);
        self.tiers[tier].forget_copies(held, &self.sizes);
        self.goes(held);
        self.comes(to, self.need(size));
        self.sizes.copies[held] = 1;
        self.plan.moves.push(Move {
            root,
            size,
            from: tier,
            to,
        });
    }

    fn goes(&mut self, held: usize) {
        if !self.situation.held[held].takes_room {
            return;
        }
        let space = &mut self.tiers[self.situation.held[held].tier];
        space.free += self.sizes.all(held);
        space.objects += i128::from(self.sizes.copies[held]);
    }

    /// Evicts until there is room, and goes on with what is spare until the low watermark.
    fn evict_until(&mut self, tier: usize, need: Need) {
        while !self.tiers[tier].has(need)
            && let Some(victim) = self.tiers[tier].take_victim(&self.sizes)
        {
            match victim {
                Victim::Object(held) => self.evict(held),
                Victim::Copy(held) => {
                    self.sizes.copies[held] -= 1;
                    self.tiers[tier].free += self.sizes.one(held);
                    self.tiers[tier].objects += 1;
                }
            }
        }
        while self.tiers[tier].free < need.bytes + self.tiers[tier].slack
            && let Some(held) = self.tiers[tier].take_spare(&self.sizes)
        {
            self.evict(held);
        }
    }

    fn evict(&mut self, held: usize) {
        let Held {
            root, size, tier, ..
        } = self.situation.held[held];
        self.evicted[held] = true;
        self.goes(held);
        self.plan.evict.push(Evict { root, size, tier });
    }

    /// Says which objects lose copies, and which get some in the room that nothing else needs, `waiting` neither.
    fn settle_copies(&mut self, wants: &[Want], choice: &Choice, waiting: &[Need]) {
        let moved: HashSet<Root> = self.plan.moves.iter().map(|step| step.root).collect();
        let is_here =
            |held: usize| !self.evicted[held] && !moved.contains(&self.situation.held[held].root);
        let stays: Vec<bool> = (0..self.evicted.len()).map(is_here).collect();
        (0..stays.len())
            .filter(|held| stays[*held])
            .for_each(|held| self.note_fewer(held));
        self.plan.fewer.sort_unstable_by_key(|one| one.root);
        if self.budget.urgent_only {
            return;
        }
        for (tier, need) in waiting.iter().enumerate() {
            self.comes(tier, *need);
        }
        let in_place = |(want, chosen): (&Want, &Option<usize>)| {
            let held = want.held.filter(|held| want.copies > 1 && stays[*held])?;
            (want.tier.is_some() && want.tier == *chosen).then(|| (want.rank(), held, want.copies))
        };
        let mut wanted: Vec<(Rank, usize, u8)> = wants
            .iter()
            .zip(&choice.tiers)
            .filter_map(in_place)
            .collect();
        wanted.sort_unstable_by_key(|(rank, ..)| *rank);
        for (_, held, copies) in wanted {
            self.duplicate(held, copies);
        }
    }

    /// The object loses copies, if the trial took some.
    fn note_fewer(&mut self, held: usize) {
        let Held { root, copies, .. } = self.situation.held[held];
        let keep = self.sizes.copies[held];
        if keep < copies {
            self.plan.fewer.push(Fewer { root, keep });
        }
    }

    /// Brings an object to so many copies, as far as there is room.
    fn duplicate(&mut self, held: usize, copies: u8) {
        let Held {
            root,
            size,
            tier,
            copies: now,
            further,
            ..
        } = self.situation.held[held];
        let (need, before) = (self.need(size), self.sizes.copies[held]);
        let most = copies.min(now.saturating_add(further));
        while self.sizes.copies[held] < most && self.tiers[tier].has(need) {
            self.comes(tier, need);
            self.sizes.copies[held] += 1;
        }
        let count = self.sizes.copies[held] - before;
        if count > 0 {
            self.plan.duplicates.push(Duplicate {
                root,
                size,
                tier,
                count,
            });
        }
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
