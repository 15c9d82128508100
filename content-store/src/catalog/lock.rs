//! The writer lock: one process writes the catalog and the devices. It dies with its holder.
//!
//! A holder that was killed beside a disk that hangs cannot end, and holds it on: what it has begun there may still reach the disk. Who is
//! refused is told so.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use platform::file::{self, FileLock};
use platform::process;
use protocol::units::Interval;

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
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(refused(path)),
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

fn refused(path: PathBuf) -> CatalogProblem {
    let mut signed = String::new();
    let read = File::open(&path).and_then(|file| file.take(256).read_to_string(&mut signed));
    let signed = signed.trim();
    // Between taking the lock and signing it, or a file system that does not let us read.
    if read.is_err() || signed.is_empty() {
        return CatalogProblem::Locked {
            path,
            holder: "another process that has not said its name yet".to_owned(),
            way_out: WAIT.to_owned(),
        };
    }
    let process = signed
        .strip_prefix("pid ")
        .and_then(|rest| rest.split(' ').next()?.parse().ok());
    CatalogProblem::Locked {
        holder: format!("{signed} for {}", held_for(&path)),
        way_out: process
            .filter(|process| process::is_ending(*process))
            .map_or_else(|| WAIT.to_owned(), cannot_end),
        path,
    }
}

const WAIT: &str = "wait for it to end";

/// Since it was signed; of more than two minutes the whole ones.
fn held_for(lock: &Path) -> Interval {
    let since = fs::metadata(lock).and_then(|lock| lock.modified());
    let age = since.ok().and_then(|since| since.elapsed().ok());
    match age.map_or(0, |age| age.as_secs()) {
        seconds @ ..120 => Interval::from_seconds(seconds),
        seconds => Interval::from_seconds(seconds - seconds % 60),
    }
}

fn cannot_end(process: u32) -> String {
    let files = process::waits_for(process);
    let files: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let waits_for = match files.as_slice() {
        [] => "a disk (`ocactl device ls` says which one hangs)".to_owned(),
        files => files.join(", "),
    };
    format!(
        "it was killed, and cannot end before the kernel has an answer from {waits_for}: bring that disk back or pull it out; \
         if that does not help, restart the machine (`ocactl drain` first)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn the_second_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = WriterLock::take(folder.path(), "first\nprogram").unwrap();
        let refused = WriterLock::take(folder.path(), "second")
            .unwrap_err()
            .to_string();
        let holder = format!("pid {} (firstprogram) for ", std::process::id());
        assert!(refused.contains(&holder), "{refused}");
        assert!(refused.ends_with(": wait for it to end"), "{refused}");
        drop(held);
        WriterLock::take(folder.path(), "second").unwrap();
    }

    #[test]
    fn the_second_is_told_for_how_long_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let held = WriterLock::take(folder.path(), "first").unwrap();
        for (seconds, words) in [(59, " for 59 s:"), (14 * 60 + 7, " for 14 min:")] {
            let since = SystemTime::now() - Duration::from_secs(seconds);
            held._lock.file().set_modified(since).unwrap();
            let refused = WriterLock::take(folder.path(), "second")
                .unwrap_err()
                .to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
