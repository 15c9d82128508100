//! What waits to be published together: it shares the folder syncs and the catalog commit.

use std::collections::HashSet;
use std::time::Instant;

use content_store::limits::MAX_BATCH_OBJECTS;
use content_store::{Content, NewPath, Publication, Store};
use protocol::root::Root;

use super::{NotDone, Reply};
use crate::limits::BATCH_WAIT;

/// An object, its paths, and whom to tell.
pub(super) struct Entry {
    pub(super) content: Content,
    pub(super) paths: Vec<NewPath>,
    pub(super) reply: Reply<content_store::Generation>,
}

/// At most [`MAX_BATCH_OBJECTS`], none waiting longer than [`BATCH_WAIT`].
#[derive(Default)]
pub(super) struct Batch {
    entries: Vec<Entry>,
    due: Option<Instant>,
}

impl Batch {
    pub(super) fn push(&mut self, entry: Entry) {
        self.due.get_or_insert_with(|| Instant::now() + BATCH_WAIT);
        self.entries.push(entry);
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= MAX_BATCH_OBJECTS
    }

    /// When it is to be published; `None` if there is nothing.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Drops the paths that were taken down while they were on their way, and with its last path an object.
    pub(super) fn forget_paths(&mut self, taken_down: &HashSet<(Box<str>, Root)>) {
        if taken_down.is_empty() {
            return;
        }
        for entry in &mut self.entries {
            let root = root_of(&entry.content);
            entry
                .paths
                .retain(|path| !taken_down.contains(&(path.path.clone(), root)));
        }
        let (kept, gone) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| {
                matches!(entry.content, Content::Moved(_) | Content::Copied(_))
                    || !entry.paths.is_empty()
            });
        self.entries = kept;
        for Entry { reply, .. } in gone {
            let _ = reply.send(Err(NotDone {
                words: "it was taken down while it was fetched".to_owned(),
                is_locked: false,
                is_full: false,
            }));
        }
    }

    /// Gives back what lies on a device that hangs or is gone, so that the others need not wait for it: it is taken up again when
    /// the device is back.
    pub(super) fn give_back_unreachable(&mut self, store: &Store) {
        let is_reachable = |entry: &Entry| match &entry.content {
            Content::Sealed(sealed) | Content::Moved(sealed) | Content::Copied(sealed) => {
                store.can_reach(sealed)
            }
            Content::Stored(_) => true,
        };
        let (kept, gone) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(is_reachable);
        self.entries = kept;
        for Entry { reply, .. } in gone {
            let _ = reply.send(Err(NotDone {
                words: "a device that it was written to does not answer any more".to_owned(),
                is_locked: false,
                is_full: false,
            }));
        }
    }

    pub(super) fn into_parts(self) -> (Vec<Publication>, Vec<Reply<content_store::Generation>>) {
        let parts = self.entries.into_iter().map(|entry| {
            let publication = Publication {
                content: entry.content,
                paths: entry.paths,
            };
            (publication, entry.reply)
        });
        parts.unzip()
    }
}

fn root_of(content: &Content) -> Root {
    match content {
        Content::Sealed(sealed) | Content::Moved(sealed) | Content::Copied(sealed) => {
            Root(sealed.object().0)
        }
        Content::Stored(object) => Root(object.0),
    }
}
