//! The thread that has the store: takes one order after the other, and publishes in batches.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Instant;

use content_store::catalog::Snapshot;
use content_store::chunk_tree::ChunkTree;
use content_store::placement::Rule;
use content_store::{
    Generation, ObjectId, ObjectReader, Reaped, Stage, Staging, Store, StoreConfig, StoreError,
};
use protocol::root::Root;

use super::batch::Batch;
use super::repairs::Repairs;
use super::takedowns::Takedowns;
use super::{NotDone, Order, Removed};

/// The store, and what waits for its next commit.
pub(super) struct Owner {
    config: StoreConfig,
    /// How new columns are placed.
    rule: Rule,
    store: Option<Store>,
    batch: Batch,
    pub(super) repairs: Repairs,
    takedowns: Arc<Takedowns>,
}

impl Owner {
    pub(super) fn new(config: StoreConfig, rule: Rule, takedowns: Arc<Takedowns>) -> Self {
        Self {
            config,
            rule,
            store: None,
            batch: Batch::default(),
            repairs: Repairs::default(),
            takedowns,
        }
    }

    /// Obeys until the last handle is gone, and then publishes what waits.
    pub(super) fn run(mut self, orders: &mpsc::Receiver<Order>) {
        loop {
            let due = self.batch.due().into_iter().chain(self.repairs.due());
            let order = match due.min() {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => orders.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match order {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => self.publish_all(),
                Err(RecvTimeoutError::Disconnected) => return self.publish_all(),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        // Whoever gave up waiting for an answer has lost interest in it.
        match order {
            Order::Stage { tree, tier, reply } => {
                let _ = reply.send(self.stage(*tree, &tier));
            }
            Order::Restage {
                object,
                tier,
                reply,
            } => {
                let _ = reply.send(self.restage(&object, &tier));
            }
            Order::Copy {
                object,
                tier,
                reply,
            } => {
                let _ = reply.send(self.copy(&object, &tier));
            }
            Order::Keep { copies, reply } => {
                self.publish_batch();
                let _ = reply.send(self.keep_copies(&copies));
            }
            Order::Publish(entry) => {
                self.batch.push(entry);
                if self.batch.is_full() {
                    self.publish_batch();
                }
            }
            Order::Mend(mend) => self.mend(mend),
            Order::Flush => self.publish_all(),
            Order::Evict { roots, reply } => {
                self.publish_batch();
                let _ = reply.send(self.evict(&roots));
            }
            Order::Device(order) => self.tend(order),
            Order::Staged { reply } => {
                let _ = reply.send(self.staged());
            }
            Order::Discard { roots } => self.discard(&roots),
            Order::DiscardTakenDown => self.discard_taken_down(),
            Order::Reap {
                oldest_in_use,
                reply,
            } => {
                let _ = reply.send(self.reap(oldest_in_use));
            }
            Order::Close { reply } => {
                self.publish_all();
                self.store = None;
                let _ = reply.send(Ok(()));
            }
        }
    }

    /// The store, opened if it is not, with devices that were looked at.
    pub(super) fn store(&mut self) -> Result<&mut Store, StoreError> {
        if self.store.is_none() {
            let lock = self.takedowns.lock()?;
            let mut store = Store::open_with_lock(self.config.clone(), None, lock)?;
            store.place_by(self.rule.clone());
            self.store = Some(store);
            self.discard_taken_down();
        }
        let store = self.store.as_mut().expect("it was opened above");
        store.look_at_devices();
        Ok(store)
    }

    pub(super) fn publish_all(&mut self) {
        self.publish_batch();
        self.finish_repairs();
    }

    fn stage(&mut self, tree: ChunkTree, tier: &str) -> Result<Stage, StoreError> {
        self.store()?.stage(tree, tier)
    }

    fn restage(
        &mut self,
        object: &ObjectId,
        tier: &str,
    ) -> Result<Option<(Staging, ObjectReader)>, NotDone> {
        let store = self.store()?;
        match store.restage(object, tier)? {
            Stage::Stored(_) => Ok(None),
            Stage::Write(staging) => {
                let reader = store.reader(object)?.starting_at(staging.written());
                Ok(Some((staging, reader)))
            }
        }
    }

    fn copy(&mut self, object: &ObjectId, tier: &str) -> Result<(Staging, ObjectReader), NotDone> {
        let store = self.store()?;
        let staging = store.stage_copy(object, tier)?;
        Ok((staging, store.reader(object)?))
    }

    fn keep_copies(&mut self, copies: &[(ObjectId, usize)]) -> Result<Option<Generation>, NotDone> {
        Ok(self.store()?.keep_copies(copies)?)
    }

    fn reap(&mut self, oldest_in_use: Generation) -> Result<Reaped, NotDone> {
        Ok(self.store()?.reap(oldest_in_use)?)
    }

    fn publish_batch(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        let known = self.takedowns.forget_paths(&mut batch);
        if let Ok(store) = self.store() {
            batch.give_back_unreachable(store);
        }
        let (publications, replies) = batch.into_parts();
        if publications.is_empty() {
            return;
        }
        let count = publications.len();
        let published = match self.store() {
            Ok(store) => store.publish(publications).map_err(NotDone::from),
            Err(error) => Err(error.into()),
        };
        let published = published.and_then(|generation| {
            let newest = self.takedowns.again_since(known)?;
            Ok(newest.unwrap_or(generation))
        });
        match &published {
            Ok(generation) => tracing::info!(objects = count, %generation, "published"),
            Err(not_done) => tracing::error!(objects = count, "not published: {not_done}"),
        }
        for reply in replies {
            let _ = reply.send(published.clone());
        }
    }

    /// What was written of an object that is taken down goes, if the store is open; else when it is opened next. Under a path where
    /// it may be wanted still, it is fetched anew.
    fn discard_taken_down(&mut self) {
        let roots = self.takedowns.roots();
        self.discard(&roots);
    }

    fn staged(&mut self) -> Result<HashSet<Root>, NotDone> {
        let partly = self.store()?.resumable();
        Ok(partly.iter().map(|partly| Root(partly.object.0)).collect())
    }

    fn discard(&mut self, roots: &HashSet<Root>) {
        let Some(store) = self.store.as_mut().filter(|_| !roots.is_empty()) else {
            return;
        };
        store.look_at_devices();
        let begun = store.begun_objects().into_iter();
        for object in begun.filter(|object| roots.contains(&Root(object.0))) {
            match store.discard_staging(&object) {
                Ok(()) => tracing::info!(%object, "what was written of it is gone"),
                Err(problem) => tracing::warn!("not wanted, and partly there still: {problem}"),
            }
        }
    }

    fn evict(&mut self, roots: &HashSet<Root>) -> Result<Removed, NotDone> {
        let snapshot = Snapshot::read_or_empty(&self.config.state_dir).map_err(StoreError::from)?;
        let paths = snapshot.paths.iter();
        let meant = paths.filter(|(object, _)| roots.contains(&Root(object.0)));
        let meant: Vec<&str> = meant.map(|(_, entry)| &*entry.path).collect();
        if meant.is_empty() {
            return Ok(Removed::default());
        }
        Ok(Removed {
            paths: meant.len() as u64,
            generation: Some(self.store()?.remove(&meant)?),
        })
    }
}
