//! Gives each column its rank: what the manifest in force expects of viewers, as the fill agent wrote it down.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use content_store::{Index, Object, ObjectId};
use protocol::demand::{self, Expected};
use protocol::limits::EXPECTED_MAX_BYTES;

/// Follows the file in the state directory.
pub(super) struct ExpectedDemand {
    path: PathBuf,
    changed: Option<SystemTime>,
    shares: HashMap<ObjectId, f32>,
}

impl ExpectedDemand {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(demand::FILE),
            changed: None,
            shares: HashMap::new(),
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
                let shares = expected.shares();
                self.shares = shares
                    .map(|(root, share)| (ObjectId(root.0), share))
                    .collect();
                for (object, share) in &self.shares {
                    index
                        .object(object)
                        .inspect(|object| expect(object, *share));
                }
            }
            Err(error) => tracing::warn!(
                "{}: {error}. Of viewers is expected what was before, after a start nothing; the fill agent writes it anew when it starts, \
                 or a manifest comes into force",
                self.path.display()
            ),
        }
    }

    /// Tells the columns of objects that are new.
    pub(super) fn apply(&self, objects: &[Arc<Object>]) {
        for object in objects {
            if let Some(share) = self.shares.get(&object.id) {
                expect(object, *share);
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
    object.columns().for_each(|column| column.expect(share));
}
