//! Fetching: the objects of a plan, from the sources, verified, into staging.
//!
//! ```text
//! Job --schedule--> turn: source, tree, Store::stage --feed--> Staging full --seal--> Fetched
//! ```
//! An object is asked of its peer, then of upstream appliances, then of origins; every group is verified before it is written, and
//! nothing that was verified is fetched again: the next source goes on where the last one ended. What an error means is decided in
//! `turn`. An object that waits for a source occupies no place among the objects that are fetched.

mod feed;
mod progress;
mod ranges;
mod schedule;
mod target;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use content_store::chunk_tree::ChunkTree;
use content_store::{Content, ObjectId, Repaired, Repairing, Stage, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::lanes::{Lanes, Late};
use crate::source::{SourceError, Sources, Wanted};

pub use feed::seal;
pub use progress::{Progress, Transfer};
pub(crate) use target::copy_columns;

/// One object to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What to ask for: root, size, and one of its paths.
    pub wanted: Wanted,
    /// Name of the tier where it shall lie.
    pub tier: String,
    /// Index of the peer that holds it or fetches it for the cluster.
    pub via: Option<u16>,
    /// The copy of which only lost and bad columns are to be written anew, by the generation in which it was placed; `None`: the object
    /// is not here.
    pub repairs: Option<u64>,
}

/// What became of a job.
pub enum Outcome {
    /// All its bytes are here: to be published.
    Fetched {
        /// The job.
        job: Job,
        /// The bytes.
        content: Content,
    },
    /// Its columns are written: to be put into their places. `None`: nothing was to be repaired any more.
    Repaired {
        /// The job.
        job: Job,
        /// The columns.
        repaired: Option<Repaired>,
    },
    /// It could not be fetched, and trying again soon changes nothing.
    Failed {
        /// The job.
        job: Job,
        /// Why.
        failure: Failure,
    },
}

/// Why an object could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No source gives it. The last one's answer.
    #[error("{source_name}: {error}")]
    Sources {
        /// Name of the source.
        source_name: String,
        /// What it did.
        error: SourceError,
    },
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A device does not answer.
    #[error("device {}: {}", .0.device, .0.cause)]
    Device(#[from] Late),
}

/// `Store::stage`, on a thread that may block.
pub type StageObject = Arc<dyn Fn(ChunkTree, &str) -> Result<Stage, StoreError> + Send + Sync>;

/// `Store::repair`, on a thread that may block.
pub type RepairCopy = Arc<
    dyn Fn(ObjectId, u64, Option<ChunkTree>) -> Result<Option<Repairing>, StoreError> + Send + Sync,
>;

/// Fetches what a plan lists.
#[derive(Clone)]
pub struct Fill {
    /// Where bytes come from.
    pub sources: Sources,
    /// Where they go.
    pub stage: StageObject,
    /// Where repaired columns go.
    pub repair: RepairCopy,
    /// The threads that write.
    pub lanes: Arc<Lanes>,
    /// What is going on, for status.
    pub progress: Arc<Progress>,
    /// Objects that are fetched at once: `fill.parallel`.
    pub parallel: usize,
    /// How long objects wait for a peer that gives none: `fill.peer_patience`.
    pub peer_patience: Duration,
    /// Draws from [0, 1) for pauses: `rand::random`.
    pub chance: fn() -> f64,
}

impl Fill {
    /// Fetches the jobs in their order and sends what becomes of each. Ends when all have an outcome; or when it is cancelled, as
    /// soon as the writes return that have begun. Then what was verified stays in staging, and nobody has it in hand: who stages
    /// these objects next goes on with them.
    pub async fn run(
        &self,
        jobs: Vec<Job>,
        outcomes: mpsc::Sender<Outcome>,
        cancelled: CancellationToken,
    ) {
        let mut schedule = schedule::Schedule::new(self, jobs, outcomes);
        let ended = cancelled.run_until_cancelled(schedule.run()).await;
        if ended.is_none() {
            schedule.stop().await;
            self.lanes.idle().await;
        }
        self.progress.clear();
    }
}
