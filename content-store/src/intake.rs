//! Ordinary files that shall become objects: found in a folder with the paths under which they will be served, and unchanged while they
//! are read. For `ocactl content import` and for `oca-control ingest`.

mod source;
mod walk;

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;

pub use source::Source;
pub use walk::{BadPrefix, Candidate, Found, Skipped, find, url_prefix};

/// When a file was last written to, in nanoseconds since 1970.
#[must_use]
pub fn mtime_ns(metadata: &Metadata) -> i64 {
    metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec())
}

/// Why a file that was there cannot be opened.
fn gone_or_unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "has vanished meanwhile".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}
