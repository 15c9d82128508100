//! Whether files are still those that were read.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// What the file system says of some files at one moment. A renewed file differs in at least one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(SystemTime, u64)>>);

impl Stamp {
    /// Of the files as they are now. Blocks on their disk.
    #[must_use]
    pub fn of<'p>(files: impl IntoIterator<Item = &'p Path>) -> Self {
        let seen = |file: &Path| {
            let known = fs::metadata(file).ok()?;
            Some((known.modified().ok()?, known.len()))
        };
        Self(files.into_iter().map(seen).collect())
    }
}
