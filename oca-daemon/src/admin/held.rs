//! How many objects there are on each device, and how many miss a part of themselves: counted once for each state of the
//! catalog and of the devices, not at each question, and after a commit for the pages of the index that it changed alone.

use std::sync::{Arc, Weak};

use content_store::index::ObjectPage;
use content_store::{Column, DeviceId, Generation, Index, Object};

/// The counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Paths that lead to an object.
    pub paths: u64,
    /// Objects with a column on each device, in the order of the configuration; also on one that is not used.
    pub by_device: Vec<u64>,
    /// Columns on each device that are not read, because they are bad.
    pub bad_by_device: Vec<u64>,
    /// Objects of which every copy misses a column, because its device is absent or failed, or the column is damaged.
    pub incomplete: u64,
}

/// What the counts depend on beside the catalog.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// Which of them work.
    pub working: Vec<bool>,
    /// Their names, as far as they are known.
    pub ids: Vec<Option<DeviceId>>,
    /// How many columns were found bad so far.
    pub found_bad: u64,
}

/// The counts, and of what they are. Cost: 4096 times 16 bytes for each device.
#[derive(Debug, Default)]
pub struct HeldBook {
    held: Arc<Held>,
    generation: Generation,
    devices: Devices,
    pages: PerPage<Held>,
}

impl HeldBook {
    /// The counts as they were looked at last.
    #[must_use]
    pub fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Counts what has changed: all objects when devices did, those of the pages that differ when the catalog did. Returns how many. About
    /// 50 ns for each.
    pub fn look(&mut self, index: &Index, devices: Devices) -> usize {
        let same_devices = self.devices == devices;
        if same_devices && self.generation == index.generation() {
            return 0;
        }
        if !same_devices {
            self.devices = devices;
            self.pages.doubt();
        }
        self.generation = index.generation();
        let devices = &self.devices;
        let looked_at = self.pages.follow(index, |held, objects| {
            *held = Held::default();
            objects.for_each(|object| held.count(object, devices));
        });
        let mut sum = Held {
            paths: index.len() as u64,
            by_device: vec![0; devices.working.len()],
            bad_by_device: vec![0; devices.working.len()],
            incomplete: 0,
        };
        self.pages.iter().for_each(|page| sum.add(page));
        self.held = Arc::new(sum);
        looked_at
    }
}

impl Held {
    fn count(&mut self, object: &Object, devices: &Devices) {
        for counts in [&mut self.by_device, &mut self.bad_by_device] {
            counts.resize(devices.working.len(), 0);
        }
        for column in object.columns() {
            // The columns of all copies of one object are on different devices.
            let named = || {
                let name = object.device_of(column)?;
                devices.ids.iter().position(|id| *id == Some(name))
            };
            let number = column.device().or_else(named);
            let Some(number) = number.filter(|number| *number < devices.working.len()) else {
                continue;
            };
            self.by_device[number] += 1;
            self.bad_by_device[number] += u64::from(column.is_bad());
        }
        self.incomplete += u64::from(!is_complete(object, &devices.working));
    }

    fn add(&mut self, page: &Self) {
        let sums = [&mut self.by_device, &mut self.bad_by_device];
        for (sums, counts) in sums.into_iter().zip([&page.by_device, &page.bad_by_device]) {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        self.incomplete += page.incomplete;
    }
}

/// Whether every part of a copy of an object is here, undamaged, and on a device that works.
#[must_use]
pub fn is_complete(object: &Object, working: &[bool]) -> bool {
    let works = |column: &Column| {
        let device = column.device().and_then(|number| working.get(number));
        device.is_some_and(|works| *works)
    };
    object
        .copies()
        .any(|copy| copy.is_whole() && copy.columns.iter().all(works))
}

/// What is known of the objects of each page of an index. Keeps no page from being dropped.
#[derive(Debug)]
pub struct PerPage<T>(Vec<Known<T>>);

#[derive(Debug, Default)]
struct Known<T> {
    /// The page; none of what is to be looked at in any case.
    page: Option<Weak<ObjectPage>>,
    of_it: T,
}

impl<T> Default for PerPage<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> PerPage<T> {
    /// Has `know` look at the objects of each page that is not the one that was looked at before; they come in the order of their names.
    /// Returns how many those were.
    pub fn follow(
        &mut self,
        index: &Index,
        mut know: impl FnMut(&mut T, std::slice::Iter<'_, Arc<Object>>),
    ) -> usize {
        let pages = index.object_pages();
        self.0.resize_with(pages.len(), Known::default);
        let mut looked_at = 0;
        for (known, page) in self.0.iter_mut().zip(pages) {
            // Without objects: no page, which is the same as no page was.
            let now = page.map_or_else(Weak::new, Arc::downgrade);
            if known.page.as_ref().is_some_and(|then| then.ptr_eq(&now)) {
                continue;
            }
            let objects = page.map_or_else(|| [].iter(), |page| page.objects());
            looked_at += objects.len();
            know(&mut known.of_it, objects);
            known.page = Some(now);
        }
        looked_at
    }

    /// All is looked at next time.
    pub fn doubt(&mut self) {
        self.0.iter_mut().for_each(|known| known.page = None);
    }

    /// What is known of each page.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter().map(|known| &known.of_it)
    }
}

#[cfg(test)]
pub(crate) mod shelf;

#[cfg(test)]
mod tests {
    use super::shelf::{Shelf, ids};
    use super::*;
    use proptest::prelude::*;

    fn devices() -> Devices {
        Devices {
            working: vec![true, true, false],
            ids: ids(),
            found_bad: 0,
        }
    }

    /// What is counted when nothing was before.
    fn anew(index: &Index, devices: Devices) -> Held {
        let mut book = HeldBook::default();
        book.look(index, devices);
        (**book.held()).clone()
    }

    #[test]
    fn a_commit_costs_the_pages_that_it_changed_and_counts_as_if_all_were_counted() {
        let mut shelf = Shelf::new();
        let everywhere: [&[u8]; 4] = [&[0], &[1], &[0, 1], &[1, 2]];
        shelf.commit((0..40_000).map(|number| (number, everywhere[number as usize % 4])));
        let mut book = HeldBook::default();
        assert_eq!(book.look(&shelf.index, devices()), 40_000);
        assert_eq!(book.held().by_device, [20_000, 30_000, 10_000]);
        assert_eq!(book.held().incomplete, 10_000);

        let gone: &[u8] = &[];
        shelf.commit([(3, gone), (40_000, &[0][..]), (7, &[0, 1])]);
        let looked_at = book.look(&shelf.index, devices());
        assert!(
            (1..=3 * shelf.largest_page()).contains(&looked_at),
            "{looked_at}"
        );
        assert_eq!(**book.held(), anew(&shelf.index, devices()));
        assert_eq!(book.held().by_device, [20_002, 29_999, 9_998]);
        assert_eq!(book.look(&shelf.index, devices()), 0, "nothing is new");

        let failed = || Devices {
            working: vec![true, false, false],
            ..devices()
        };
        assert_eq!(book.look(&shelf.index, failed()), 40_000);
        assert_eq!(**book.held(), anew(&shelf.index, failed()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn after_any_commits_it_is_what_is_there(
            commits in prop::collection::vec(
                prop::collection::vec((0..60_u32, prop::sample::subsequence(vec![0, 1, 2], 0..=2)), 1..8),
                1..12,
            )
        ) {
            let (mut shelf, mut book) = (Shelf::new(), HeldBook::default());
            for commit in &commits {
                shelf.commit(commit.iter().map(|(number, on)| (*number, on.as_slice())));
                book.look(&shelf.index, devices());
                prop_assert_eq!(&**book.held(), &anew(&shelf.index, devices()));
            }
        }
    }
}
