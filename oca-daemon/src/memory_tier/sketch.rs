//! [`Sketch`]: how often each of very many things was used, in little memory.
//!
//! A count-min sketch (Cormode, Muthukrishnan 2005) with conservative update: a count is never too low, and too high only when
//! all four of a thing's counters are shared with others that are used more. It is halved now and then, so that what was used
//! long ago fades (TinyLFU, Einziger, Friedman, Manes 2017).

use std::hash::{DefaultHasher, Hash, Hasher};

/// Counters of each thing.
const ROWS: usize = 4;

/// Counts of uses.
#[derive(Debug)]
pub struct Sketch {
    /// `ROWS` rows one after another, each as long as a power of two.
    counters: Box<[u32]>,
    mask: usize,
}

impl Sketch {
    /// Room for about `things` at a time: more of them make the counts less exact, not wrong. Costs 16 to 32 bytes each.
    #[must_use]
    pub fn new(things: usize) -> Self {
        let width = things.next_power_of_two();
        Self {
            counters: vec![0; ROWS * width].into(),
            mask: width - 1,
        }
    }

    /// Adds `uses` and returns the count.
    pub fn add(&mut self, thing: &impl Hash, uses: u32) -> u32 {
        let places = self.places(thing);
        let count = self.least(places).saturating_add(uses);
        for place in places {
            let counter = &mut self.counters[place];
            *counter = count.max(*counter);
        }
        count
    }

    /// The count.
    #[must_use]
    pub fn count(&self, thing: &impl Hash) -> u32 {
        self.least(self.places(thing))
    }

    /// Halves all counts.
    pub fn halve(&mut self) {
        self.counters.iter_mut().for_each(|counter| *counter /= 2);
    }

    fn least(&self, places: [usize; ROWS]) -> u32 {
        places
            .map(|place| self.counters[place])
            .into_iter()
            .min()
            .unwrap_or(0)
    }

    /// Two halves of one hash make the places of all rows (Kirsch, Mitzenmacher 2008).
    fn places(&self, thing: &impl Hash) -> [usize; ROWS] {
        let mut hasher = DefaultHasher::new();
        thing.hash(&mut hasher);
        let hash = hasher.finish();
        let (first, step) = (hash as usize, (hash >> 32) as usize | 1);
        std::array::from_fn(|row| {
            let column = first.wrapping_add(step.wrapping_mul(row)) & self.mask;
            row * (self.mask + 1) + column
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn a_count_is_never_too_low(uses in prop::collection::vec((0u32..200, 1u32..50), 0..500)) {
            let mut sketch = Sketch::new(16);
            let mut exact = HashMap::new();
            for (thing, uses) in uses {
                let count = sketch.add(&thing, uses);
                let exact = exact.entry(thing).or_insert(0);
                *exact += uses;
                prop_assert!(count >= *exact);
            }
            for (thing, exact) in exact {
                prop_assert!(sketch.count(&thing) >= exact);
            }
        }
    }

    #[test]
    fn counts_are_nearly_exact_while_there_is_room_and_fade() {
        let mut sketch = Sketch::new(1000);
        for round in 1..=3 {
            for thing in 0..500u32 {
                sketch.add(&thing, thing % 7 + round);
            }
        }
        let exact = |thing: u32| 3 * (thing % 7) + 6;
        let wrong = |sketch: &Sketch| {
            (0..500)
                .filter(|thing| sketch.count(thing) != exact(*thing))
                .count()
        };
        assert!(wrong(&sketch) < 20, "{} are wrong", wrong(&sketch));
        sketch.halve();
        let fitting = (0..500).filter(|thing| sketch.count(thing) == exact(*thing) / 2);
        assert!(fitting.count() > 480);
        sketch.add(&1u32, u32::MAX);
        assert_eq!(
            sketch.add(&1u32, 5),
            u32::MAX,
            "it ends there, and does not begin anew"
        );
    }
}
