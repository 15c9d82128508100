//! From a folder to the files that shall be published, and the paths under which.
//!
//! Nothing that lies there is passed over silently: what is not published is named, but for names that begin with a dot,
//! which are counted. Links are not followed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::gone_or_unreadable;
use crate::limits::MAX_FOLDER_DEPTH;

/// A file to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is, without links on the way.
    pub file: PathBuf,
    /// The path under which it is served.
    pub path: String,
    /// Its length when it was found; for the progress bar.
    pub length: u64,
}

/// A file that is not published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Where it is.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order of their paths.
    pub files: Vec<Candidate>,
    /// In the order in which they were met.
    pub skipped: Vec<Skipped>,
    /// Names that begin with a dot.
    pub hidden: u64,
}

/// A prefix of paths that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "--prefix \"{0}\": allowed: names joined by \"/\", without \".\", \"..\", \"?\", \"#\" and \"%\""
)]
pub struct BadPrefix(pub String);

/// The prefix as paths begin with it: with a slash in front and none behind; `/` becomes nothing.
///
/// # Errors
/// When no path can begin so.
pub fn url_prefix(typed: &str) -> Result<String, BadPrefix> {
    let names: Vec<&str> = typed.split('/').filter(|name| !name.is_empty()).collect();
    let plain = |name: &&str| *name != "." && *name != ".." && !name.chars().any(char::is_control);
    if !names.iter().all(plain) || typed.contains(['?', '#', '%']) {
        return Err(BadPrefix(typed.to_owned()));
    }
    Ok(names.iter().map(|name| format!("/{name}")).collect())
}

/// Everything at `start`, a folder or one file. Blocks on the disk.
///
/// # Errors
/// When `start` itself cannot be read; what lies below it and cannot be is skipped.
pub fn find(start: &Path, prefix: &str) -> io::Result<Found> {
    let start = start.canonicalize()?;
    let mut found = Found::default();
    if start.is_dir() {
        fs::read_dir(&start)?;
        found.folder(&start, prefix, 0);
    } else {
        found.take(start, prefix, 0);
    }
    found
        .files
        .sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

impl Found {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.skip(folder.to_owned(), gone_or_unreadable(&error)),
        };
        for entry in entries {
            match entry {
                Ok(entry) if entry.file_name().as_encoded_bytes().starts_with(b".") => {
                    self.hidden += 1
                }
                Ok(entry) => self.take(entry.path(), prefix, depth),
                Err(error) => self.skip(folder.to_owned(), gone_or_unreadable(&error)),
            }
        }
    }

    fn take(&mut self, file: PathBuf, prefix: &str, depth: usize) {
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
            return self.skip(file, "its name is not UTF-8");
        };
        let path = format!("{prefix}/{name}");
        let metadata = match fs::symlink_metadata(&file) {
            Ok(metadata) => metadata,
            Err(error) => return self.skip(file, gone_or_unreadable(&error)),
        };
        let kind = metadata.file_type();
        if kind.is_symlink() {
            self.skip(file, "is a symbolic link; links are not followed");
        } else if kind.is_dir() && depth >= MAX_FOLDER_DEPTH {
            self.skip(
                file,
                format!("lies more than {MAX_FOLDER_DEPTH} folders deep"),
            );
        } else if kind.is_dir() {
            self.folder(&file, &path, depth + 1);
        } else if kind.is_file() {
            self.files.push(Candidate {
                file,
                path,
                length: metadata.len(),
            });
        } else {
            self.skip(file, "is not a file (a pipe, a socket or a device)");
        }
    }

    fn skip(&mut self, file: PathBuf, reason: impl Into<String>) {
        self.skipped.push(Skipped {
            file,
            reason: reason.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_made_plain() {
        for (typed, prefix) in [
            ("/", ""),
            ("", ""),
            ("/a/b/", "/a/b"),
            ("a", "/a"),
            ("//a//b c", "/a/b c"),
        ] {
            assert_eq!(url_prefix(typed).ok().as_deref(), Some(prefix), "{typed:?}");
        }
        for typed in ["/a/../b", ".", "/a?b", "/a#b", "/a%20b", "/a\nb"] {
            assert!(url_prefix(typed).is_err(), "{typed:?}");
        }
    }

    #[test]
    fn links_and_hidden_names_are_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/one.mp4"), "1").unwrap();
        fs::write(folder.path().join("a/.hidden"), "1").unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("a/one.mp4", folder.path().join("link.mp4")).unwrap();
        let found = find(folder.path(), "/x").unwrap();
        let paths: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["/x/a/one.mp4"]);
        assert_eq!((found.hidden, found.skipped.len()), (1, 2));
    }
}
