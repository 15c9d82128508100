//! [`Policy`]: which pieces are worth their place in memory. Pure: no clock, no thread, no file. The daemon and the simulation of
//! `oca-bench memory` drive the same code.
//!
//! What counts is how often each byte of a piece is used; [`READ_USES`] uses are one read of all of the piece. They are remembered of
//! every piece that anyone wants, in memory or not, in a [`Sketch`] that is halved after some traffic.
//!
//! - *Admission*: a piece must have been read more than once. When there is no room it must also have been read more often than what
//!   it displaces, by a margin: bringing it in costs a read. What one pass over a cold library wants has neither.
//! - *Eviction*: the least used of a sample of what is held.
//! - *Rank*: the uses that the plan of the content expects are lent to a piece when it is admitted. They fade as all others do, so a
//!   plan that was wrong is forgotten.

use std::collections::HashMap;
use std::hash::Hash;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::sketch::Sketch;
use crate::limits::{
    ADMISSION_USES, EVICTION_MARGIN_USES, EVICTION_SAMPLE, EVICTIONS_PER_ADMISSION,
    EXPECTED_USES_MAX, FADING_BUDGETS, READ_USES, SKETCH_BYTES_PER_PIECE, SKETCH_PIECES_MIN,
};

/// A piece that viewers want and that is perhaps not in memory.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<K> {
    /// Its name.
    pub piece: K,
    /// Its length.
    pub piece_bytes: u64,
    /// Bytes of it that are wanted now.
    pub read_bytes: u64,
    /// Its rank: the share of all traffic that the plan of the content expects for each byte of the piece. 0 if there is no plan.
    pub expected_share: f64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<K> {
    /// Give up `evict`, which is no longer in the books, and load the piece, which is in them now.
    Admit {
        /// Empty while there is room.
        evict: Vec<K>,
    },
    /// It is in the books already.
    Held,
    /// It stays where it is.
    Leave(Refusal),
}

/// Why a piece is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was not wanted often enough for anything.
    Seldom,
    /// There is no room, and what is held is wanted as much.
    LessThanHeld,
}

#[derive(Debug)]
struct Held<K> {
    piece: K,
    bytes: u64,
    /// It can be given up; before, it is still being loaded.
    is_loaded: bool,
}

/// What is held, and what was used how often.
#[derive(Debug)]
pub struct Policy<K> {
    budget_bytes: u64,
    used_bytes: u64,
    held: Vec<Held<K>>,
    /// Where in `held`.
    places: HashMap<K, usize>,
    uses: Sketch,
    /// Bytes of traffic until the counts are halved.
    until_fading: u64,
    dice: SmallRng,
}

impl<K: Copy + Eq + Hash> Policy<K> {
    /// Nothing is held. The same seed and the same calls give the same decisions.
    #[must_use]
    pub fn new(budget_bytes: u64, seed: u64) -> Self {
        let pieces = usize::try_from(budget_bytes / SKETCH_BYTES_PER_PIECE).unwrap_or(usize::MAX);
        Self {
            budget_bytes,
            used_bytes: 0,
            held: Vec::new(),
            places: HashMap::new(),
            uses: Sketch::new(pieces.max(SKETCH_PIECES_MIN)),
            until_fading: fading_bytes(budget_bytes),
            dice: SmallRng::seed_from_u64(seed),
        }
    }

    /// Bytes that may be held.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// Bytes of what is held, also of what is still being loaded.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Whether a piece is in the books.
    #[must_use]
    pub fn holds(&self, piece: &K) -> bool {
        self.places.contains_key(piece)
    }

    /// No more than what is held now will fit.
    pub fn stop_growing(&mut self) {
        self.budget_bytes = self.used_bytes;
    }

    /// `bytes` of a piece were used. Returns its uses.
    pub fn used(&mut self, piece: &K, piece_bytes: u64, bytes: u64) -> u32 {
        self.fade(bytes);
        let uses = (bytes * u64::from(READ_USES)).div_ceil(piece_bytes.max(1));
        self.uses
            .add(piece, u32::try_from(uses).unwrap_or(u32::MAX))
    }

    /// As [`Policy::used`], of a piece that could be brought into memory now.
    pub fn wanted(&mut self, wanted: &Wanted<K>) -> Decision<K> {
        let Wanted {
            piece,
            piece_bytes,
            read_bytes,
            expected_share,
        } = *wanted;
        let uses = self.used(&piece, piece_bytes, read_bytes);
        if self.holds(&piece) {
            return Decision::Held;
        }
        let expected = self.expected_uses(expected_share);
        let uses = uses.saturating_add(expected);
        if uses < ADMISSION_USES {
            return Decision::Leave(Refusal::Seldom);
        }
        let Some(evict) = self.make_room(piece_bytes, uses) else {
            return Decision::Leave(Refusal::LessThanHeld);
        };
        self.uses.add(&piece, expected);
        self.hold(piece, piece_bytes);
        Decision::Admit { evict }
    }

    /// An admitted piece is in memory.
    pub fn loaded(&mut self, piece: &K) {
        if let Some(&place) = self.places.get(piece) {
            self.held[place].is_loaded = true;
        }
    }

    /// A piece could not be loaded, or went with its file.
    pub fn gone(&mut self, piece: &K) {
        if let Some(place) = self.places.remove(piece) {
            self.used_bytes -= self.held.swap_remove(place).bytes;
            if let Some(moved) = self.held.get(place) {
                self.places.insert(moved.piece, place);
            }
        }
    }

    fn hold(&mut self, piece: K, bytes: u64) {
        self.used_bytes += bytes;
        self.places.insert(piece, self.held.len());
        self.held.push(Held {
            piece,
            bytes,
            is_loaded: false,
        });
    }

    /// Uses that the plan expects between two fadings.
    fn expected_uses(&self, share: f64) -> u32 {
        let reads = share * fading_bytes(self.budget_bytes) as f64;
        // A float is cut to what fits.
        ((reads * f64::from(READ_USES)) as u32).min(EXPECTED_USES_MAX)
    }

    fn fade(&mut self, bytes: u64) {
        self.until_fading = self.until_fading.saturating_sub(bytes);
        if self.until_fading == 0 {
            self.uses.halve();
            self.until_fading = fading_bytes(self.budget_bytes);
        }
    }

    /// What goes so that `bytes` fit; nothing is done unless enough is used less than `uses`.
    fn make_room(&mut self, bytes: u64, uses: u32) -> Option<Vec<K>> {
        let mut missing = (self.used_bytes + bytes).saturating_sub(self.budget_bytes);
        let mut evict = Vec::new();
        while missing > 0 {
            if evict.len() == EVICTIONS_PER_ADMISSION {
                return None;
            }
            let place = self.least_used(&evict)?;
            let victim = &self.held[place];
            if self
                .uses
                .count(&victim.piece)
                .saturating_add(EVICTION_MARGIN_USES)
                >= uses
            {
                return None;
            }
            missing = missing.saturating_sub(victim.bytes);
            evict.push(victim.piece);
        }
        evict.iter().for_each(|piece| self.gone(piece));
        Some(evict)
    }

    /// The place of the least used piece of a sample, without those that are chosen already.
    fn least_used(&mut self, chosen: &[K]) -> Option<usize> {
        if self.held.is_empty() {
            return None;
        }
        (0..EVICTION_SAMPLE)
            .map(|_| self.dice.random_range(0..self.held.len()))
            .filter(|&place| {
                let held = &self.held[place];
                held.is_loaded && !chosen.contains(&held.piece)
            })
            .min_by_key(|&place| self.uses.count(&self.held[place].piece))
    }
}

/// Traffic between two fadings.
fn fading_bytes(budget_bytes: u64) -> u64 {
    budget_bytes.saturating_mul(FADING_BUDGETS).max(1)
}

#[cfg(test)]
mod tests;
