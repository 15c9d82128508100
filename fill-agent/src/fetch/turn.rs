//! One turn of one object: as far as it comes without waiting for a source. Here it is decided what an error means.
//!
//! | | peer | upstream | origin |
//! |---|---|---|---|
//! | has not got it | waited for, within its patience | left | left |
//! | busy | waited for, within its patience | waited for, within its patience | later |
//! | cannot be reached, too slow, cut | waited for, within its patience | later | later |
//! | lies, changed, refuses, redirects | left | left | left |
//!
//! *Left*: not asked again in this round. *Later*: the next source is asked; if none gives it, the object comes back for this one.
//! When all are left the round is over: the next one begins after a pause, and after [`ROUNDS_MAX`] the object is given up until
//! the next plan.

use std::sync::Arc;
use std::time::Instant;

use content_store::chunk_tree::ChunkTree;
use content_store::{Content, ObjectId, Repaired, Repairing, Stage, StoreError};
use protocol::manifest::SourceKind;

use super::feed::{Fed, feed, seal, seal_columns};
use super::progress::Transfer;
use super::target::{Target, copy_here};
use super::{Failure, Fill, Job};
use crate::lanes::{Late, STORE};
use crate::limits::{BUSY_IN_PLACE, DEVICE_PAUSE, ROUNDS_MAX};
use crate::retry::{Fault, Permit, backoff};
use crate::source::{Source, SourceError};
use crate::tree;

/// What one object went through so far.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// Pauses since bytes came.
    pauses: u32,
    /// Rounds through all sources.
    rounds: u32,
    /// Names of the sources that were left in this round.
    left: Vec<String>,
}

/// Where a turn ended.
pub(super) enum End {
    /// All bytes are here.
    Done(Content),
    /// The columns that were to be repaired are, if there were any.
    Repaired(Option<Repaired>),
    /// To go on then.
    Wait {
        until: Instant,
        /// What for, as the end of a sentence.
        what: String,
    },
    /// Not in this plan.
    GivenUp(Failure),
}

/// Why a source does not give the rest of an object now.
enum Stop {
    /// It is not to be asked before then.
    Blocked(Instant),
    Error(SourceError),
}

/// What follows from it.
enum Verdict {
    Wait(Instant),
    Later(Instant),
    Left,
}

pub(super) struct Turn<'a> {
    fill: &'a Fill,
    job: &'a Job,
    tries: &'a mut Tries,
    transfer: &'a Transfer,
    /// Open between two sources.
    target: Option<Target>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        fill: &'a Fill,
        job: &'a Job,
        tries: &'a mut Tries,
        transfer: &'a Transfer,
    ) -> Self {
        Self {
            fill,
            job,
            tries,
            transfer,
            target: None,
        }
    }

    pub(super) async fn run(mut self) -> End {
        if let Some(placed) = self.job.repairs
            && let Some(end) = self.repair_here(placed).await
        {
            return end;
        }
        let mut soonest: Option<(Instant, String)> = None;
        let mut last = None;
        for source in self.fill.sources.order(self.job.via) {
            if self.tries.left.iter().any(|name| name == source.name()) {
                continue;
            }
            self.transfer.from(source.name());
            let stop = match self.exhaust(&source).await {
                Ok(end) => return end,
                Err(stop) => stop,
            };
            let what = waits_for(&source, &stop);
            match self.verdict(&source, &stop) {
                Verdict::Wait(until) => return End::Wait { until, what },
                Verdict::Later(until) => {
                    if soonest.as_ref().is_none_or(|(soonest, _)| until < *soonest) {
                        soonest = Some((until, what));
                    }
                }
                Verdict::Left => self.tries.left.push(source.name().into()),
            }
            if let Stop::Error(error) = stop {
                last = Some((source, error));
            }
        }
        match soonest {
            Some((until, what)) => End::Wait { until, what },
            None => self.round_over(last),
        }
    }

    /// Asks one source for all that is missing.
    async fn exhaust(&mut self, source: &Arc<Source>) -> Result<End, Stop> {
        loop {
            if let Permit::Until(until) = source.health.permit(Instant::now()) {
                return Err(Stop::Blocked(until));
            }
            let before = self.written();
            let error = match self.ask(source).await {
                Ok(end) => return Ok(end),
                Err(error) => error,
            };
            source.failed(&error, (self.fill.chance)());
            self.note(source, &error);
            match error {
                SourceError::Cut { .. } if self.written() > before => {}
                // Not worth closing what is half written.
                SourceError::Busy { pause, .. }
                    if self.target.is_some() && pause <= BUSY_IN_PLACE =>
                {
                    self.transfer.waits_for("the source, which is busy");
                    tokio::time::sleep(pause).await;
                }
                error => return Err(Stop::Error(error)),
            }
        }
    }

    fn written(&self) -> u64 {
        self.target.as_ref().map_or(0, Target::written)
    }

    async fn ask(&mut self, source: &Arc<Source>) -> Result<End, SourceError> {
        let target = match self.target.take() {
            Some(target) => target,
            None => {
                // A peer may not have it yet: asked before anything is made ready for its bytes.
                if source.kind() == SourceKind::Peer {
                    source.holds(&self.job.wanted).await?;
                }
                match self.stage().await {
                    Ok(target) => target,
                    Err(end) => return Ok(end),
                }
            }
        };
        let before = target.written();
        self.transfer.done(before);
        let (target, error) =
            match feed(self.fill, source, &self.job.wanted, self.transfer, target).await {
                Fed::Whole(target) => return Ok(self.seal(target).await),
                Fed::Left(target, error) => (target, error),
                Fed::Stopped(failure) => return Ok(stopped(failure)),
            };
        if target.written() > before {
            self.tries.pauses = 0;
        }
        self.target = Some(target);
        Err(error)
    }

    /// Repairs with what is good on this box; the end, if that is all, or nothing can be done.
    async fn repair_here(&mut self, placed: u64) -> Option<End> {
        self.transfer.waits_for("a place in the store");
        let mut begun = self.begin_repair(placed, None).await;
        if let Ok(Err(StoreError::NoTree(_))) = begun {
            let tree = match self.tree().await {
                Ok(tree) => tree,
                Err(end) => return Some(end),
            };
            begun = self.begin_repair(placed, Some(tree)).await;
        }
        let repairing = match begun {
            Ok(Ok(Some(repairing))) => repairing,
            Ok(Ok(None)) => return Some(End::Repaired(None)),
            Ok(Err(error)) => return Some(End::GivenUp(error.into())),
            Err(late) => return Some(stopped(late.into())),
        };
        let target = Target::Columns(repairing);
        match copy_here(self.fill, self.transfer, target).await {
            Ok(target) if target.is_whole() => Some(self.seal(target).await),
            Ok(target) => {
                self.target = Some(target);
                None
            }
            Err(failure) => Some(stopped(failure)),
        }
    }

    async fn begin_repair(
        &self,
        placed: u64,
        tree: Option<ChunkTree>,
    ) -> Result<Result<Option<Repairing>, StoreError>, Late> {
        let (repair, object) = (self.fill.repair.clone(), ObjectId(self.job.wanted.root.0));
        let lanes = &self.fill.lanes;
        lanes
            .run(STORE, 0, move || repair(object, placed, tree))
            .await
    }

    async fn tree(&mut self) -> Result<ChunkTree, End> {
        self.transfer.waits_for("its chunk tree");
        let control = self.fill.sources.control().clone();
        match tree::tree(&control, &self.job.wanted).await {
            Ok(tree) => {
                control.health.good();
                Ok(tree)
            }
            Err(error) => Err(self.no_tree(&control, error)),
        }
    }

    /// Makes ready for the bytes: the chunk tree, and a place in the store.
    async fn stage(&mut self) -> Result<Target, End> {
        let tree = self.tree().await?;
        self.transfer.waits_for("a place in the store");
        let (stage, tier) = (self.fill.stage.clone(), self.job.tier.clone());
        let staged = self
            .fill
            .lanes
            .run(STORE, 0, move || stage(tree, &tier))
            .await;
        match staged {
            Ok(Ok(Stage::Write(staging))) => Ok(Target::Object(staging)),
            Ok(Ok(Stage::Stored(object))) => Err(End::Done(Content::Stored(object))),
            Ok(Err(error)) => Err(End::GivenUp(error.into())),
            Err(late) => Err(stopped(late.into())),
        }
    }

    fn no_tree(&mut self, control: &Arc<Source>, error: SourceError) -> End {
        control.failed(&error, (self.fill.chance)());
        self.note(control, &error);
        if !matches!(error.fault(), Fault::Busy(_) | Fault::Unreachable) {
            return self.round_over(Some((control.clone(), error)));
        }
        End::Wait {
            until: self.after_pause(control),
            what: format!("a chunk tree of {}: {error}", control.name()),
        }
    }

    async fn seal(&self, target: Target) -> End {
        self.transfer.waits_for("the disk");
        let lanes = &self.fill.lanes;
        let sealed = match target {
            Target::Object(staging) => {
                let sealed = seal(lanes, staging).await;
                sealed.map(|sealed| End::Done(Content::Sealed(sealed)))
            }
            Target::Columns(repairing) => {
                let repaired = seal_columns(lanes, repairing).await;
                repaired.map(|repaired| End::Repaired(Some(repaired)))
            }
        };
        sealed.unwrap_or_else(stopped)
    }

    fn verdict(&mut self, source: &Source, stop: &Stop) -> Verdict {
        let now = Instant::now();
        let is_peer = source.kind() == SourceKind::Peer;
        let (until, is_busy) = match stop {
            Stop::Blocked(until) => (*until, source.health.is_busy(now)),
            Stop::Error(SourceError::Miss(_)) if is_peer => {
                (source.health.turn(self.after_pause(source)), false)
            }
            Stop::Error(error) => match error.fault() {
                Fault::Busy(pause) => (now + pause, true),
                Fault::Unreachable => (self.after_pause(source), false),
                Fault::Missing | Fault::Refused | Fault::Lie => return Verdict::Left,
            },
        };
        let is_worth_it = match source.kind() {
            SourceKind::Peer => true,
            SourceKind::Upstream => is_busy,
            SourceKind::Origin => false,
        };
        let patience = self.fill.peer_patience;
        if is_worth_it && source.health.is_waited_for(now, until, patience) {
            return Verdict::Wait(until);
        }
        match stop {
            Stop::Error(SourceError::Miss(_)) => Verdict::Left,
            _ => Verdict::Later(until),
        }
    }

    /// When to ask a source again: after a pause, and when it may be asked.
    fn after_pause(&mut self, source: &Source) -> Instant {
        let now = Instant::now();
        let pause = backoff(self.tries.pauses, (self.fill.chance)());
        self.tries.pauses = self.tries.pauses.saturating_add(1);
        let blocked = source.health.blocked(now).map_or(now, |(until, _)| until);
        blocked.max(now + pause)
    }

    fn round_over(&mut self, last: Option<(Arc<Source>, SourceError)>) -> End {
        self.tries.rounds += 1;
        self.tries.left.clear();
        match last {
            Some((source, error)) if self.tries.rounds >= ROUNDS_MAX => {
                let source_name = source.name().into();
                End::GivenUp(Failure::Sources { source_name, error })
            }
            _ => {
                let pause = backoff(
                    self.tries.rounds + ROUND_PAUSE_DOUBLINGS,
                    (self.fill.chance)(),
                );
                End::Wait {
                    until: Instant::now() + pause,
                    what: "another try, as no source gives it".into(),
                }
            }
        }
    }

    /// Tells the operator of what is more than waiting.
    fn note(&self, source: &Source, error: &SourceError) {
        let is_peer = source.kind() == SourceKind::Peer;
        let is_waiting = match error {
            SourceError::Busy { .. } => true,
            SourceError::Miss(_) => is_peer,
            _ => false,
        };
        if !is_waiting {
            let path = &self.job.wanted.path;
            tracing::info!(source = source.name(), %path, %error, "a source failed");
            self.fill.progress.failed(self.job, source.name(), error);
        }
    }
}

/// A device that does not answer is waited for; any other failure of the store is for the next plan.
fn stopped(failure: Failure) -> End {
    match failure {
        Failure::Device(late) => End::Wait {
            until: Instant::now() + DEVICE_PAUSE,
            what: format!("device {}: {}", late.device, late.cause),
        },
        failure => End::GivenUp(failure),
    }
}

fn waits_for(source: &Source, stop: &Stop) -> String {
    let name = source.name();
    match stop {
        Stop::Error(SourceError::Miss(_)) => format!("{name}, which has not got it yet"),
        Stop::Error(SourceError::Busy { .. }) => format!("{name}, which is busy"),
        Stop::Error(error) => format!("{name}: {error}"),
        Stop::Blocked(_) => match source.health.problem() {
            Some(problem) => format!("{name}: {problem}"),
            None => name.into(),
        },
    }
}

/// The pause after a round is drawn from eight times the first pause of a source.
const ROUND_PAUSE_DOUBLINGS: u32 = 2;
