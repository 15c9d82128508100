//! Manifests and tombstones as they were signed, behind a line that says when they came and why they are kept.

use protocol::limits::{MANIFEST_MAX_PACKED_BYTES, SEAL_MAX_BYTES};
use serde::{Deserialize, Serialize};

use super::{Cost, StateFolder, StateProblem, line, parse, read_bounded};
use crate::limits::STATE_MAX_BYTES;

/// Which of the sealed documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The manifest in force.
    Accepted,
    /// The manifest that the shrink guard holds.
    Held,
    /// The newest tombstones.
    Tombstones,
}

/// When it came, and why it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When it was accepted, or held.
    pub at: u64,
    /// Why it is held; empty otherwise.
    pub why: String,
}

impl Which {
    fn file(self) -> &'static str {
        match self {
            Self::Accepted => "manifest.accepted",
            Self::Held => "manifest.held",
            Self::Tombstones => "tombstones",
        }
    }

    fn cost(self) -> Cost {
        Cost::Filling(match self {
            Self::Accepted => {
                "makes the next manifest the first one, which the shrink guard compares with nothing"
            }
            Self::Held => "forgets the held manifest; the control endpoint is asked for it again",
            Self::Tombstones => "makes the agent ask the control endpoint for all takedowns anew",
        })
    }
}

impl StateFolder {
    /// The document with its note; `None` if there is none. Its seal is not looked at.
    ///
    /// # Errors
    /// [`StateProblem`]: the file is there and cannot be used.
    pub fn read_sealed(&self, which: Which) -> Result<Option<(Note, Vec<u8>)>, StateProblem> {
        let path = self.path.join(which.file());
        let limit = MANIFEST_MAX_PACKED_BYTES + SEAL_MAX_BYTES as u64 + STATE_MAX_BYTES;
        let Some(mut bytes) = read_bounded(&path, limit)? else {
            return Ok(None);
        };
        let head = bytes.iter().take(STATE_MAX_BYTES as usize);
        let end = head.into_iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| self.damaged(which, "it has no first line".to_owned()))?;
        let note = parse(&path, &bytes[..end], which.cost())?;
        bytes.drain(..=end);
        Ok(Some((note, bytes)))
    }

    /// Keeps the document.
    ///
    /// # Errors
    /// What the disk says.
    pub fn write_sealed(
        &self,
        which: Which,
        note: &Note,
        sealed: &[u8],
    ) -> Result<(), StateProblem> {
        self.replace(which.file(), &[&line(note), sealed])
    }

    /// Forgets the document.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove_sealed(&self, which: Which) -> Result<(), StateProblem> {
        self.remove(which.file())
    }

    /// For a document that was read and does not open.
    #[must_use]
    pub fn damaged(&self, which: Which, cause: String) -> StateProblem {
        StateProblem::Damaged {
            path: self.path.join(which.file()),
            cause,
            cost: which.cost(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        assert!(state.read_sealed(Which::Held).unwrap().is_none());
        let note = Note {
            at: 7,
            why: "half\nof it".to_owned(),
        };
        let sealed = b"{}\n\0\xff\nrest";
        state.write_sealed(Which::Held, &note, sealed).unwrap();
        let found = state.read_sealed(Which::Held).unwrap().unwrap();
        assert_eq!(found, (note, sealed.to_vec()));
        state.remove_sealed(Which::Held).unwrap();
        state.remove_sealed(Which::Held).unwrap();
        assert!(state.read_sealed(Which::Held).unwrap().is_none());
    }

    #[test]
    fn a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        let path = folder.path().join("fill/manifest.accepted");
        for bytes in [&b""[..], b"no line", b"{\"format\":1}\nx", &[b'x'; 1 << 18]] {
            std::fs::write(&path, bytes).unwrap();
            let problem = state.read_sealed(Which::Accepted).unwrap_err().to_string();
            assert!(
                problem.contains("manifest.accepted: is damaged"),
                "{problem}"
            );
        }
    }
}
