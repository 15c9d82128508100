//! Which copies are repaired, and in what order: those of wanted objects that stay where they are, the most asked for per byte first.
//! Pure.

use std::collections::{HashMap, HashSet};

use protocol::manifest::Wanted;
use protocol::root::Root;

use super::wants::Rank;
use super::{Plan, Situation};

/// A copy of which columns are lost or bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Its object.
    pub root: Root,
    /// The object's size in bytes.
    pub size: u64,
    /// Generation in which the copy was placed.
    pub placed: u64,
    /// Name of its tier.
    pub tier: Box<str>,
    /// Bytes of those columns.
    pub bytes: u64,
    /// Another copy of the object is whole.
    pub another_is_whole: bool,
}

/// A copy to repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// What is wrong with it.
    pub damaged: Damaged,
    /// One of the paths that lead to its object.
    pub path: Box<str>,
    /// The peer that holds it, as in the manifest.
    pub via: Option<u16>,
}

/// The repairs beside a plan that was made of the same situation. What has no whole copy is taken out of the plan's moves and copies: it
/// is repaired first.
#[must_use]
pub fn repairs(plan: &mut Plan, situation: &Situation<'_>, damaged: Vec<Damaged>) -> Vec<Repair> {
    if damaged.is_empty() {
        return Vec::new();
    }
    let broken = damaged.iter().filter(|damaged| !damaged.another_is_whole);
    let broken: HashSet<Root> = broken.map(|damaged| damaged.root).collect();
    plan.moves.retain(|one| !broken.contains(&one.root));
    plan.duplicates.retain(|one| !broken.contains(&one.root));
    let wrong: HashSet<Root> = damaged.iter().map(|damaged| damaged.root).collect();
    plan.relief.retain(|one| !wrong.contains(&one.root));
    let wanted = wanted(situation, &damaged);
    let evicted = plan.evict.iter().map(|one| one.root);
    let moved = plan.moves.iter().map(|one| one.root);
    let fetched = plan.fetch.iter().map(|one| one.root);
    let touched: HashSet<Root> = evicted.chain(moved).chain(fetched).collect();
    let mut repairs: Vec<(Rank, Repair)> = damaged
        .into_iter()
        .filter(|damaged| !touched.contains(&damaged.root))
        .filter_map(|damaged| {
            let (entry, demand) = wanted.get(&damaged.root)?;
            let rank = Rank::new(*demand, damaged.size, damaged.root);
            let repair = Repair {
                path: entry.path.clone(),
                via: entry.via,
                damaged,
            };
            Some((rank, repair))
        })
        .collect();
    repairs.sort_by_key(|(rank, _)| *rank);
    repairs.into_iter().map(|(_, repair)| repair).collect()
}

/// Of each damaged object that is wanted, and not taken down, its first entry and the demand of all.
fn wanted<'a>(situation: &Situation<'a>, damaged: &[Damaged]) -> HashMap<Root, (&'a Wanted, u64)> {
    let roots: HashSet<Root> = damaged.iter().map(|damaged| damaged.root).collect();
    let tombstones = situation.tombstones.iter();
    let tombstones = tombstones.filter(|tombstone| roots.contains(&tombstone.root));
    let gone: HashSet<(&str, Root)> = tombstones
        .map(|tombstone| (&*tombstone.path, tombstone.root))
        .collect();
    let entries = situation.wanted.iter();
    let entries = entries.filter(|entry| roots.contains(&entry.root));
    let mut wanted: HashMap<Root, (&Wanted, u64)> = HashMap::new();
    for entry in entries.filter(|entry| !gone.contains(&(&*entry.path, entry.root))) {
        let (first, demand) = wanted.entry(entry.root).or_insert((entry, 0));
        *demand = demand.saturating_add(entry.demand);
        if entry.path < first.path {
            *first = entry;
        }
    }
    wanted
}
