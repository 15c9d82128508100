//! What must not be published, and taking it away: beside the owner of the store, with the same writer lock, in the catalog alone.
//!
//! What the owner publishes at the same moment is either seen here, or looked over by the owner after its commit
//! ([`Takedowns::again_since`]).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use content_store::catalog::WriterLock;
use content_store::{Generation, ObjectId, Store, StoreConfig, StoreError, take_down};
use protocol::manifest::Tombstone;
use protocol::root::Root;

use super::batch::Batch;
use super::{NotDone, Removed};

/// Takedowns, and the writer lock that both sides share.
pub(super) struct Takedowns {
    config: StoreConfig,
    lock: Mutex<Weak<WriterLock>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Paths with what they must not lead to.
    pairs: HashSet<(Box<str>, Root)>,
    /// How often they have changed.
    changes: u64,
}

impl Takedowns {
    pub(super) fn new(config: StoreConfig) -> Self {
        Self {
            config,
            lock: Mutex::default(),
            state: Mutex::default(),
        }
    }

    /// The writer lock: taken, unless this process has it already.
    pub(super) fn lock(&self) -> Result<Arc<WriterLock>, StoreError> {
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = held.upgrade() {
            return Ok(lock);
        }
        let lock = Store::lock(&self.config)?;
        *held = Arc::downgrade(&lock);
        Ok(lock)
    }

    /// These are all there are, from now on. They are carried out before this returns.
    pub(super) fn replace(&self, tombstones: &[Tombstone]) -> Result<Removed, NotDone> {
        let mut state = self.state();
        let pairs = tombstones.iter();
        state.pairs = pairs
            .map(|stone| (stone.path.clone(), stone.root))
            .collect();
        state.changes += 1;
        Ok(self.carry_out(&state)?)
    }

    /// Drops what must not be published; gives what [`again_since`](Self::again_since) asks for.
    pub(super) fn forget_paths(&self, batch: &mut Batch) -> u64 {
        let state = self.state();
        batch.forget_paths(&state.pairs);
        state.changes
    }

    /// After a commit of what was looked over at `known`: if there are other takedowns since, they are carried out once more.
    pub(super) fn again_since(&self, known: u64) -> Result<Option<Generation>, StoreError> {
        let state = self.state();
        if state.changes == known {
            return Ok(None);
        }
        Ok(self.carry_out(&state)?.generation)
    }

    pub(super) fn roots(&self) -> HashSet<Root> {
        self.state().pairs.iter().map(|(_, root)| *root).collect()
    }

    fn carry_out(&self, state: &State) -> Result<Removed, StoreError> {
        if state.pairs.is_empty() {
            return Ok(Removed::default());
        }
        let pairs = state.pairs.iter();
        let pairs = pairs.map(|(path, root)| (&**path, ObjectId(root.0)));
        let done = take_down(&*self.lock()?, &self.config.state_dir, pairs)?;
        Ok(Removed {
            paths: done.map_or(0, |(paths, _)| paths),
            generation: done.map(|(_, generation)| generation),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is half changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
