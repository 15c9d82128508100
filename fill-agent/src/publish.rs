//! The one owner of the [`Store`](content_store::Store), on a thread of its own (`owner`): every change of what is published goes through
//! its queue.
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
mod owner;
mod repairs;
mod takedowns;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc;

use content_store::catalog::CatalogProblem;
use content_store::chunk_tree::ChunkTree;
use content_store::placement::Rule;
use content_store::{
    Content, Generation, NewPath, ObjectId, ObjectReader, Reaped, Stage, Staging, StoreConfig,
    StoreError,
};
use protocol::manifest::Tombstone;
use protocol::root::Root;
use tokio::sync::oneshot;

use batch::Entry;
use devices::DeviceOrder;
use owner::Owner;
use repairs::Mend;
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
        let owner = Owner::new(config, rule, Arc::clone(&takedowns));
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
