//! Fewer copies of an object: what lies beside the first ones goes, and the object stays.

use crate::catalog::{DoomedRecord, ObjectRecord};
use crate::error::StoreError;
use crate::ids::{Generation, ObjectId};
use crate::store::{Step, Store};

impl Store {
    /// Keeps the first copies of each object, as many as are given with it, in one commit; the others are doomed. An object of which
    /// none of those is all here keeps all it has, and so does one that is not published. `None` if nothing was to be done.
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
            surplus.extend(
                record
                    .filter(|record| self.has_more(record, *keep))
                    .map(|record| (record, *keep)),
            );
        }
        let mut edit = self.catalog.edit()?;
        let generation = Generation(edit.generation()?.0 + 1);
        let mut changed = false;
        for (mut record, keep) in surplus {
            // Taken down meanwhile.
            if edit.object(&record.object)?.as_ref() != Some(&record) {
                continue;
            }
            for copy in record.copies.split_off(keep) {
                edit.put_doomed(&DoomedRecord {
                    since: generation,
                    record: ObjectRecord::of_copies(record.object, vec![copy]),
                })?;
            }
            edit.put_object(&record)?;
            changed = true;
        }
        if !changed {
            return Ok(None);
        }
        edit.set_generation(generation)?;
        edit.commit()?;
        self.done(Step::Committed);
        Ok(Some(generation))
    }

    /// Whether there are copies beyond the first `keep`, of which one is all here.
    fn has_more(&self, record: &ObjectRecord, keep: usize) -> bool {
        let mut kept = record.copies.iter().take(keep);
        record.copies.len() > keep && kept.any(|copy| self.has_all(&record.object, copy))
    }
}
