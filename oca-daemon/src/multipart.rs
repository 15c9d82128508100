//! Answers with several ranges (`multipart/byteranges`, RFC 9110 section 14.6): which part is being sent, and between which
//! boundaries. Each part's bytes leave as those of a single range do; what stands before a part is rendered when it begins.
//!
//! Such answers are rare, so a connection has no room for one: its [`Parts`] come from the worker's [`Shelf`] and go back.

use std::hash::{BuildHasher, RandomState};

use crate::limits::SPARE_PARTS;
use crate::range::{ByteRange, RangeSet};

/// What parts the bodies: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Boundary([u8; 16]);

impl Boundary {
    /// The digits.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The ranges of one answer, and how far it has come.
#[derive(Debug)]
pub struct Parts {
    set: RangeSet,
    at: usize,
    /// What parts them.
    pub boundary: Boundary,
    /// Bytes of the whole body.
    pub content_length: u64,
}

impl Parts {
    /// All ranges.
    pub fn ranges(&self) -> &[ByteRange] {
        self.set.ranges()
    }

    /// The range whose head comes next, or was sent; `None` when only the closing boundary is left.
    pub fn range(&self) -> Option<ByteRange> {
        self.set.ranges().get(self.at).copied()
    }

    /// Whether nothing of the body was begun.
    pub fn is_first(&self) -> bool {
        self.at == 0
    }

    /// Whether the last thing to be sent is being sent.
    pub fn is_last(&self) -> bool {
        self.at == self.set.ranges().len()
    }

    /// The part is sent: the next one, or the closing boundary.
    pub fn advance(&mut self) {
        self.at += 1;
    }
}

/// Where a worker keeps what answers with several ranges need.
#[derive(Debug)]
pub struct Shelf {
    /// Where the ranges of a request are collected.
    pub set: RangeSet,
    #[expect(clippy::vec_box, reason = "the boxes go into answers and come back")]
    spare: Vec<Box<Parts>>,
    keys: RandomState,
    made: u64,
}

impl Shelf {
    /// A shelf whose boundaries follow from `keys`: secret ones, so that nobody can publish content that holds a boundary
    /// of an answer to come.
    pub fn new(keys: RandomState) -> Self {
        Self {
            set: RangeSet::default(),
            spare: Vec::with_capacity(SPARE_PARTS),
            keys,
            made: 0,
        }
    }

    /// The parts of an answer with the ranges that were collected.
    pub fn take(&mut self) -> Box<Parts> {
        let parts = Parts {
            set: self.set,
            at: 0,
            boundary: self.boundary(),
            content_length: 0,
        };
        match self.spare.pop() {
            Some(mut place) => {
                *place = parts;
                place
            }
            None => Box::new(parts),
        }
    }

    /// Keeps a few places for the next answers.
    pub fn put_back(&mut self, parts: Box<Parts>) {
        if self.spare.len() < SPARE_PARTS {
            self.spare.push(parts);
        }
    }

    fn boundary(&mut self) -> Boundary {
        self.made += 1;
        let number = self.keys.hash_one(self.made);
        let digit = |at: usize| b"0123456789abcdef"[(number >> (4 * at)) as usize & 15];
        Boundary(std::array::from_fn(digit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_boundary_comes_twice_nor_with_other_keys() {
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let mut shelf = Shelf::new(RandomState::new());
            assert!((0..1000).all(|_| seen.insert(shelf.take().boundary.0)));
        }
    }

    #[test]
    fn a_place_that_was_put_back_is_used_again() {
        let mut shelf = Shelf::new(RandomState::new());
        let first = shelf.take();
        let place: *const Parts = &*first;
        shelf.put_back(first);
        assert!(std::ptr::eq(place, &*shelf.take()));
    }
}
