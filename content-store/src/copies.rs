//! Fewer copies of an object: the first ones that are whole stay, and what lies beside them goes.

use crate::catalog::{CopyRecord, DoomedRecord, ObjectRecord};
use crate::error::StoreError;
use crate::ids::{Generation, ObjectId};
use crate::store::{Step, Store};

impl Store {
    /// Keeps so many copies of each object as are given with it, in one commit; the others are doomed. Those that are all here and good come
    /// before those that are not. An object of which no copy is all here keeps all it has, and so does one that is not published. `None` if
    /// nothing was to be done.
    ///
    /// # Errors
    /// Of the catalog.
    pub fn keep_copies(
        &mut self,
        objects: &[(ObjectId, usize)],
    ) -> Result<Option<Generation>, StoreError> {
        let mut surplus = Vec::new();
        for (object, keep) in objects {
            // No transaction is open while the devices are asked.
            let record = self.catalog.edit()?.object(object)?;
            surplus.extend(record.and_then(|record| self.parted(record, *keep)));
        }
        let mut edit = self.catalog.edit()?;
        let generation = Generation(edit.generation()?.0 + 1);
        let mut changed = false;
        for Parted { before, kept, gone } in surplus {
            let object = before.object;
            // Taken down meanwhile.
            if edit.object(&object)?.as_ref() != Some(&before) {
                continue;
            }
            for copy in gone {
                edit.put_doomed(&DoomedRecord {
                    since: generation,
                    record: ObjectRecord::of_copies(object, vec![copy]),
                })?;
            }
            edit.put_object(&ObjectRecord::of_copies(object, kept))?;
            // The sidecars say which copy theirs is.
            edit.set_pending(&object)?;
            changed = true;
        }
        if !changed {
            return Ok(None);
        }
        edit.set_generation(generation)?;
        edit.commit()?;
        self.done(Step::Committed);
        self.settle_after_commit();
        Ok(Some(generation))
    }

    /// Which copies stay, if there are more than so many and one is all here.
    fn parted(&self, record: ObjectRecord, keep: usize) -> Option<Parted> {
        let copies = record.copies.iter();
        let whole = copies.map(|copy| self.has_all(&record.object, copy));
        let whole: Vec<bool> = whole.collect();
        let spare = record.copies.len().checked_sub(keep.max(1))?;
        if spare == 0 || !whole.contains(&true) {
            return None;
        }
        // Those that go: the last of those that are not whole, then the last of all.
        let places = (0..whole.len()).rev();
        let mut places: Vec<usize> = places.collect();
        places.sort_by_key(|place| whole[*place]);
        places.truncate(spare);
        let copies = record.copies.iter().cloned().enumerate();
        let (gone, kept): (Vec<_>, Vec<_>) = copies.partition(|(place, _)| places.contains(place));
        let copies =
            |parted: Vec<(usize, CopyRecord)>| parted.into_iter().map(|(_, copy)| copy).collect();
        Some(Parted {
            kept: copies(kept),
            gone: copies(gone),
            before: record,
        })
    }
}

/// An object, with the copies that stay and those that go.
struct Parted {
    before: ObjectRecord,
    kept: Vec<CopyRecord>,
    gone: Vec<CopyRecord>,
}
