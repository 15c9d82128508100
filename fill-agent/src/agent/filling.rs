//! Doing a plan: evictions, publications of what is here, fetches. Runs beside the agent's loop, and ends when all is done, or soon
//! after it is cancelled; what was fetched whole by then is published.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use content_store::{Content, Generation, NewPath, ObjectId};
use protocol::config::Config;
use protocol::media_type;
use protocol::root::Root;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::allowed::Part;
use super::planning::Planned;
use crate::daemon::Daemon;
use crate::fetch::{Failure, Fill, Job, Outcome};
use crate::limits::{FLUSH_LOOK, OUTCOMES_WAITING, REAP_AGAIN, REAP_PATIENCE};
use crate::metrics::Counters;
use crate::planner::Entries;
use crate::publish::{NotDone, Publisher};
use crate::rate::Limiter;
use crate::source::Wanted;

/// A plan to be done.
pub(super) struct Work {
    pub(super) config: Arc<Config>,
    pub(super) planned: Arc<Planned>,
    /// What the day allows of it. It is in the ledger already.
    pub(super) part: Part,
    pub(super) fill: Fill,
    pub(super) limiter: Arc<Limiter>,
    pub(super) publisher: Publisher,
    pub(super) daemon: Daemon,
    pub(super) counters: Arc<Counters>,
    pub(super) done: Arc<Done>,
    pub(super) cancelled: CancellationToken,
}

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Objects that were fetched and published.
    pub(super) objects: AtomicU64,
    /// Their bytes.
    pub(super) bytes: AtomicU64,
    /// Bytes of objects that were fetched whole, published or about to be.
    pub(super) fetched: AtomicU64,
}

/// How it ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Objects that could not be fetched or published.
    pub(super) failed: u64,
    /// Something changed: objects came, went, or got paths.
    pub(super) progressed: bool,
    /// What the store said, if it was no.
    pub(super) not_done: Option<NotDone>,
}

/// The objects of a work: what a takedown must stop.
pub(super) fn roots(planned: &Planned) -> HashSet<Root> {
    let plan = &planned.plan;
    let fetched = plan.fetch.iter().map(|fetch| fetch.root);
    let repaired = planned.repairs().iter().map(|one| one.damaged.root);
    fetched
        .chain(plan.moves.iter().map(|step| step.root))
        .chain(plan.duplicates.iter().map(|one| one.root))
        .chain(plan.relief.iter().map(|one| one.root))
        .chain(repaired)
        .collect()
}

impl Work {
    pub(super) async fn run(self) -> Ended {
        let mut ended = Ended::default();
        if let Err(not_done) = self.prepare(&mut ended).await {
            ended.not_done = Some(not_done);
        } else {
            self.fetch(&mut ended).await;
        }
        ended.progressed |= self.done.objects.load(Relaxed) > 0;
        ended
    }

    /// Makes room, moves, copies, and sets paths of what is here.
    async fn prepare(&self, ended: &mut Ended) -> Result<(), NotDone> {
        self.discard_unwanted().await?;
        self.drop_copies(ended).await?;
        self.evict(ended).await?;
        self.move_all(ended).await?;
        self.copy_all(ended).await?;
        self.relieve_all(ended).await?;
        let mut published = Vec::new();
        for one in &self.planned.plan.publish {
            let content = Content::Stored(ObjectId(one.root.0));
            published.push(self.publisher.publish(content, self.paths(&one.entries)));
        }
        self.publisher.flush();
        for published in published {
            published.await?;
            ended.progressed = true;
        }
        if ended.progressed {
            self.reload().await;
        }
        Ok(())
    }

    /// What an earlier plan began and this one has no use for gives its room back: it is reserved at full length.
    async fn discard_unwanted(&self) -> Result<(), NotDone> {
        let staged = self.publisher.staged().await?;
        if staged.is_empty() {
            return Ok(());
        }
        let plan = &self.planned.plan;
        let wanted: HashSet<Root> = self.planned.wanted().iter().map(|one| one.root).collect();
        let no_room: HashSet<Root> = plan.without_room.iter().map(|one| one.root).collect();
        let useless = |root: &Root| !wanted.contains(root) || no_room.contains(root);
        self.publisher
            .discard(staged.into_iter().filter(useless).collect());
        Ok(())
    }

    async fn drop_copies(&self, ended: &mut Ended) -> Result<(), NotDone> {
        let fewer = self.planned.plan.fewer.iter();
        let keep: Vec<_> = fewer
            .map(|one| (ObjectId(one.root.0), usize::from(one.keep)))
            .collect();
        if keep.is_empty() {
            return Ok(());
        }
        let objects = keep.len();
        if self.publisher.keep_copies(keep).await?.is_none() {
            return Ok(());
        }
        tracing::info!(objects, "copies that are not wanted any more are gone");
        ended.progressed = true;
        self.reload().await;
        reap(&self.publisher, &self.daemon).await
    }

    async fn evict(&self, ended: &mut Ended) -> Result<(), NotDone> {
        let evict = &self.part.evict;
        if evict.is_empty() {
            return Ok(());
        }
        let roots: HashSet<Root> = evict.iter().map(|evict| evict.root).collect();
        let removed = self.publisher.evict(roots).await?;
        let bytes: u64 = evict.iter().map(|evict| evict.size).sum();
        tracing::info!(
            objects = evict.len(),
            bytes,
            paths = removed.paths,
            "evicted"
        );
        self.counters
            .evicted_objects
            .fetch_add(evict.len() as u64, Relaxed);
        self.counters.evicted_bytes.fetch_add(bytes, Relaxed);
        ended.progressed = true;
        self.reload().await;
        reap(&self.publisher, &self.daemon).await
    }

    async fn fetch(&self, ended: &mut Ended) {
        let jobs: Vec<Job> = self.repair_jobs().chain(self.jobs()).collect();
        if jobs.is_empty() {
            return;
        }
        let plan = &self.planned.plan;
        let by_root: HashMap<Root, usize> = plan
            .fetch
            .iter()
            .enumerate()
            .map(|(at, fetch)| (fetch.root, at))
            .collect();
        let (sender, mut outcomes) = mpsc::channel(OUTCOMES_WAITING);
        let fill = self.fill.clone();
        let cancelled = self.cancelled.clone();
        let fetching = tokio::spawn(async move { fill.run(jobs, sender, cancelled).await });
        let mut publishing = JoinSet::new();
        loop {
            tokio::select! {
                outcome = outcomes.recv() => match outcome {
                    Some(Outcome::Fetched { job, content }) => {
                        let fetch = &plan.fetch[by_root[&job.wanted.root]];
                        let published = self.publisher.publish(content, self.paths(&fetch.entries));
                        let bytes = job.wanted.size;
                        self.done.fetched.fetch_add(bytes, Relaxed);
                        publishing.spawn(async move { published.await.map(|_| Came::Object(bytes)) });
                    }
                    Some(Outcome::Repaired { job, repaired: Some(repaired) }) => {
                        tracing::info!(path = &*job.wanted.path, bytes = repaired.bytes(), "repaired");
                        let bytes = repaired.bytes();
                        let finished = self.publisher.repaired(repaired);
                        publishing.spawn(async move { finished.await.map(|()| Came::Columns(bytes)) });
                    }
                    Some(Outcome::Repaired { repaired: None, .. }) => ended.progressed = true,
                    Some(Outcome::Failed { job, failure }) => self.failed(ended, &job, failure),
                    None => break,
                },
                Some(published) = publishing.join_next() => self.note(ended, published.ok()),
                () = sleep(FLUSH_LOOK), if !publishing.is_empty() => {
                    if self.fill.progress.transfers().is_empty() {
                        self.publisher.flush();
                    }
                }
            }
        }
        self.publisher.flush();
        while let Some(published) = publishing.join_next().await {
            self.note(ended, published.ok());
        }
        let _ = fetching.await;
        self.reload().await;
    }

    fn note(&self, ended: &mut Ended, published: Option<Result<Came, NotDone>>) {
        match published {
            Some(Ok(Came::Columns(bytes))) => {
                ended.progressed = true;
                self.counters.repaired_copies.fetch_add(1, Relaxed);
                self.counters.repaired_bytes.fetch_add(bytes, Relaxed);
            }
            Some(Ok(Came::Object(bytes))) => {
                self.done.objects.fetch_add(1, Relaxed);
                self.done.bytes.fetch_add(bytes, Relaxed);
                self.counters.published_objects.fetch_add(1, Relaxed);
                self.counters.published_bytes.fetch_add(bytes, Relaxed);
                let daemon = self.daemon.clone();
                // The daemon looks by itself as well, a little later.
                if self.done.objects.load(Relaxed).is_multiple_of(RELOAD_EVERY) {
                    tokio::spawn(async move { daemon.reload().await });
                }
            }
            Some(Err(not_done)) => {
                ended.failed += 1;
                ended.not_done = Some(not_done);
            }
            None => ended.failed += 1,
        }
    }

    fn failed(&self, ended: &mut Ended, job: &Job, failure: Failure) {
        ended.failed += 1;
        tracing::warn!(path = &*job.wanted.path, %failure, "not fetched");
        if let Failure::Store(error) = failure {
            let not_done = NotDone::from(error);
            if not_done.is_locked {
                // The others would find the same.
                self.cancelled.cancel();
            }
            ended.not_done = Some(not_done);
        }
    }

    pub(super) async fn reload(&self) {
        if let Err(error) = self.daemon.reload().await {
            tracing::debug!(%error, "the daemon was not told of new content");
        }
    }

    fn jobs(&self) -> Vec<Job> {
        let plan = &self.planned.plan;
        let waiting = &self.part.waiting_fetches;
        let fetches = plan.fetch.iter();
        let allowed = fetches.filter(|fetch| !waiting.contains(&fetch.root));
        let jobs = allowed.filter_map(|fetch| {
            let entry = plan.entries(&fetch.entries, self.planned.wanted()).next()?;
            Some(Job {
                wanted: Wanted {
                    root: fetch.root,
                    size: fetch.size,
                    path: entry.path.clone(),
                },
                tier: self.config.tiers.get(fetch.tier)?.name.clone(),
                via: entry.via,
                repairs: None,
            })
        });
        jobs.collect()
    }

    fn repair_jobs(&self) -> impl Iterator<Item = Job> {
        self.planned.repairs().iter().map(|repair| Job {
            wanted: Wanted {
                root: repair.damaged.root,
                size: repair.damaged.size,
                path: repair.path.clone(),
            },
            tier: repair.damaged.tier.to_string(),
            via: repair.via,
            repairs: Some(repair.damaged.placed),
        })
    }

    fn paths(&self, of: &Entries) -> Vec<NewPath> {
        let entries = self.planned.plan.entries(of, self.planned.wanted());
        let paths = entries.map(|entry| NewPath {
            path: entry.path.clone(),
            content_type: entry.content_type.clone(),
            cache_control: entry
                .cache_control
                .clone()
                .unwrap_or_else(|| media_type::of(&entry.path).cache_control.into()),
            modified_s: entry.modified,
        });
        paths.collect()
    }
}

/// What is in its place.
enum Came {
    /// An object of so many bytes.
    Object(u64),
    /// Columns of so many bytes.
    Columns(u64),
}

/// Objects after which the daemon is told of what came.
const RELOAD_EVERY: u64 = 64;

/// Unlinks what nobody uses any more; waits for readers, but not longer than [`REAP_PATIENCE`], and for no device that is away.
pub(super) async fn reap(publisher: &Publisher, daemon: &Daemon) -> Result<(), NotDone> {
    let begun = Instant::now();
    loop {
        let is_over = begun.elapsed() >= REAP_PATIENCE;
        let oldest = match daemon.oldest_in_use().await {
            Ok(oldest) if !is_over => oldest,
            Err(error) if !is_over => {
                tracing::warn!(%error, "what is in use is not known yet");
                Generation(0)
            }
            _ => Generation(u64::MAX),
        };
        let reaped = publisher.reap(oldest).await?;
        if reaped.waiting == 0 || is_over {
            return Ok(());
        }
        sleep(
            REAP_AGAIN
                .min(REAP_PATIENCE.saturating_sub(begun.elapsed()) + Duration::from_millis(1)),
        )
        .await;
    }
}
