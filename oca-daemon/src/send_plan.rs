//! Where the bytes of a range lie: (object, range) in, [`Place`]s in columns out. Pure.

use std::sync::Arc;

use content_store::{Column, Object};
use platform::stored_file::StoredFile;

use crate::range::ByteRange;

/// A stretch of an object that lies in one column, without a gap.
#[derive(Debug)]
pub struct Place<'a> {
    /// The column's file; `None` if its device is not among the configured ones that are here.
    pub file: Option<&'a Arc<StoredFile>>,
    /// Offset of the stretch in the file.
    pub offset: u64,
    /// Bytes that lie there one after another, at most up to the end of the range.
    pub length: u64,
}

/// The stretches of `range` in order. `range` must be inside the object.
pub fn places(object: &Object, range: ByteRange) -> impl Iterator<Item = Place<'_>> {
    object
        .layout
        .pieces(range.start..range.end)
        .map(|piece| Place {
            file: object.columns.get(piece.column).and_then(file_of),
            offset: piece.offset,
            length: piece.length,
        })
}

/// The file of a column that is here.
pub fn file_of(column: &Column) -> Option<&Arc<StoredFile>> {
    match column {
        Column::Here { file, .. } => Some(file),
        Column::Absent { .. } => None,
    }
}
