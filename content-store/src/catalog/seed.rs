//! Many records at once, for measurements with more objects than a disk holds. No file is looked at.

use std::path::Path;

use super::{Catalog, CatalogProblem, Edit, ObjectRecord, WriterLock, folder};
use crate::entry::PathEntry;
use crate::ids::Generation;

/// Records in one transaction.
const RECORDS_PER_COMMIT: usize = 4096;

/// Adds records, each with a path, to a catalog that is there; gives the generation that has them all. What they say is believed.
///
/// # Errors
/// Of the catalog.
pub fn seed(
    _lock: &WriterLock,
    state_dir: &Path,
    records: impl IntoIterator<Item = (ObjectRecord, PathEntry)>,
) -> Result<Generation, CatalogProblem> {
    let catalog = Catalog::open(&folder(state_dir))?;
    let mut edit = catalog.edit()?;
    for (number, (record, path)) in records.into_iter().enumerate() {
        if number % RECORDS_PER_COMMIT == RECORDS_PER_COMMIT - 1 {
            commit(edit)?;
            edit = catalog.edit()?;
        }
        edit.put_object(&record)?;
        edit.put_path(&record.object, &path)?;
    }
    commit(edit)
}

fn commit(mut edit: Edit<'_>) -> Result<Generation, CatalogProblem> {
    let generation = Generation(edit.generation()?.0 + 1);
    edit.set_generation(generation)?;
    edit.commit()?;
    Ok(generation)
}
