//! The writer lock: one process writes the catalog and the devices. It dies with its holder.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use platform::file::{self, FileLock};

use super::CatalogProblem;

/// Held by the one process that writes.
#[derive(Debug)]
pub struct WriterLock {
    _lock: FileLock,
}

impl WriterLock {
    /// Takes the lock of a state folder, or says who holds it. `program` is what others will be told.
    pub fn take(state_dir: &Path, program: &str) -> Result<Self, CatalogProblem> {
        let path = lock_path(state_dir);
        match file::lock_file(&path) {
            Ok(lock) => {
                sign(lock.file(), program).map_err(|source| CatalogProblem::io(&path, source))?;
                Ok(Self { _lock: lock })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let holder = holder(&path);
                Err(CatalogProblem::Locked { path, holder })
            }
            Err(source) => Err(CatalogProblem::io(&path, source)),
        }
    }
}

fn lock_path(state_dir: &Path) -> PathBuf {
    state_dir.join("catalog.lock")
}

fn sign(mut file: &File, program: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    // One line; whatever the name holds, it stays one.
    let program: String = program
        .chars()
        .filter(|letter| !letter.is_control())
        .take(64)
        .collect();
    writeln!(file, "pid {} ({program})", std::process::id())
}

fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(256).read_to_string(&mut text));
    match (read, text.trim()) {
        (Ok(_), line) if !line.is_empty() => line.into(),
        // Between taking the lock and signing it, or a file system that does not let us read.
        _ => "another process that has not said its name yet".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = WriterLock::take(folder.path(), "first\nprogram").unwrap();
        let refused = WriterLock::take(folder.path(), "second")
            .unwrap_err()
            .to_string();
        let holder = format!("pid {} (firstprogram)", std::process::id());
        assert!(refused.contains(&holder), "{refused}");
        drop(held);
        WriterLock::take(folder.path(), "second").unwrap();
    }
}
