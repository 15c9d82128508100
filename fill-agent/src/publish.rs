//! The one owner of the [`Store`], on a thread of its own: every change of what is published goes through its queue.
//!
//! ```text
//! Order::Stage   -> Staging            to be written by the lanes; Order::Restage and Order::Copy the same, with a reader of the old copy
//! Order::Publish -> batch -> commit    at most 64 objects or 10 s, at once when nothing else is coming
//! Order::Remove  -> commit             evictions; Order::Keep the same for copies
//! Order::Reap    -> unlinked           what no generation in use leads to
//! Order::Mend    -> commit             bad columns that nobody is to read; Repairing for the lanes; repaired ones, in batches
//! Order::Close                         the writer lock is free, as for `ocactl content import`
//! ```
//! The store, and with it the writer lock, is taken with the first order that needs it. Whoever holds it meanwhile is named in the
//! error; the order is tried again by whoever gave it.
//!
//! Takedowns go past the queue (`takedowns`): they touch the catalog alone, and wait for no device, whatever the owner waits for.

mod batch;
mod devices;
mod repairs;
mod takedowns;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Instant;

use content_store::catalog::{CatalogProblem, Snapshot};
use content_store::chunk_tree::ChunkTree;
use content_store::placement::Rule;
use content_store::{
    BadColumn, Content, Generation, NewPath, ObjectId, ObjectReader, Reaped, Repaired, Repairing,
    Stage, Staging, Store, StoreConfig, StoreError,
};
use protocol::manifest::Tombstone;
use protocol::root::Root;
use tokio::sync::oneshot;

use batch::{Batch, Entry};
use devices::DeviceOrder;
use repairs::{Mend, Repairs};
use takedowns::Takedowns;

/// Why an order was not done. Several orders may share one cause, so it is in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct NotDone {
    /// What happened, and the way out.
    pub words: String,
    /// Somebody else writes, as `ocactl content import`: it passes.
    pub is_locked: bool,
    /// A device or tier is full.
    pub is_full: bool,
}

impl From<StoreError> for NotDone {
    fn from(error: StoreError) -> Self {
        Self {
            is_locked: matches!(error, StoreError::Catalog(CatalogProblem::Locked { .. })),
            is_full: matches!(error, StoreError::NoRoom { .. } | StoreError::Full { .. }),
            words: error.to_string(),
        }
    }
}

const ENDED: &str = "the thread that writes the catalog has ended; see the log";

type Reply<T> = oneshot::Sender<Result<T, NotDone>>;

/// What the owner may be told to do.
enum Order {
    Stage {
        tree: Box<ChunkTree>,
        tier: String,
        reply: mpsc::SyncSender<Result<Stage, StoreError>>,
    },
    Restage {
        object: ObjectId,
        tier: String,
        reply: Reply<Option<(Staging, ObjectReader)>>,
    },
    Copy {
        object: ObjectId,
        tier: String,
        reply: Reply<(Staging, ObjectReader)>,
    },
    Publish(Entry),
    Mend(Mend),
    Flush,
    Keep {
        copies: Vec<(ObjectId, usize)>,
        reply: Reply<Option<Generation>>,
    },
    Evict {
        roots: HashSet<Root>,
        reply: Reply<Removed>,
    },
    Device(DeviceOrder),
    Staged {
        reply: Reply<HashSet<Root>>,
    },
    /// What is written of these objects is not needed.
    Discard {
        roots: HashSet<Root>,
    },
    /// Takedowns have changed.
    DiscardTakenDown,
    Reap {
        oldest_in_use: Generation,
        reply: Reply<Reaped>,
    },
    Close {
        reply: Reply<()>,
    },
}

/// What became of paths that were to be taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Paths that are gone.
    pub paths: u64,
    /// The commit; `None` if nothing was to be done.
    pub generation: Option<Generation>,
}

/// The way to the owner.
#[derive(Clone)]
pub struct Publisher {
    orders: mpsc::Sender<Order>,
    takedowns: Arc<Takedowns>,
}

impl Publisher {
    /// Starts the thread. It ends with the last of its handles, after what was ordered.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(config: StoreConfig, rule: Rule) -> std::io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let takedowns = Arc::new(Takedowns::new(config.clone()));
        let owner = Owner {
            config,
            rule,
            store: None,
            batch: Batch::default(),
            repairs: Repairs::default(),
            takedowns: Arc::clone(&takedowns),
        };
        std::thread::Builder::new()
            .name("oca-publish".to_owned())
            .spawn(move || owner.run(&received))?;
        Ok(Self { orders, takedowns })
    }

    /// Begins to store an object. Blocks.
    ///
    /// # Errors
    /// What the store says.
    pub fn stage(&self, tree: ChunkTree, tier: &str) -> Result<Stage, StoreError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.tell(Order::Stage {
            tree: Box::new(tree),
            tier: tier.to_owned(),
            reply,
        });
        answer.recv().unwrap_or_else(|_| {
            Err(StoreError::BadTier {
                tier: tier.to_owned(),
                cause: ENDED.to_owned(),
            })
        })
    }

    /// Begins to move an object to a tier: where its bytes go, and whence they come. `None` if it is there.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn restage(
        &self,
        object: ObjectId,
        tier: &str,
    ) -> Result<Option<(Staging, ObjectReader)>, NotDone> {
        let tier = tier.to_owned();
        self.order(|reply| Order::Restage {
            object,
            tier,
            reply,
        })
        .await
    }

    /// Begins another copy of an object in a tier: where its bytes go, and whence they come.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn copy(
        &self,
        object: ObjectId,
        tier: &str,
    ) -> Result<(Staging, ObjectReader), NotDone> {
        let tier = tier.to_owned();
        self.order(|reply| Order::Copy {
            object,
            tier,
            reply,
        })
        .await
    }

    /// Takes the copies of these objects away but for the first ones, as many as are given; the commit, if there were some.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn keep_copies(
        &self,
        copies: Vec<(ObjectId, usize)>,
    ) -> Result<Option<Generation>, NotDone> {
        self.order(|reply| Order::Keep { copies, reply }).await
    }

    /// Publishes an object under its paths, with others of its batch. It is ordered when this returns, done when the future is.
    pub fn publish(
        &self,
        content: Content,
        paths: Vec<NewPath>,
    ) -> impl Future<Output = Result<Generation, NotDone>> + use<> {
        self.order(|reply| {
            Order::Publish(Entry {
                content,
                paths,
                reply,
            })
        })
    }

    /// Begins to repair a copy of an object: see [`Store::repair`]. Blocks.
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

    /// Marks columns as bad, as [`Store::quarantine`].
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn quarantine(&self, columns: Vec<BadColumn>) -> Result<Option<Generation>, NotDone> {
        self.order(|reply| Order::Mend(Mend::Quarantine { columns, reply }))
            .await
    }

    /// Nothing else is coming soon: what waits is published now.
    pub fn flush(&self) {
        self.tell(Order::Flush);
    }

    /// Takes all paths of these objects away: room is needed.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn evict(&self, roots: HashSet<Root>) -> Result<Removed, NotDone> {
        self.order(|reply| Order::Evict { roots, reply }).await
    }

    /// Takes these paths away, if they lead to these objects still; from now on they are never published. Waits for the state disk, not for
    /// devices.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn take_down(&self, tombstones: Arc<Vec<Tombstone>>) -> Result<Removed, NotDone> {
        let takedowns = Arc::clone(&self.takedowns);
        let removing = tokio::task::spawn_blocking(move || takedowns.replace(&tombstones));
        let removed = removing.await.expect("reading and writing does not panic");
        self.tell(Order::DiscardTakenDown);
        removed
    }

    /// Objects that are partly written, and by nobody just now.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn staged(&self) -> Result<HashSet<Root>, NotDone> {
        self.order(|reply| Order::Staged { reply }).await
    }

    /// Removes what is written of these objects, but for what somebody has in hand.
    pub fn discard(&self, roots: HashSet<Root>) {
        self.tell(Order::Discard { roots });
    }

    /// Unlinks what is not in use any more.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn reap(&self, oldest_in_use: Generation) -> Result<Reaped, NotDone> {
        self.order(|reply| Order::Reap {
            oldest_in_use,
            reply,
        })
        .await
    }

    /// Publishes what waits, and lets go of the store. To be told when no [`Stage::Write`] is in hand.
    pub fn close(&self) {
        let (reply, _) = oneshot::channel();
        self.tell(Order::Close { reply });
    }

    /// The same; returns when it is done.
    pub async fn closed(&self) {
        let _ = self.order(|reply| Order::Close { reply }).await;
    }

    fn tell(&self, order: Order) {
        // The thread ends after its handles only.
        let _ = self.orders.send(order);
    }

    fn order<T, O: FnOnce(Reply<T>) -> Order>(
        &self,
        order: O,
    ) -> impl Future<Output = Result<T, NotDone>> + use<T, O> {
        let (reply, answer) = oneshot::channel();
        self.tell(order(reply));
        async {
            answer.await.unwrap_or_else(|_| {
                Err(NotDone {
                    words: ENDED.to_owned(),
                    is_locked: false,
                    is_full: false,
                })
            })
        }
    }
}

struct Owner {
    config: StoreConfig,
    /// How new columns are placed.
    rule: Rule,
    store: Option<Store>,
    batch: Batch,
    repairs: Repairs,
    takedowns: Arc<Takedowns>,
}

impl Owner {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
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

    fn store(&mut self) -> Result<&mut Store, StoreError> {
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

    fn publish_all(&mut self) {
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
