//! From entries of the manifest to wanted objects, each with its rank and with what is held of it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Range;

use protocol::config::TierRole;
use protocol::manifest::Wanted;
use protocol::root::Root;

use super::{Held, Situation, Tier};
use crate::limits::DISPLACE_PERCENT;

/// A wanted object.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) root: Root,
    pub(super) size: u64,
    /// Of all its entries.
    pub(super) demand: u64,
    pub(super) urgent: bool,
    /// How many copies it is to have.
    pub(super) copies: u8,
    /// The first tier that may take it.
    pub(super) first_tier: usize,
    /// Of [`Wants::entries`].
    pub(super) entries: Range<u32>,
    /// Index of what is held of it.
    pub(super) held: Option<usize>,
    /// The tier in which it is held, whole.
    pub(super) tier: Option<usize>,
}

/// All wanted objects, by root.
#[derive(Debug, Default)]
pub(super) struct Wants {
    pub(super) objects: Vec<Want>,
    /// Indices of the manifest's entries, those of one object together, by path.
    pub(super) entries: Vec<u32>,
    /// Held objects that are not wanted.
    pub(super) unwanted: Vec<usize>,
}

/// Demand per byte, exactly, the best first; equals by root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank {
    demand: u128,
    size: u64,
    root: Root,
}

impl Rank {
    pub(super) fn new(demand: u64, size: u64, root: Root) -> Self {
        Self {
            demand: u128::from(demand) * 100,
            // An empty object takes no room, and ranks by its demand alone.
            size: size.max(1),
            root,
        }
    }

    /// The rank of what is in its place already.
    pub(super) fn in_place(self) -> Self {
        Self {
            demand: self.demand / 100 * u128::from(DISPLACE_PERCENT),
            ..self
        }
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        // demand < 2^72 and size < 2^43: the product fits.
        let (ours, theirs) = (
            self.demand * u128::from(other.size),
            other.demand * u128::from(self.size),
        );
        theirs.cmp(&ours).then_with(|| self.root.cmp(&other.root))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Want {
    pub(super) fn rank(&self) -> Rank {
        Rank::new(self.demand, self.size, self.root)
    }
}

/// Groups the manifest's entries by object, without what is taken down, and joins them with what is held.
pub(super) fn gather(situation: &Situation<'_>) -> Wants {
    let mut wants = Wants {
        entries: entries(situation),
        ..Wants::default()
    };
    let held = held_by_root(situation);
    let mut next_held = held.iter().copied().peekable();
    let mut start = 0;
    while start < wants.entries.len() {
        let root = situation.wanted[wants.entries[start] as usize].root;
        let same = |index: &u32| situation.wanted[*index as usize].root == root;
        let end = start
            + wants.entries[start..]
                .iter()
                .take_while(|index| same(index))
                .count();
        while let Some(index) = next_held.next_if(|index| situation.held[*index].root < root) {
            wants.unwanted.push(index);
        }
        let held = next_held.next_if(|index| situation.held[*index].root == root);
        let indices = &wants.entries[start..end];
        let group = indices
            .iter()
            .map(|index| &situation.wanted[*index as usize]);
        wants.objects.push(Want {
            held,
            tier: held
                .map(|index| &situation.held[index])
                .filter(|held| held.whole)
                .map(|held| held.tier),
            ..want(group, start as u32..end as u32, situation.tiers)
        });
        start = end;
    }
    wants.unwanted.extend(next_held);
    wants
}

/// Indices of what is wanted and not taken down, by object and path.
fn entries(situation: &Situation<'_>) -> Vec<u32> {
    let taken_down: HashSet<(&str, Root)> = situation
        .tombstones
        .iter()
        .map(|tombstone| (&*tombstone.path, tombstone.root))
        .collect();
    let wanted = situation.wanted;
    let key = |index: u32| (wanted[index as usize].root, &*wanted[index as usize].path);
    let mut entries: Vec<u32> = (0_u32..)
        .zip(wanted)
        .filter(|(_, entry)| !taken_down.contains(&(&*entry.path, entry.root)))
        .map(|(index, _)| index)
        .collect();
    entries.sort_unstable_by(|a, b| key(*a).cmp(&key(*b)));
    entries
}

/// Indices of what is held, by root. A tier that is not configured holds nothing.
fn held_by_root(situation: &Situation<'_>) -> Vec<usize> {
    let held: &[Held<'_>] = situation.held;
    let mut indices: Vec<usize> = (0..held.len())
        .filter(|index| held[*index].tier < situation.tiers.len())
        .collect();
    indices.sort_unstable_by_key(|index| held[*index].root);
    indices.dedup_by_key(|index| held[*index].root);
    indices
}

fn want<'a>(
    group: impl Iterator<Item = &'a Wanted> + Clone,
    entries: Range<u32>,
    tiers: &[Tier],
) -> Want {
    let first = group.clone().next().expect("a group has an entry");
    let hot = group.clone().any(|entry| entry.tier == TierRole::Hot);
    let role = if hot {
        TierRole::Hot
    } else {
        TierRole::Capacity
    };
    Want {
        root: first.root,
        size: first.size,
        demand: group
            .clone()
            .fold(0, |sum, entry| entry.demand.saturating_add(sum)),
        urgent: group.clone().any(|entry| entry.urgent),
        copies: group.clone().map(|entry| entry.copies).max().unwrap_or(1),
        // A box without tiers of that role puts it into what it has.
        first_tier: tier_order(tiers)
            .find(|tier| tiers[*tier].role == role)
            .unwrap_or(0),
        entries,
        held: None,
        tier: None,
    }
}

/// The tiers as an object falls through them: hot, then capacity, each in the order of the configuration.
pub(super) fn tier_order(tiers: &[Tier]) -> impl Iterator<Item = usize> {
    let of = |role| move |tier: &usize| tiers[*tier].role == role;
    (0..tiers.len())
        .filter(of(TierRole::Hot))
        .chain((0..tiers.len()).filter(of(TierRole::Capacity)))
}
