//! Gives each column its rank: what the manifest in force expects of viewers, as the fill agent wrote it down.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use content_store::{Index, Object, ObjectId};
use protocol::demand::{self, Expected};
use protocol::limits::EXPECTED_MAX_BYTES;

use crate::send_plan::file_of;

/// Follows the file in the state directory.
pub(super) struct ExpectedDemand {
    path: PathBuf,
    changed: Option<SystemTime>,
    expected: Expected,
}

impl ExpectedDemand {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(demand::FILE),
            changed: None,
            expected: Expected::default(),
        }
    }

    /// Takes over a file that is new. What cannot be read is said once, and leaves what was expected before. Blocks on the state disk.
    pub(super) fn follow(&mut self, index: &Index) {
        let changed = self.path.metadata().and_then(|file| file.modified()).ok();
        if changed == self.changed {
            return;
        }
        self.changed = changed;
        match self.read() {
            Ok(expected) => {
                index.objects().for_each(|object| expect(object, 0.0));
                self.expected = expected;
                self.apply(index);
            }
            Err(error) => tracing::warn!("what viewers are expected to ask for: {error}"),
        }
    }

    /// Tells the files of a new index.
    pub(super) fn apply(&self, index: &Index) {
        for (root, share) in self.expected.shares() {
            if let Some(object) = index.object(&ObjectId(root.0)) {
                expect(object, share);
            }
        }
    }

    fn read(&self) -> io::Result<Expected> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Expected::default()),
            file => file?,
        };
        let mut text = Vec::new();
        file.take(EXPECTED_MAX_BYTES).read_to_end(&mut text)?;
        Expected::parse(&text).map_err(io::Error::other)
    }
}

fn expect(object: &Object, share: f32) {
    let copies = std::iter::once(&object.first).chain(&object.others);
    let columns = copies.flat_map(|copy| &copy.columns);
    columns
        .filter_map(file_of)
        .for_each(|file| file.expect(share));
}
