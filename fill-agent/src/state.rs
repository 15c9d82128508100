//! What the agent keeps over a restart, in `state_dir/fill/`.
//!
//! | file | holds |
//! |---|---|
//! | `intent.json` | [`Intent`]: window, override, pause, accepted serial, as the operator said |
//! | `ledger.json` | [`Ledger`]: what was evicted, and fetched as urgent, on the civil day |
//! | `seen.json` | [`Seen`]: the highest serials, below which everything is refused |
//! | `manifest.accepted`, `manifest.held`, `tombstones` | one line of JSON, then the bytes as they were signed ([`sealed`]) |
//! | `scrub.json` | [`Places`](crate::scrub::Places): how far the scrub is |
//! | `demand.json` | what the manifest in force expects of viewers, for the daemon ([`protocol::demand`]) |
//!
//! Each file is replaced as a whole (written beside, synced, renamed, folder synced), so a crash leaves the old or the new one.
//!
//! Invariant: a file that is damaged is never taken for one that is missing. Without the last accepted manifest the shrink guard
//! would have nothing to compare with, without the serials an old manifest could come back; so the agent then fetches and evicts
//! nothing until somebody who has read the message removes the file.
//!
//! Everything here blocks on the state disk.

mod intent;
mod ledger;
pub mod sealed;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use protocol::demand::{self, BadDemand, Expected};
use protocol::limits::EXPECTED_MAX_BYTES;
use protocol::manifest::{Manifest, Serial};
use protocol::summed;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits::STATE_MAX_BYTES;

pub use intent::{Accepted, Intent};
pub use ledger::Ledger;

/// The agent's folder in `state_dir`.
pub const FOLDER: &str = "fill";

/// The version of all files here. A new field leaves it; a changed meaning raises it. From 2 on they carry a checksum
/// ([`protocol::summed`]).
const FORMAT: u32 = 2;

/// The first version with a checksum.
const SUMMED: u32 = 2;

/// Why a file of the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateProblem {
    /// What the state disk says.
    #[error("{}: cannot be {action}: {source}", path.display())]
    Io {
        /// `read`, `written`, ..
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not what this program writes.
    #[error("{}: is damaged: {cause}. {cost}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        cause: String,
        /// What comes of it.
        cost: Cost,
    },
    /// Written by a newer release.
    #[error("{}: has format {found}, this program reads up to {FORMAT}: install the newer release. {cost}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// What comes of it.
        cost: Cost,
    },
}

/// What comes of a file that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// The agent fills no more until somebody has done something; with what comes of removing the file, as the end of a sentence.
    Filling(&'static str),
    /// Its place is taken by a new one; with what is lost, as a sentence.
    Replaced(&'static str),
}

impl fmt::Display for Cost {
    fn fmt(&self, words: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filling(removing) => write!(
                words,
                "Until it is restored or removed, nothing is fetched and nothing is evicted. Removing it {removing}"
            ),
            Self::Replaced(lost) => words.write_str(lost),
        }
    }
}

impl StateProblem {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// A document of its own file.
pub trait Kept: Serialize + DeserializeOwned + Default {
    /// Its name in the folder.
    const FILE: &'static str;
    /// What comes of one that cannot be used.
    const COST: Cost;
}

/// The highest serials that were accepted or held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Of manifests.
    pub manifest: Option<Serial>,
    /// Of tombstones.
    pub tombstones: Option<Serial>,
}

impl Kept for Seen {
    const FILE: &'static str = "seen.json";
    const COST: Cost =
        Cost::Filling("lets an older manifest of the control endpoint in again, once");
}

/// The folder.
#[derive(Debug, Clone)]
pub struct StateFolder {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Written<T> {
    format: u32,
    #[serde(flatten)]
    document: T,
}

#[derive(Deserialize)]
struct OnlyFormat {
    format: u32,
}

impl StateFolder {
    /// The folder in `state_dir`, made if it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(state_dir: &Path) -> Result<Self, StateProblem> {
        let path = state_dir.join(FOLDER);
        fs::create_dir_all(&path).map_err(StateProblem::io("made", &path))?;
        Ok(Self { path })
    }

    /// What was kept last; the default if nothing was.
    ///
    /// # Errors
    /// [`StateProblem`]: the file is there and cannot be used.
    pub fn read<T: Kept>(&self) -> Result<T, StateProblem> {
        let path = self.path.join(T::FILE);
        let Some(text) = read_bounded(&path, STATE_MAX_BYTES)? else {
            return Ok(T::default());
        };
        parse(&path, &text, T::COST)
    }

    /// Keeps it; it is on the disk when this returns.
    ///
    /// # Errors
    /// What the disk says. The old document is in force then, or the new one if only the last sync failed.
    pub fn write<T: Kept>(&self, document: &T) -> Result<(), StateProblem> {
        self.replace(T::FILE, &[&line(document)])
    }

    /// Tells the daemon what the manifest expects of viewers.
    ///
    /// # Errors
    /// What the disk says.
    pub fn write_expected(&self, manifest: &Manifest) -> Result<(), StateProblem> {
        self.replace(expected_file(), &[&Expected::of(manifest).text()])
    }

    /// Looks at what the daemon is told to expect; whether there is anything.
    ///
    /// # Errors
    /// [`StateProblem`]: the file is there and cannot be used.
    pub fn check_expected(&self) -> Result<bool, StateProblem> {
        let path = self.path.join(expected_file());
        let Some(text) = read_bounded(&path, EXPECTED_MAX_BYTES)? else {
            return Ok(false);
        };
        let cost = Cost::Replaced(
            "Until the agent has written it anew, when it starts or a manifest comes into force, the daemon expects of viewers what it did before, and after a start nothing",
        );
        match Expected::parse(&text) {
            Ok(_) => Ok(true),
            Err(BadDemand::Newer(found)) => Err(StateProblem::Newer { path, found, cost }),
            Err(BadDemand::Damaged(cause)) => Err(StateProblem::Damaged { path, cause, cost }),
        }
    }

    fn replace(&self, name: &str, pieces: &[&[u8]]) -> Result<(), StateProblem> {
        let path = self.path.join(name);
        let failed = StateProblem::io("written", &path);
        (|| {
            let beside = path.with_extension("new");
            let mut file = File::create(&beside)?;
            pieces.iter().try_for_each(|piece| file.write_all(piece))?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            self.sync()
        })()
        .map_err(failed)
    }

    fn remove(&self, name: &str) -> Result<(), StateProblem> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StateProblem::io("removed", &path)(error)),
            Ok(()) => self.sync().map_err(StateProblem::io("removed", &path)),
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn line<T: Serialize>(document: T) -> Vec<u8> {
    let written = Written {
        format: FORMAT,
        document,
    };
    let line = serde_json::to_vec(&written).expect("the documents have only string keys");
    let mut line = summed::sum(line);
    line.push(b'\n');
    line
}

/// The name of [`demand::FILE`] in the folder.
fn expected_file() -> &'static str {
    demand::FILE
        .trim_start_matches(FOLDER)
        .trim_start_matches('/')
}

/// `None` if there is no such file. One that is longer than `limit` is cut, and is damaged then.
fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StateProblem> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateProblem::io("read", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(StateProblem::io("read", path))?;
    Ok(Some(bytes))
}

fn parse<T: DeserializeOwned>(path: &Path, text: &[u8], cost: Cost) -> Result<T, StateProblem> {
    let because = |cause: String| StateProblem::Damaged {
        path: path.to_owned(),
        cause,
        cost,
    };
    let damaged = |error: serde_json::Error| because(error.to_string());
    let OnlyFormat { format } = serde_json::from_slice(text).map_err(damaged)?;
    if format > FORMAT {
        return Err(StateProblem::Newer {
            path: path.to_owned(),
            found: format,
            cost,
        });
    }
    if format == 0 || format >= SUMMED {
        summed::check(text).map_err(|bad| because(bad.to_string()))?;
    }
    let written: Written<T> = serde_json::from_slice(text).map_err(damaged)?;
    Ok(written.document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_nothing_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        assert_eq!(state.read::<Seen>().unwrap(), Seen::default());
        let serial = |number| Some(Serial { epoch: 1, number });
        for number in [4, 5] {
            let seen = Seen {
                manifest: serial(number),
                tombstones: None,
            };
            state.write(&seen).unwrap();
            assert_eq!(state.read::<Seen>().unwrap(), seen);
        }
        assert_eq!(fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 1);
    }

    /// Those of `docs/formats/state.md`.
    #[test]
    fn the_documented_examples_are_read() {
        let page = include_str!("../../docs/formats/state.md");
        let blocks = page.split("```json\n").skip(1);
        let examples: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        let place = |name: &str| folder.path().join(FOLDER).join(name);
        fs::write(place(Intent::FILE), examples[0]).unwrap();
        fs::write(place(Seen::FILE), examples[1]).unwrap();
        fs::write(place("manifest.accepted"), format!("{}rest", examples[2])).unwrap();
        let intent: Intent = state.read().unwrap();
        assert_eq!(intent.pause.unwrap().by, "ada");
        let seen: Seen = state.read().unwrap();
        assert_eq!(seen.manifest.unwrap().number, 42);
        let (note, sealed) = state.read_sealed(sealed::Which::Accepted).unwrap().unwrap();
        assert_eq!((note.at, &*sealed), (1_795_000_000, &b"rest"[..]));
        assert_eq!(summed::check(examples[3].as_bytes()), Ok(()));
        for (name, example) in [(Intent::FILE, examples[0]), (Seen::FILE, examples[1])] {
            fs::write(place(name), example.replace(":2,", ":3,")).unwrap();
        }
        let newer = state.read::<Intent>().unwrap_err().to_string();
        assert!(newer.contains("install the newer release"), "{newer}");
        let newer = state.read::<Seen>().unwrap_err().to_string();
        assert!(newer.contains("install the newer release"), "{newer}");
    }

    #[test]
    fn every_flipped_bit_is_found_and_the_format_before_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        let path = folder.path().join(FOLDER).join(Intent::FILE);
        let pause = protocol::fill::Pause {
            since: 5,
            by: "ada".to_owned(),
            until: Some(10),
        };
        let intent = Intent {
            pause: Some(pause),
            ..Intent::default()
        };
        state.write(&intent).unwrap();
        let whole = fs::read(&path).unwrap();
        // The newline at the end says nothing.
        for bit in 0..(whole.len() - 1) * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            assert!(state.read::<Intent>().is_err(), "bit {bit}");
        }
        let before = b"{\"format\":1,\"pause\":{\"since\":5,\"by\":\"ada\",\"until\":10}}\n";
        fs::write(&path, before).unwrap();
        assert_eq!(state.read::<Intent>().unwrap(), intent);
    }

    #[test]
    fn a_damaged_file_is_never_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        let path = folder.path().join(FOLDER).join(Intent::FILE);
        let table: [(&[u8], &str); 7] = [
            (b"", "is damaged"),
            (b"\0\0\0", "is damaged"),
            (b"{}", "is damaged"),
            (b"{\"format\":1,\"pause\":3}", "is damaged"),
            (b"{\"format\":3,\"pause\":3}", "has format 3"),
            (b"{\"format\":2,\"pause\":null}", "without its checksum"),
            (&[b' '; STATE_MAX_BYTES as usize + 9], "is damaged"),
        ];
        for (bytes, word) in table {
            fs::write(&path, bytes).unwrap();
            let problem = state.read::<Intent>().unwrap_err().to_string();
            assert!(
                problem.contains(word)
                    && problem.contains("intent.json")
                    && problem.contains("emoving"),
                "{problem}"
            );
        }
    }
}
