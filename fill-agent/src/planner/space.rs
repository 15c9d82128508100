//! The sums of one tier while a plan is tried, and what may leave it.

use std::cmp::Reverse;
use std::collections::VecDeque;

use super::choose::{Choice, free, slack};
use super::wants::{Rank, Wants, tier_order};
use super::{Held, Situation};

/// A tier in the trial.
pub(super) struct Space {
    /// Bytes up to the high watermark; negative above it.
    pub(super) free: i128,
    /// Bytes between the watermarks.
    pub(super) slack: i128,
    /// What goes at no loss, the least valuable first: not whole, or not wanted. Indices of held objects.
    spare: VecDeque<usize>,
    pub(super) spare_bytes: i128,
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

/// The tiers before any step.
pub(super) fn spaces(situation: &Situation<'_>, wants: &Wants, choice: &Choice) -> Vec<Space> {
    let mut spaces: Vec<Space> = (0..situation.tiers.len())
        .map(|tier| Space {
            free: free(situation, tier),
            slack: slack(situation, tier),
            spare: VecDeque::new(),
            spare_bytes: 0,
            losers: VecDeque::new(),
            sinking: VecDeque::new(),
        })
        .collect();
    for held in &wants.unwanted {
        spaces[situation.held[*held].tier].add_spare(situation, *held);
    }
    for (want, chosen) in wants.objects.iter().zip(&choice.tiers) {
        let Some(held) = want.held else { continue };
        let space = &mut spaces[situation.held[held].tier];
        let rank = want.rank();
        match (want.tier, *chosen) {
            (None, _) => space.add_spare(situation, held),
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
    fn add_spare(&mut self, situation: &Situation<'_>, held: usize) {
        self.spare.push_back(held);
        self.spare_bytes += i128::from(situation.held[held].size);
    }

    fn sort(&mut self, situation: &Situation<'_>) {
        let spare = self.spare.make_contiguous();
        spare.sort_by_cached_key(|held| value(&situation.held[*held]));
        self.losers
            .make_contiguous()
            .sort_unstable_by_key(|(rank, _)| Reverse(*rank));
        self.sinking
            .make_contiguous()
            .sort_unstable_by_key(|sinking| Reverse(sinking.rank));
    }

    /// Whether `size` bytes would be free without what is spare and what ranks lower.
    pub(super) fn could_free(&self, situation: &Situation<'_>, size: i128, rank: Rank) -> bool {
        let mut missing = size - self.free - self.spare_bytes;
        let mut lower = self.losers.iter().take_while(|(loser, _)| *loser > rank);
        while missing > 0 {
            let Some((_, held)) = lower.next() else {
                return false;
            };
            missing -= i128::from(situation.held[*held].size);
        }
        true
    }

    /// The next to leave.
    pub(super) fn take_victim(&mut self, situation: &Situation<'_>) -> Option<usize> {
        let loser = |space: &mut Self| space.losers.pop_front().map(|(_, held)| held);
        self.take_spare(situation).or_else(|| loser(self))
    }

    /// The next to leave at no loss.
    pub(super) fn take_spare(&mut self, situation: &Situation<'_>) -> Option<usize> {
        let held = self.spare.pop_front()?;
        self.spare_bytes -= i128::from(situation.held[held].size);
        Some(held)
    }
}

/// The least valuable first: what cannot be served, then by demand per byte.
fn value(held: &Held<'_>) -> (bool, Reverse<Rank>) {
    let servable = held.whole && !held.paths.is_empty();
    let rank = Rank::new(held.demand, held.size, held.root);
    (servable, Reverse(rank))
}
