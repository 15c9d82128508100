//! A file that is being read: whether it is still what it was when it was opened.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::mtime_ns;
use super::walk::gone_or_unreadable;

/// An open file, and what it was like then.
pub(super) struct Source {
    file: File,
    before: Metadata,
}

impl Source {
    /// Opens it; `Err` says why it is skipped.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        // Looked at by name first: opening a pipe would wait for a writer.
        let named = fs::symlink_metadata(path).map_err(|error| gone_or_unreadable(&error))?;
        if !named.is_file() {
            return Err("is not a file any more".to_owned());
        }
        let file = File::open(path).map_err(|error| gone_or_unreadable(&error))?;
        let before = file
            .metadata()
            .map_err(|error| gone_or_unreadable(&error))?;
        if (named.dev(), named.ino()) != (before.dev(), before.ino()) {
            return Err("was replaced meanwhile".to_owned());
        }
        Ok(Self { file, before })
    }

    pub(super) fn reader(&mut self) -> impl Read + '_ {
        &mut self.file
    }

    /// Size, and when it was last written to.
    pub(super) fn marks(&self) -> (u64, i64) {
        (self.before.size(), mtime_ns(&self.before))
    }

    /// `Err` if it was written to since it was opened, or if it has another length than was read.
    pub(super) fn check_unchanged(&self, read: u64) -> Result<(), String> {
        let now = self
            .file
            .metadata()
            .map_err(|error| gone_or_unreadable(&error))?;
        let marks = |metadata: &Metadata| {
            (
                metadata.size(),
                mtime_ns(metadata),
                metadata.ctime(),
                metadata.ctime_nsec(),
            )
        };
        if now.size() != read || marks(&now) != marks(&self.before) {
            return Err("has changed while it was read".to_owned());
        }
        Ok(())
    }

    /// Seconds since 1970.
    pub(super) fn modified_s(&self) -> u64 {
        u64::try_from(self.before.mtime()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_is_noticed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let mut source = Source::open(file.path()).unwrap();
        let mut bytes = Vec::new();
        source.reader().read_to_end(&mut bytes).unwrap();
        source.check_unchanged(3).unwrap();
        assert!(source.check_unchanged(2).is_err());
        fs::write(file.path(), "abcd").unwrap();
        assert_eq!(
            source.check_unchanged(4).unwrap_err(),
            "has changed while it was read"
        );
        assert_eq!(
            Source::open(Path::new("/nonexistent/file")).err().unwrap(),
            "has vanished meanwhile"
        );
        assert_eq!(
            Source::open(&std::env::temp_dir()).err().unwrap(),
            "is not a file any more"
        );
    }
}
