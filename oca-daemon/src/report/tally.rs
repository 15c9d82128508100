//! What viewers got and missed and no report that told it was answered yet. Pure; bounded, also while nobody answers for days
//! and somebody asks for random paths.

use std::collections::HashMap;

use content_store::{Object, ObjectId};
use protocol::control::{Miss, Served};
use protocol::root::Root;

use crate::limits::{MISSED_KEPT, REPORT_MISSES, REPORT_SERVED, SERVED_KEPT};

/// The books.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes and size of objects.
    served: HashMap<ObjectId, (u64, u64)>,
    missed: HashMap<String, u64>,
    forgotten_bytes: u64,
}

impl Tally {
    /// Viewers got `bytes` of `object`.
    pub fn served(&mut self, object: &Object, bytes: u64) {
        self.add(object.id, object.size(), bytes);
    }

    fn add(&mut self, object: ObjectId, size: u64, bytes: u64) {
        if let Some((sum, _)) = self.served.get_mut(&object) {
            *sum += bytes;
        } else if self.served.len() < SERVED_KEPT {
            self.served.insert(object, (bytes, size));
        } else {
            self.forgotten_bytes += bytes;
        }
    }

    /// A viewer missed `path`. Paths that are asked for often stay among random ones (Misra and Gries, 1982): when there is no
    /// room, every count falls by one instead. A count is too low by at most one for every [`MISSED_KEPT`] misses.
    pub fn missed(&mut self, path: &str) {
        if let Some(requests) = self.missed.get_mut(path) {
            *requests += 1;
        } else if self.missed.len() < MISSED_KEPT {
            self.missed.insert(path.to_owned(), 1);
        } else {
            self.missed.retain(|_, requests| {
                *requests -= 1;
                *requests > 0
            });
        }
    }

    /// Bytes of objects for which there was no room.
    #[must_use]
    pub fn forgotten_bytes(&self) -> u64 {
        self.forgotten_bytes
    }

    /// What the next report tells: the objects of which most bytes were sent.
    #[must_use]
    pub fn most_served(&self) -> Vec<Served> {
        let served = self.served.iter().map(|(object, (bytes, size))| Served {
            root: Root(object.0),
            bytes: *bytes,
            size: *size,
        });
        largest(served.collect(), REPORT_SERVED, |served| served.bytes)
    }

    /// What the next report tells: the paths that were missed most.
    #[must_use]
    pub fn most_missed(&self) -> Vec<Miss> {
        let missed = self.missed.iter().map(|(path, requests)| Miss {
            path: path.clone(),
            requests: *requests,
        });
        largest(missed.collect(), REPORT_MISSES, |miss| miss.requests)
    }

    /// These were told, and the endpoint has answered.
    pub fn answered(&mut self, served: &[Served], missed: &[Miss]) {
        for told in served {
            let object = ObjectId(told.root.0);
            if let Some((bytes, _)) = self.served.get_mut(&object) {
                *bytes -= told.bytes.min(*bytes);
                if *bytes == 0 {
                    self.served.remove(&object);
                }
            }
        }
        for told in missed {
            if let Some(requests) = self.missed.get_mut(&told.path) {
                *requests -= told.requests.min(*requests);
                if *requests == 0 {
                    self.missed.remove(&told.path);
                }
            }
        }
    }
}

/// The `most` entries that count most, in that order.
fn largest<T>(mut entries: Vec<T>, most: usize, count: impl Fn(&T) -> u64) -> Vec<T> {
    if entries.len() > most {
        entries.select_nth_unstable_by_key(most, |entry| std::cmp::Reverse(count(entry)));
        entries.truncate(most);
    }
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(count(entry)));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(number: usize) -> ObjectId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_le_bytes());
        ObjectId(id)
    }

    #[test]
    fn what_was_answered_is_told_no_more_and_the_rest_stays() {
        let mut tally = Tally::default();
        tally.add(object(1), 10, 100);
        tally.add(object(2), 10, 300);
        let told = tally.most_served();
        let told_bytes: Vec<u64> = told.iter().map(|served| served.bytes).collect();
        assert_eq!(told_bytes, [300, 100]);
        assert_eq!(tally.most_served(), told, "until it was answered");
        tally.add(object(1), 10, 7);
        tally.missed("/a");
        tally.answered(&told, &[]);
        let left = tally.most_served();
        assert_eq!((left.len(), left[0].bytes, left[0].size), (1, 7, 10));
        let missed = tally.most_missed();
        assert_eq!((missed.len(), missed[0].requests), (1, 1));
        tally.answered(&left, &missed);
        assert!(tally.served.is_empty() && tally.missed.is_empty());
    }

    #[test]
    fn a_report_tells_the_largest_and_the_others_follow() {
        let mut tally = Tally::default();
        (0..REPORT_SERVED + 5).for_each(|number| tally.add(object(number), 1, number as u64 + 1));
        let first = tally.most_served();
        assert_eq!(first.len(), REPORT_SERVED);
        assert_eq!(first[REPORT_SERVED - 1].bytes, 6);
        tally.answered(&first, &[]);
        assert_eq!(tally.most_served().len(), 5);
    }

    #[test]
    fn there_is_a_bound_for_objects() {
        let mut tally = Tally::default();
        (0..SERVED_KEPT + 3).for_each(|number| tally.add(object(number), 1, 2));
        tally.add(object(0), 1, 2);
        assert_eq!(
            (tally.served.len(), tally.forgotten_bytes()),
            (SERVED_KEPT, 6)
        );
    }

    #[test]
    fn a_flood_of_random_paths_does_not_drown_one_that_is_wanted() {
        let mut tally = Tally::default();
        let flood = 20 * MISSED_KEPT;
        for number in 0..flood {
            tally.missed(&format!("/random/{number}"));
            if number % 10 == 0 {
                tally.missed("/wanted");
            }
        }
        assert!(tally.missed.len() <= MISSED_KEPT);
        let most = &tally.most_missed()[0];
        assert_eq!(most.path, "/wanted");
        let asked = flood as u64 / 10;
        assert!(
            (asked - 22..=asked).contains(&most.requests),
            "{}",
            most.requests
        );
    }
}
