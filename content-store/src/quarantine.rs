//! Columns that are not what was written: from the commit on nobody reads them, until they are repaired.

use crate::catalog::Edit;
use crate::error::StoreError;
use crate::ids::{DeviceId, Generation, ObjectId};
use crate::store::Store;

/// A column that was found bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BadColumn {
    /// Its object.
    pub object: ObjectId,
    /// Its device, which holds one column of the object.
    pub device: DeviceId,
    /// The generation of the catalog by which it was read: what was written or repaired after it is another column.
    pub seen: Generation,
}

impl Store {
    /// Marks columns as bad, in one commit, whose generation it returns; `None` if nothing was to be marked. What is marked already,
    /// what is not published any more, and what was repaired since it was seen is passed over. Touches no device.
    ///
    /// # Errors
    /// Of the catalog.
    pub fn quarantine(&mut self, columns: &[BadColumn]) -> Result<Option<Generation>, StoreError> {
        let mut edit = self.catalog.edit()?;
        let mut marked = 0;
        for column in columns {
            marked += usize::from(mark(&mut edit, column)?);
        }
        if marked == 0 {
            return Ok(None);
        }
        let generation = Generation(edit.generation()?.0 + 1);
        edit.set_generation(generation)?;
        edit.commit()?;
        tracing::warn!(columns = marked, %generation, "bad columns are not read until they are repaired");
        Ok(Some(generation))
    }
}

/// Whether it was to be marked.
fn mark(edit: &mut Edit<'_>, column: &BadColumn) -> Result<bool, StoreError> {
    let Some(mut record) = edit.object(&column.object)? else {
        return Ok(false);
    };
    let mut changed = false;
    for copy in &mut record.copies {
        if copy.placed.max(copy.repaired) > column.seen.0 {
            continue;
        }
        let at = copy.devices.iter().position(|id| *id == column.device);
        changed |= at.is_some_and(|at| copy.bad.insert(at));
    }
    if changed {
        edit.put_object(&record)?;
    }
    Ok(changed)
}
