//! A file that is being read: whether it is still what it was when it was opened.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{gone_or_unreadable, mtime_ns};

/// An open file, and what it was like then.
pub struct Source {
    file: File,
    before: Metadata,
}

impl Source {
    /// Opens it.
    ///
    /// # Errors
    /// Why it is skipped.
    pub fn open(path: &Path) -> Result<Self, String> {
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

    /// Its bytes from the beginning.
    ///
    /// # Errors
    /// What the disk says.
    pub fn rewound(&mut self) -> io::Result<impl Read + '_> {
        self.file.rewind()?;
        Ok(&mut self.file)
    }

    /// Size in bytes, and when it was last written to in nanoseconds since 1970.
    #[must_use]
    pub fn marks(&self) -> (u64, i64) {
        (self.before.size(), mtime_ns(&self.before))
    }

    /// Whether it is still what was read.
    ///
    /// # Errors
    /// When it was written to since it was opened, or has another length than was `read`.
    pub fn check_unchanged(&self, read: u64) -> Result<(), String> {
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

    /// When it was last written to, in seconds since 1970.
    #[must_use]
    pub fn modified_s(&self) -> u64 {
        u64::try_from(self.before.mtime()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("it is writable");
        file
    }

    #[test]
    fn a_file_that_rests_is_unchanged() {
        let file = file(b"abc");
        let mut source = Source::open(file.path()).unwrap();
        for _ in 0..2 {
            let mut bytes = Vec::new();
            source.rewound().unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, b"abc");
            source.check_unchanged(3).unwrap();
        }
    }

    #[test]
    fn a_file_that_grows_is_noticed() {
        let file = file(b"abc");
        let source = Source::open(file.path()).unwrap();
        std::fs::write(file.path(), b"abcd").unwrap();
        assert_eq!(
            source.check_unchanged(4).unwrap_err(),
            "has changed while it was read"
        );
    }

    #[test]
    fn a_file_of_another_length_than_was_read_is_noticed() {
        let file = file(b"abc");
        let source = Source::open(file.path()).unwrap();
        assert!(source.check_unchanged(2).is_err());
    }

    #[test]
    fn a_file_that_is_gone_is_named_so() {
        let gone = Path::new("/nonexistent/file");
        assert_eq!(Source::open(gone).err().unwrap(), "has vanished meanwhile");
        assert_eq!(
            Source::open(&std::env::temp_dir()).err().unwrap(),
            "is not a file any more"
        );
    }
}
