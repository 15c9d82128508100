//! Bad columns on their way out, and repaired ones on their way in.

use std::sync::mpsc;
use std::time::Instant;

use content_store::chunk_tree::ChunkTree;
use content_store::limits::MAX_BATCH_OBJECTS;
use content_store::{BadColumn, Generation, ObjectId, Repaired, Repairing, StoreError};

use super::{NotDone, Order, Owner, Publisher, Reply};
use crate::limits::BATCH_WAIT;

/// Repaired columns that wait for the others of their commit: at most [`MAX_BATCH_OBJECTS`], none longer than [`BATCH_WAIT`].
#[derive(Default)]
pub(super) struct Repairs {
    waiting: Vec<(Repaired, Reply<()>)>,
    due: Option<Instant>,
}

impl Repairs {
    pub(super) fn push(&mut self, repaired: Repaired, reply: Reply<()>) {
        self.due.get_or_insert_with(|| Instant::now() + BATCH_WAIT);
        self.waiting.push((repaired, reply));
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_BATCH_OBJECTS
    }

    /// When they are to be put into their places; `None` if there are none.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

/// What the owner may be told to do with bad columns.
pub(super) enum Mend {
    /// Begin to write columns anew.
    Repair {
        object: ObjectId,
        placed: u64,
        tree: Option<Box<ChunkTree>>,
        reply: mpsc::SyncSender<Result<Option<Repairing>, StoreError>>,
    },
    /// Put them into their places.
    Repaired {
        repaired: Repaired,
        reply: Reply<()>,
    },
    /// Mark them.
    Quarantine {
        columns: Vec<BadColumn>,
        reply: Reply<Option<Generation>>,
    },
}

impl Publisher {
    /// Begins to repair a copy of an object: see [`Store::repair`](content_store::Store::repair). Blocks.
    ///
    /// # Errors
    /// What the store says.
    pub fn repair(
        &self,
        object: ObjectId,
        placed: u64,
        tree: Option<ChunkTree>,
    ) -> Result<Option<Repairing>, StoreError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.tell(Order::Mend(Mend::Repair {
            object,
            placed,
            tree: tree.map(Box::new),
            reply,
        }));
        answer
            .recv()
            .unwrap_or(Err(StoreError::UnknownObject(object)))
    }

    /// Puts repaired columns into their places, with others. It is ordered when this returns, done when the future is.
    pub fn repaired(
        &self,
        repaired: Repaired,
    ) -> impl Future<Output = Result<(), NotDone>> + use<> {
        self.order(|reply| Order::Mend(Mend::Repaired { repaired, reply }))
    }

    /// Marks columns as bad, as [`Store::quarantine`](content_store::Store::quarantine).
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn quarantine(&self, columns: Vec<BadColumn>) -> Result<Option<Generation>, NotDone> {
        self.order(|reply| Order::Mend(Mend::Quarantine { columns, reply }))
            .await
    }
}

impl Owner {
    pub(super) fn mend(&mut self, mend: Mend) {
        // Whoever gave up waiting for an answer has lost interest in it.
        match mend {
            Mend::Repair {
                object,
                placed,
                tree,
                reply,
            } => {
                let _ = reply.send(self.repair(&object, placed, tree.map(|tree| *tree)));
            }
            Mend::Repaired { repaired, reply } => {
                self.repairs.push(repaired, reply);
                if self.repairs.is_full() {
                    self.finish_repairs();
                }
            }
            Mend::Quarantine { columns, reply } => {
                self.publish_all();
                let _ = reply.send(self.quarantine(&columns));
            }
        }
    }

    fn repair(
        &mut self,
        object: &ObjectId,
        placed: u64,
        tree: Option<ChunkTree>,
    ) -> Result<Option<Repairing>, StoreError> {
        self.store()?.repair(object, placed, tree)
    }

    fn quarantine(&mut self, columns: &[BadColumn]) -> Result<Option<Generation>, NotDone> {
        Ok(self.store()?.quarantine(columns)?)
    }

    pub(super) fn finish_repairs(&mut self) {
        let Repairs { waiting, .. } = std::mem::take(&mut self.repairs);
        if waiting.is_empty() {
            return;
        }
        let (repaired, replies): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        let finished = match self.store() {
            Ok(store) => store.finish_repairs(repaired).map_err(NotDone::from),
            Err(error) => Err(error.into()),
        };
        if let Err(not_done) = &finished {
            tracing::error!(copies = replies.len(), "not repaired: {not_done}");
        }
        for reply in replies {
            let _ = reply.send(finished.clone().map(drop));
        }
    }
}
