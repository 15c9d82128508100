//! The sums of one tier while a plan is tried, and what may leave it.
//!
//! Of what may leave, what is spare goes first, then further copies, then what was not chosen.

use std::cmp::Reverse;
use std::collections::VecDeque;

use super::choose::{Choice, free, room_objects, slack};
use super::wants::{Rank, Wants, tier_order};
use super::{Held, Situation};

/// A tier in the trial.
pub(super) struct Space {
    /// Bytes up to the high watermark; negative above it.
    pub(super) free: i128,
    /// Objects that may come before the file systems have no files left.
    pub(super) objects: i128,
    /// Bytes between the watermarks.
    pub(super) slack: i128,
    /// What goes at no loss, the least valuable first: not whole, or not wanted. Indices of held objects.
    spare: VecDeque<usize>,
    pub(super) spare_bytes: i128,
    /// Copies beside the first one of what is wanted, those of the lowest first.
    further: VecDeque<(Rank, usize)>,
    pub(super) further_bytes: i128,
    /// What is wanted and was not chosen, the lowest first.
    losers: VecDeque<(Rank, usize)>,
    /// What belongs in a later tier, the lowest first.
    pub(super) sinking: VecDeque<Sinking>,
}

/// An object that belongs in a later tier.
#[derive(Clone, Copy)]
pub(super) struct Sinking {
    pub(super) rank: Rank,
    /// Index of the held object.
    pub(super) held: usize,
    /// The later tier.
    pub(super) to: usize,
}

/// What may leave a tier.
#[derive(Debug, Clone, Copy)]
pub(super) enum Victim {
    /// A held object, by its index.
    Object(usize),
    /// One copy of it.
    Copy(usize),
}

/// What an eviction has to make room for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Need {
    pub(super) bytes: i128,
    pub(super) objects: i128,
}

/// What held objects take, as the trial has them by now.
pub(super) struct Sizes<'a> {
    pub(super) situation: &'a Situation<'a>,
    /// Copies of each held object.
    pub(super) copies: Vec<u8>,
}

impl Sizes<'_> {
    /// Bytes of one copy.
    pub(super) fn one(&self, held: usize) -> i128 {
        self.situation.bytes(self.situation.held[held].size)
    }

    /// Bytes of all copies.
    pub(super) fn all(&self, held: usize) -> i128 {
        self.one(held) * i128::from(self.copies[held])
    }
}

/// The tiers before any step.
pub(super) fn spaces(sizes: &Sizes<'_>, wants: &Wants, choice: &Choice) -> Vec<Space> {
    let situation = sizes.situation;
    let mut spaces: Vec<Space> = (0..situation.tiers.len())
        .map(|tier| Space {
            free: free(situation, tier),
            objects: room_objects(situation, tier),
            slack: slack(situation, tier),
            spare: VecDeque::new(),
            spare_bytes: 0,
            further: VecDeque::new(),
            further_bytes: 0,
            losers: VecDeque::new(),
            sinking: VecDeque::new(),
        })
        .collect();
    for (held, object) in situation.held.iter().enumerate() {
        let dropped = i128::from(object.copies - sizes.copies[held]);
        let is_felt = dropped > 0 && object.takes_room;
        if let Some(space) = spaces.get_mut(object.tier).filter(|_| is_felt) {
            space.free += sizes.one(held) * dropped;
            space.objects += dropped;
        }
    }
    let takes_room = |held: &usize| situation.held[*held].takes_room;
    for held in wants.unwanted.iter().filter(|held| takes_room(held)) {
        spaces[situation.held[*held].tier].add_spare(*held, sizes);
    }
    for (want, chosen) in wants.objects.iter().zip(&choice.tiers) {
        let Some(held) = want.held.filter(takes_room) else {
            continue;
        };
        let space = &mut spaces[situation.held[held].tier];
        let rank = want.rank();
        if want.tier.is_some() {
            for _ in 1..sizes.copies[held] {
                space.further.push_back((rank, held));
                space.further_bytes += sizes.one(held);
            }
        }
        match (want.tier, *chosen) {
            (None, _) => space.add_spare(held, sizes),
            (Some(_), None) => space.losers.push_back((rank, held)),
            (Some(from), Some(to)) if sinks(situation, from, to) => {
                space.sinking.push_back(Sinking { rank, held, to });
            }
            (Some(_), Some(_)) => {}
        }
    }
    for space in &mut spaces {
        space.sort(situation);
    }
    spaces
}

/// Whether `to` comes after `from` on the way that objects fall.
pub(super) fn sinks(situation: &Situation<'_>, from: usize, to: usize) -> bool {
    let mut order = tier_order(situation.tiers);
    from != to && order.find(|tier| *tier == from || *tier == to) == Some(from)
}

impl Space {
    fn add_spare(&mut self, held: usize, sizes: &Sizes<'_>) {
        self.spare.push_back(held);
        self.spare_bytes += sizes.all(held);
    }

    fn sort(&mut self, situation: &Situation<'_>) {
        let spare = self.spare.make_contiguous();
        spare.sort_by_cached_key(|held| value(&situation.held[*held]));
        for list in [&mut self.losers, &mut self.further] {
            list.make_contiguous()
                .sort_unstable_by_key(|(rank, _)| Reverse(*rank));
        }
        self.sinking
            .make_contiguous()
            .sort_unstable_by_key(|sinking| Reverse(sinking.rank));
    }

    /// Whether there is room now.
    pub(super) fn has(&self, need: Need) -> bool {
        self.free >= need.bytes && self.objects >= need.objects
    }

    /// Whether there would be room without what is spare, further copies, and what ranks lower.
    pub(super) fn could_free(&self, situation: &Situation<'_>, need: Need, rank: Rank) -> bool {
        let goes = self.spare.len() + self.further.len();
        let mut bytes = need.bytes - self.free - self.spare_bytes - self.further_bytes;
        let mut objects = need.objects - self.objects - goes as i128;
        let mut lower = self.losers.iter().take_while(|(loser, _)| *loser > rank);
        while bytes > 0 || objects > 0 {
            let Some((_, held)) = lower.next() else {
                return false;
            };
            bytes -= situation.bytes(situation.held[*held].size);
            objects -= 1;
        }
        true
    }

    /// The next to leave.
    pub(super) fn take_victim(&mut self, sizes: &Sizes<'_>) -> Option<Victim> {
        if let Some(held) = self.take_spare(sizes) {
            return Some(Victim::Object(held));
        }
        if let Some((_, held)) = self.further.pop_front() {
            self.further_bytes -= sizes.one(held);
            return Some(Victim::Copy(held));
        }
        let (_, held) = self.losers.pop_front()?;
        Some(Victim::Object(held))
    }

    /// The next to leave at no loss.
    pub(super) fn take_spare(&mut self, sizes: &Sizes<'_>) -> Option<usize> {
        let held = self.spare.pop_front()?;
        self.spare_bytes -= sizes.all(held);
        Some(held)
    }

    /// What leaves at no loss and lies on this device of the tier, the least valuable first, until so many bytes are free there.
    pub(super) fn take_spare_on(
        &mut self,
        device: u32,
        mut missing: i128,
        sizes: &Sizes<'_>,
    ) -> Vec<usize> {
        let mut taken = Vec::new();
        self.spare.retain(|held| {
            let devices = sizes.situation.held[*held].devices;
            let goes = missing > 0 && devices.unbounded_shr(device) & 1 == 1;
            if goes {
                missing -= sizes.all(*held) / i128::from(devices.count_ones());
                taken.push(*held);
            }
            !goes
        });
        self.spare_bytes -= taken.iter().map(|held| sizes.all(*held)).sum::<i128>();
        taken
    }

    /// The object is in another tier, with one copy.
    pub(super) fn forget_copies(&mut self, held: usize, sizes: &Sizes<'_>) {
        self.further.retain(|(_, of)| *of != held);
        self.further_bytes -= sizes.all(held) - sizes.one(held);
    }
}

/// The least valuable first: what cannot be served, then by demand per byte.
fn value(held: &Held<'_>) -> (bool, Reverse<Rank>) {
    let servable = held.whole && !held.paths.is_empty();
    let rank = Rank::new(held.demand, held.size, held.root);
    (servable, Reverse(rank))
}
