//! What is held and complete, and what of it the control endpoint knows. Pure but for one walk over the index.

use std::sync::{Arc, Weak};

use content_store::Index;
use platform::device::Verdict;
use protocol::control::Inventory;
use protocol::root::Root;

use crate::admin::held::is_complete;
use crate::shared::Shared;

/// States of the inventory, numbered from 1. Cost: 32 bytes per object, twice while they differ.
#[derive(Debug, Default)]
pub struct InventoryBook {
    revision: u64,
    /// In order.
    held: Arc<[Root]>,
    /// The last state that was answered.
    answered: Option<(u64, Arc<[Root]>)>,
    seen: Seen,
}

/// What decides which objects are held: nothing is counted while it stays.
#[derive(Debug, Default)]
struct Seen {
    index: Weak<Index>,
    working: Vec<bool>,
    bad_blocks: u64,
}

impl InventoryBook {
    /// Walks over the index if anything has changed. About 100 ns for each object then.
    pub fn look(&mut self, shared: &Shared) {
        let index = shared.index.load_full();
        let snapshots = shared.devices.iter().map(|device| device.snapshot());
        let (working, bad): (Vec<bool>, Vec<u64>) = snapshots
            .map(|device| (device.verdict == Verdict::Ok, device.corrupt))
            .unzip();
        let seen = Seen {
            index: Arc::downgrade(&index),
            working,
            bad_blocks: bad.iter().sum(),
        };
        if self.revision > 0 && self.seen.is_as(&seen) {
            return;
        }
        let complete = index
            .objects()
            .filter(|object| is_complete(object, &seen.working));
        self.holds(complete.map(|object| Root(object.id.0)).collect());
        self.seen = seen;
    }

    /// These objects are held and complete now.
    fn holds(&mut self, mut held: Vec<Root>) {
        held.sort_unstable();
        if self.revision == 0 || *held != *self.held {
            self.revision += 1;
            self.held = held.into();
        }
    }

    /// The number of the present state.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What is to be told: the changes since the state that was last answered, or all.
    #[must_use]
    pub fn told(&self) -> Inventory {
        let (since, before) = match &self.answered {
            Some((revision, before)) => (Some(*revision), &**before),
            None => (None, [].as_slice()),
        };
        Inventory {
            revision: self.revision,
            since,
            added: missing_in(before, &self.held),
            removed: missing_in(&self.held, before),
        }
    }

    /// The endpoint knows `known` after it was sent the present state as `revision` of the process that began at `started`.
    /// Returns whether that is the same.
    pub fn answered(&mut self, revision: u64, known: Option<(u64, u64)>, started: u64) -> bool {
        let is_known = known == Some((started, revision)) && revision == self.revision;
        self.answered = is_known.then(|| (revision, Arc::clone(&self.held)));
        is_known
    }
}

impl Seen {
    fn is_as(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.index, &other.index)
            && self.working == other.working
            && self.bad_blocks == other.bad_blocks
    }
}

/// What is in `all` and not in `these`; both are in order.
fn missing_in(these: &[Root], all: &[Root]) -> Vec<Root> {
    let mut these = these.iter().peekable();
    let is_missing = |root: &&Root| {
        while these.next_if(|one| one < root).is_some() {}
        these.peek() != Some(root)
    };
    all.iter().filter(is_missing).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const STARTED: u64 = 7;

    fn root(number: u8) -> Root {
        Root([number; 32])
    }

    fn roots(numbers: &[u8]) -> Vec<Root> {
        numbers.iter().copied().map(root).collect()
    }

    #[test]
    fn all_first_then_changes_and_all_again_if_something_else_is_known() {
        let mut book = InventoryBook::default();
        book.holds(roots(&[2, 1]));
        let first = book.told();
        assert_eq!((first.revision, first.since), (1, None));
        assert_eq!(first.added, roots(&[1, 2]));
        assert!(book.answered(1, Some((STARTED, 1)), STARTED));

        book.holds(roots(&[2, 1]));
        let same = book.told();
        assert_eq!((same.revision, same.since), (1, Some(1)));
        assert!(same.added.is_empty() && same.removed.is_empty());

        book.holds(roots(&[3, 2]));
        book.holds(roots(&[4, 2]));
        let changed = book.told();
        assert_eq!((changed.revision, changed.since), (3, Some(1)));
        assert_eq!((changed.added, changed.removed), (roots(&[4]), roots(&[1])));

        for other in [None, Some((STARTED, 1)), Some((STARTED + 1, 3))] {
            assert!(!book.answered(3, other, STARTED));
            let all = book.told();
            assert_eq!((all.since, all.added), (None, roots(&[2, 4])));
        }
    }

    #[test]
    fn what_was_not_answered_is_told_again() {
        let mut book = InventoryBook::default();
        book.holds(Vec::new());
        assert_eq!(book.told().revision, 1, "nothing is a state as well");
        book.answered(1, Some((STARTED, 1)), STARTED);
        book.holds(roots(&[1]));
        assert_eq!(book.told(), book.told());
        assert_eq!(book.told().added, roots(&[1]));
    }

    proptest! {
        #[test]
        fn changes_lead_from_one_state_to_the_other(
            before in proptest::collection::btree_set(any::<u8>(), 0..40),
            after in proptest::collection::btree_set(any::<u8>(), 0..40),
        ) {
            let list = |set: &BTreeSet<u8>| set.iter().copied().map(root).collect::<Vec<_>>();
            let difference = |one: &BTreeSet<u8>, other| one.difference(other).copied().map(root).collect::<Vec<_>>();
            prop_assert_eq!(missing_in(&list(&before), &list(&after)), difference(&after, &before));
            prop_assert_eq!(missing_in(&list(&after), &list(&before)), difference(&before, &after));
        }
    }
}
