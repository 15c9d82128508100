//! From a folder to the files that shall be published, and the paths under which.
//!
//! Nothing that lies there is passed over silently: what is not published is named, but for names that begin with a dot,
//! which are counted.

use std::fs::{self, DirEntry, FileType};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Failure;
use crate::limits::FOLDER_DEPTH_MAX;

/// A file to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Where it is.
    pub(super) file: PathBuf,
    /// The path under which it is served.
    pub(super) path: String,
    /// Its length when it was found; for the progress bar.
    pub(super) length: u64,
}

/// A file that is not published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Skipped {
    /// Where it is.
    pub(super) file: PathBuf,
    /// Why.
    pub(super) reason: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order of their paths.
    pub(super) files: Vec<Candidate>,
    /// In the order in which they were met.
    pub(super) skipped: Vec<Skipped>,
    /// Names that begin with a dot.
    pub(super) hidden: u64,
}

/// The prefix as paths begin with it: with a slash in front and none behind; `/` becomes nothing.
pub(super) fn url_prefix(typed: &str) -> Result<String, Failure> {
    let names: Vec<&str> = typed.split('/').filter(|name| !name.is_empty()).collect();
    let plain = |name: &&str| *name != "." && *name != ".." && !name.chars().any(char::is_control);
    if !names.iter().all(plain) || typed.contains(['?', '#', '%']) {
        return Err(Failure::usage(format!(
            "--prefix \"{typed}\": allowed: names joined by \"/\", without \".\", \"..\", \"?\", \"#\" and \"%\""
        )));
    }
    Ok(names.iter().map(|name| format!("/{name}")).collect())
}

/// Everything at `start`, a folder or one file.
pub(super) fn find(start: &Path, prefix: &str) -> Result<Found, Failure> {
    let cannot =
        |error: io::Error| Failure::failed(format!("{}: cannot import: {error}", start.display()));
    let kind = fs::metadata(start).map_err(cannot)?;
    let mut found = Found::default();
    if kind.is_dir() {
        fs::read_dir(start).map_err(cannot)?;
        found.folder(start, prefix, 0);
    } else {
        let file = fs::canonicalize(start).map_err(cannot)?;
        let name = file.file_name().unwrap_or_default().to_owned();
        found.take(start.to_owned(), name.to_str(), kind.file_type(), prefix, 0);
    }
    found.files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

impl Found {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.skip(folder.to_owned(), format!("cannot be read: {error}")),
        };
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.file_type()?, entry))) {
                Ok((kind, entry)) => self.entry(&entry, kind, prefix, depth),
                Err(error) => self.skip(folder.to_owned(), format!("cannot be read: {error}")),
            }
        }
    }

    fn entry(&mut self, entry: &DirEntry, kind: FileType, prefix: &str, depth: usize) {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            self.hidden += 1;
            return;
        }
        self.take(entry.path(), name.to_str(), kind, prefix, depth);
    }

    fn take(
        &mut self,
        file: PathBuf,
        name: Option<&str>,
        kind: FileType,
        prefix: &str,
        depth: usize,
    ) {
        let Some(name) = name else {
            return self.skip(file, "its name is not UTF-8");
        };
        let path = format!("{prefix}/{name}");
        if kind.is_symlink() {
            self.skip(file, "is a symbolic link; links are not followed");
        } else if kind.is_dir() && depth >= FOLDER_DEPTH_MAX {
            self.skip(
                file,
                format!("lies more than {FOLDER_DEPTH_MAX} folders deep"),
            );
        } else if kind.is_dir() {
            self.folder(&file, &path, depth + 1);
        } else if kind.is_file() {
            match fs::symlink_metadata(&file) {
                Ok(metadata) => self.files.push(Candidate {
                    file,
                    path,
                    length: metadata.len(),
                }),
                Err(error) => self.skip(file, gone_or_unreadable(&error)),
            }
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

/// Why a file that was there cannot be opened.
pub(super) fn gone_or_unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "has vanished meanwhile".to_owned(),
        _ => format!("cannot be read: {error}"),
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
}
