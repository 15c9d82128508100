//! What the operator wants of this box, kept in `state_dir` so that it survives a restart: the drain.
//!
//! The file is there while the box is to be drained, and absent otherwise. It is replaced as a whole (written beside, synced,
//! renamed, folder synced), so a crash leaves the old intent or the new one.
//!
//! Invariant: a drain is never lost by a damaged file. A file that cannot be read, is garbage, or was written by a newer
//! release counts as a drain, and the reason is said until `drain` or `undrain` replaces it. The opposite mistake would send
//! viewers to a box that somebody is about to unplug.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use protocol::summed;
use serde::{Deserialize, Serialize};
use steering::UnixTime;
use steering::drain::Intent;

use crate::limits::INTENT_BYTES;

/// Name of the file in `state_dir`.
pub const DRAIN_FILE: &str = "drain.json";

/// The meaning of the file's fields; rises when one changes. From 2 on it carries a checksum ([`protocol::summed`]).
const FORMAT: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    #[serde(flatten)]
    intent: Intent,
}

#[derive(Deserialize)]
struct OnlyFormat {
    format: u32,
}

/// The file that holds the intent.
#[derive(Debug, Clone)]
pub struct IntentFile {
    path: PathBuf,
}

/// What was found at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The drain to go on with.
    pub drain: Option<Intent>,
    /// Why the file could not be understood; the box is drained all the same.
    pub problem: Option<String>,
}

impl IntentFile {
    /// The file in `state_dir`.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(DRAIN_FILE),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the operator last wanted. A drain whose beginning cannot be read begins at `now`. Blocks on the state disk.
    #[must_use]
    pub fn read(&self, now: UnixTime) -> Found {
        match self.parse() {
            Ok(drain) => Found {
                drain,
                problem: None,
            },
            Err(why) => Self::in_doubt(
                now,
                format!(
                    "{}: {why}. The box is drained, to be safe: `ocactl undrain` puts it back into service",
                    self.path.display()
                ),
            ),
        }
    }

    /// The problem is the reason as well, so that `status` says it.
    fn in_doubt(now: UnixTime, problem: String) -> Found {
        let drain = Intent {
            since: now,
            by: "unknown".to_owned(),
            reason: Some(problem.clone()),
            answers_expire_s: None,
        };
        Found {
            drain: Some(drain),
            problem: Some(problem),
        }
    }

    fn parse(&self) -> Result<Option<Intent>, String> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot be read: {error}")),
        };
        let mut text = Vec::new();
        file.take(INTENT_BYTES)
            .read_to_end(&mut text)
            .map_err(|error| format!("cannot be read: {error}"))?;
        let damaged = |error: serde_json::Error| format!("is not a drain intent: {error}");
        let OnlyFormat { format } = serde_json::from_slice(&text).map_err(damaged)?;
        if format > FORMAT {
            return Err(format!(
                "has format {format}, this program reads up to {FORMAT}"
            ));
        }
        if format != 1 {
            summed::check(&text).map_err(|bad| format!("is not a drain intent: {bad}"))?;
        }
        let written: Written = serde_json::from_slice(&text).map_err(damaged)?;
        Ok(Some(written.intent))
    }

    /// Keeps `intent`; it is on the disk when this returns. Blocks on the state disk.
    ///
    /// # Errors
    /// What the state disk says. The old intent is in force then, or the new one if only the last sync failed.
    pub fn write(&self, intent: &Intent) -> io::Result<()> {
        let written = Written {
            format: FORMAT,
            intent: intent.clone(),
        };
        let beside = self.path.with_extension("json.new");
        let mut file = File::create(&beside)?;
        file.write_all(&summed::sum(serde_json::to_vec(&written)?))?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        self.sync_folder()
    }

    /// Forgets the intent; it is gone from the disk when this returns. Blocks on the state disk.
    ///
    /// # Errors
    /// What the state disk says.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync_folder(),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);

    fn intent() -> Intent {
        Intent {
            since: UnixTime::from_seconds(1_780_000_000),
            by: "ada".to_owned(),
            reason: Some("new \"fans\"\n".to_owned()),
            answers_expire_s: Some(360),
        }
    }

    fn file() -> (tempfile::TempDir, IntentFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = IntentFile::new(folder.path());
        (folder, file)
    }

    #[test]
    fn without_a_file_nothing_is_drained() {
        let (_folder, file) = file();
        let nothing = Found {
            drain: None,
            problem: None,
        };
        assert_eq!(file.read(NOW), nothing);
        file.clear().unwrap();
    }

    #[test]
    fn an_intent_survives_until_it_is_cleared() {
        let (folder, file) = file();
        file.write(&intent()).unwrap();
        file.write(&intent()).unwrap();
        assert_eq!(
            file.read(NOW),
            Found {
                drain: Some(intent()),
                problem: None
            }
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        file.clear().unwrap();
        assert_eq!(file.read(NOW).drain, None);
    }

    #[test]
    fn every_flipped_bit_is_a_drain_with_a_reason() {
        let (_folder, file) = file();
        file.write(&intent()).unwrap();
        let whole = fs::read(file.path()).unwrap();
        for bit in 0..(whole.len() - 1) * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(file.path(), &flipped).unwrap();
            assert!(file.read(NOW).problem.is_some(), "bit {bit}");
        }
        let before = b"{\"format\":1,\"since\":1780000000,\"by\":\"ada\",\"reason\":null}\n";
        fs::write(file.path(), before).unwrap();
        assert!(
            file.read(NOW).problem.is_none(),
            "the format before is read"
        );
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_a_drain_with_a_reason() {
        let (_folder, file) = file();
        let table: [(&[u8], &str); 5] = [
            (b"", "not a drain intent"),
            (b"\0\0\0\0", "not a drain intent"),
            (b"{\"format\":1}", "not a drain intent"),
            (b"{\"format\":3,\"until\":\"noon\"}", "has format 3"),
            (
                b"{\"format\":1,\"since\":-1,\"by\":\"x\",\"reason\":null}",
                "not a drain intent",
            ),
        ];
        for (bytes, reason) in table {
            fs::write(file.path(), bytes).unwrap();
            let found = file.read(NOW);
            assert_eq!(found.drain.map(|intent| intent.since), Some(NOW));
            let problem = found.problem.unwrap();
            assert!(
                problem.contains(reason) && problem.contains("ocactl undrain"),
                "{problem}"
            );
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_drain() {
        let (_folder, file) = file();
        fs::create_dir(file.path()).unwrap();
        let found = file.read(NOW);
        assert!(found.drain.is_some() && found.problem.unwrap().contains("cannot be read"));
    }
}
