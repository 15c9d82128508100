//! What is held and complete, and what of it the control endpoint knows. After a commit, only the pages of the index that it changed are
//! looked at, and told from.

use std::sync::Arc;

use content_store::Index;
use platform::device::Verdict;
use protocol::control::Inventory;
use protocol::root::Root;

use crate::admin::held::{PerPage, is_complete};
use crate::shared::Shared;

/// States of the inventory, numbered from 1. Cost: 32 bytes per object, twice for those of pages that have changed and were not answered.
#[derive(Debug, Default)]
pub struct InventoryBook {
    revision: u64,
    held: PerPage<Roots>,
    /// The last state that was answered.
    answered: Option<(u64, Vec<Roots>)>,
    seen: Seen,
}

/// Of one page of the index, in order.
type Roots = Arc<[Root]>;

/// What decides which objects are held, beside the index.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    working: Vec<bool>,
    bad_blocks: u64,
}

impl InventoryBook {
    /// Looks at what has changed of the index; at all of it if something else has. Returns how many objects those were. About 100 ns for each.
    pub fn look(&mut self, shared: &Shared) -> usize {
        let index = shared.index.load_full();
        let snapshots = shared.devices.iter().map(|device| device.snapshot());
        let (working, bad): (Vec<bool>, Vec<u64>) = snapshots
            .map(|device| (device.verdict == Verdict::Ok, device.corrupt))
            .unzip();
        let seen = Seen {
            working,
            bad_blocks: bad.iter().sum(),
        };
        self.follow(&index, seen)
    }

    fn follow(&mut self, index: &Index, seen: Seen) -> usize {
        if self.seen != seen {
            self.held.doubt();
            self.seen = seen;
        }
        let (working, mut has_changed) = (&self.seen.working, self.revision == 0);
        let looked_at = self.held.follow(index, |held, objects| {
            let complete = objects.filter(|object| is_complete(object, working));
            let now: Roots = complete.map(|object| Root(object.id.0)).collect();
            if *now != **held {
                *held = now;
                has_changed = true;
            }
        });
        self.revision += u64::from(has_changed);
        looked_at
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
            Some((revision, before)) => (Some(*revision), before.as_slice()),
            None => (None, [].as_slice()),
        };
        let none = Roots::default();
        let before = before.iter().chain(std::iter::repeat(&none));
        let pages = self.held.iter().zip(before);
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for (now, before) in pages.filter(|(now, before)| !Arc::ptr_eq(now, before)) {
            added.extend(missing_in(before, now));
            removed.extend(missing_in(now, before));
        }
        Inventory {
            revision: self.revision,
            since,
            added,
            removed,
        }
    }

    /// The endpoint knows `known` after it was sent the present state as `revision` of the process that began at `started`.
    /// Returns whether that is the same.
    pub fn answered(&mut self, revision: u64, known: Option<(u64, u64)>, started: u64) -> bool {
        let is_known = known == Some((started, revision)) && revision == self.revision;
        self.answered = is_known.then(|| (revision, self.held.iter().cloned().collect()));
        is_known
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
    use crate::admin::held::shelf::{Shelf, id};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const STARTED: u64 = 7;

    fn root(number: u8) -> Root {
        Root([number; 32])
    }

    /// In order.
    fn roots(numbers: &[u32]) -> Vec<Root> {
        let roots: BTreeSet<Root> = numbers.iter().map(|number| Root(id(*number).0)).collect();
        roots.into_iter().collect()
    }

    /// A commit: what comes, and what goes.
    fn change(book: &mut InventoryBook, shelf: &mut Shelf, come: &[u32], go: &[u32]) -> usize {
        let come = come.iter().map(|number| (*number, &[0, 1][..]));
        let go = go.iter().map(|number| (*number, &[][..]));
        shelf.commit(come.chain(go));
        look(book, shelf)
    }

    fn look(book: &mut InventoryBook, shelf: &Shelf) -> usize {
        let seen = Seen {
            working: vec![true, true],
            bad_blocks: 0,
        };
        book.follow(&shelf.index, seen)
    }

    #[test]
    fn all_first_then_changes_and_all_again_if_something_else_is_known() {
        let (mut book, mut shelf) = (InventoryBook::default(), Shelf::new());
        change(&mut book, &mut shelf, &[2, 1], &[]);
        let first = book.told();
        assert_eq!((first.revision, first.since), (1, None));
        assert_eq!(first.added, roots(&[1, 2]));
        assert!(book.answered(1, Some((STARTED, 1)), STARTED));

        change(&mut book, &mut shelf, &[2, 1], &[]);
        let same = book.told();
        assert_eq!((same.revision, same.since), (1, Some(1)));
        assert!(same.added.is_empty() && same.removed.is_empty());

        change(&mut book, &mut shelf, &[3], &[1]);
        change(&mut book, &mut shelf, &[4], &[3]);
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
        let (mut book, mut shelf) = (InventoryBook::default(), Shelf::new());
        look(&mut book, &shelf);
        assert_eq!(book.told().revision, 1, "nothing is a state as well");
        book.answered(1, Some((STARTED, 1)), STARTED);
        change(&mut book, &mut shelf, &[1], &[]);
        assert_eq!(book.told(), book.told());
        assert_eq!(book.told().added, roots(&[1]));
    }

    #[test]
    fn a_commit_costs_the_pages_that_it_changed() {
        let (mut book, mut shelf) = (InventoryBook::default(), Shelf::new());
        let all: Vec<u32> = (0..40_000).collect();
        assert_eq!(change(&mut book, &mut shelf, &all, &[]), 40_000);
        book.answered(1, Some((STARTED, 1)), STARTED);
        let looked_at = change(&mut book, &mut shelf, &[40_000], &[5]);
        assert!(
            (1..=2 * shelf.largest_page()).contains(&looked_at),
            "{looked_at}"
        );
        let told = book.told();
        assert_eq!((told.added, told.removed), (roots(&[40_000]), roots(&[5])));
        assert_eq!(look(&mut book, &shelf), 0);
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
