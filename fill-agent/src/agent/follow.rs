//! What happens beside the loop, and what follows from it: each at most one at a time.
//!
//! ```text
//! Event --follow--> Following --step--> asking, takedowns, thinking (judging), filling (starting), tidying
//! ```

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use content_store::{BadColumn, Generation, StoreError};
use protocol::manifest::{Manifest, Serial, Tombstones};
use protocol::root::Root;
use tokio_util::sync::CancellationToken;

use super::Agent;
use super::book::Believed;
use super::contact::{Arrived, Failed};
use super::filling::{self, Done, Ended};
use super::judging::Thought;
use super::tending::Tended;
use crate::planner::Amount;
use crate::publish::{NotDone, Removed};
use crate::survey::FoundDevice;

/// What came of something that ran beside the loop.
pub(super) enum Event {
    Manifest(Result<Arrived<Manifest>, Failed>),
    Tombstones(Result<Arrived<Tombstones>, Failed>, Option<Serial>),
    Thought(Box<Thought>),
    Filled(Ended),
    TakedownWaits(Option<String>),
    TakenDown(Option<Serial>, Removed),
    Reaped(Option<NotDone>),
    Token(Result<String, String>),
    Marked(Vec<BadColumn>, Result<Option<Generation>, NotDone>),
    Tended(Tended),
    Looked(Result<Vec<FoundDevice>, StoreError>),
}

/// What runs, and what is due.
pub(super) struct Following {
    pub(super) is_thinking: bool,
    /// The newest manifest that was believed and is not judged yet.
    pub(super) unjudged: Option<Serial>,
    pub(super) candidate: Option<(Arc<Believed>, Vec<u8>)>,
    pub(super) replan_at: Option<Instant>,
    pub(super) filling: Option<Filling>,
    /// Kept for progress until the next plan.
    pub(super) done: Arc<Done>,
    pub(super) takedown: Option<tokio::task::AbortHandle>,
    pub(super) takedown_due: bool,
    pub(super) is_reaping: bool,
    /// Columns are being marked as bad.
    pub(super) is_marking: bool,
    pub(super) reap_due: bool,
    /// Devices are being taken back or evacuated.
    pub(super) is_tending: bool,
    /// When it is looked again whether there is anything to do for them.
    pub(super) tend_at: Instant,
    pub(super) is_looking: bool,
    /// When the devices are looked at again.
    pub(super) look_at: Instant,
    /// The devices as they were found since the last plan.
    pub(super) looked: Vec<FoundDevice>,
    /// The store may be open.
    pub(super) store_used: bool,
    /// What keeps the store or the catalog from being used.
    pub(super) store_problem: Option<NotDone>,
    pub(super) takedown_problem: Option<String>,
    pub(super) plan_problem: Option<String>,
    /// Rounds in a row that ended with failures and without progress.
    pub(super) fruitless: u32,
    pub(super) failed: u64,
    /// Evictions of the plan that wait for another day.
    pub(super) waiting_evictions: Amount,
    /// The token for sources, as it was read last.
    pub(super) token: Option<String>,
    pub(super) is_reading_token: bool,
}

/// A fill that runs.
pub(super) struct Filling {
    pub(super) cancelled: CancellationToken,
    pub(super) roots: HashSet<Root>,
    /// Of a fill outside the window.
    pub(super) urgent: Option<Reserved>,
}

/// What the ledger was charged with for urgent objects, to be put right in the end.
#[derive(Clone, Copy)]
pub(super) struct Reserved {
    pub(super) bytes: u64,
    /// Bytes that had come from all sources before.
    pub(super) came: u64,
}

impl Default for Following {
    fn default() -> Self {
        Self {
            is_thinking: false,
            unjudged: None,
            candidate: None,
            replan_at: Some(Instant::now()),
            filling: None,
            done: Arc::default(),
            takedown: None,
            takedown_due: true,
            is_reaping: false,
            is_marking: false,
            reap_due: false,
            is_tending: false,
            tend_at: Instant::now(),
            is_looking: false,
            look_at: Instant::now(),
            looked: Vec::new(),
            store_used: false,
            store_problem: None,
            takedown_problem: None,
            plan_problem: None,
            fruitless: 0,
            failed: 0,
            waiting_evictions: Amount::default(),
            token: None,
            is_reading_token: false,
        }
    }
}

impl Following {
    pub(super) fn cancel(&self) {
        if let Some(filling) = &self.filling {
            filling.cancelled.cancel();
        }
    }

    pub(super) fn is_filling(&self) -> bool {
        self.filling.is_some()
    }

    /// Whether a plan is being made, or a fill or takedown runs.
    pub(super) fn is_busy(&self) -> bool {
        self.is_thinking || self.candidate.is_some() || self.is_filling() || self.takedown.is_some()
    }

    pub(super) fn replan(&mut self) {
        self.replan_at = Some(Instant::now());
    }

    pub(super) fn is_due(&self) -> bool {
        self.replan_at.is_some_and(|at| at <= Instant::now())
    }
}

impl Agent {
    /// Takes in what came.
    pub(super) async fn follow(&mut self, event: Event) {
        match event {
            Event::Manifest(arrived) => {
                if let Some((manifest, sealed)) = self.manifest_answered(arrived) {
                    self.consider(*manifest, sealed);
                }
            }
            Event::Tombstones(arrived, told) => {
                self.told_of(told);
                if let Some((list, sealed)) = self.tombstones_answered(arrived) {
                    self.bury(*list, sealed).await;
                }
            }
            Event::Thought(thought) => self.thought(*thought).await,
            Event::Filled(ended) => self.filled(ended).await,
            Event::TakedownWaits(problem) => self.following.takedown_problem = problem,
            Event::TakenDown(serial, removed) => self.taken_down(serial, removed),
            Event::Reaped(not_done) => {
                self.following.is_reaping = false;
                self.following.store_problem = not_done;
            }
            Event::Marked(columns, marked) => self.marked(&columns, marked),
            Event::Tended(tended) => self.tended(tended),
            Event::Looked(devices) => self.looked(devices),
            Event::Token(read) => {
                self.following.is_reading_token = false;
                match read {
                    Ok(token) => self.following.token = Some(token),
                    Err(problem) => tracing::error!("{problem}"),
                }
            }
        }
    }

    /// Starts what is due.
    pub(super) async fn step(&mut self) {
        let decision = self.decision();
        self.ask_control(decision.open);
        self.take_down();
        self.set_rate(&decision);
        self.think(&decision);
        let filling = self.following.filling.as_ref();
        if filling.is_some_and(|filling| !self.may_go_on(&decision, filling)) {
            self.following.cancel();
        }
        self.fill(&decision).await;
        self.tend();
        self.look();
        self.tidy();
    }

    /// Unlinks what nobody uses any more, beside the loop; once more, if that is being done already.
    pub(super) fn reap(&mut self) {
        let following = &mut self.following;
        if std::mem::replace(&mut following.is_reaping, true) {
            following.reap_due = true;
            return;
        }
        following.store_used = true;
        let (publisher, daemon) = (self.publisher.clone(), self.daemon.clone());
        let events = self.events.clone();
        tokio::spawn(async move {
            let not_done = filling::reap(&publisher, &daemon).await.err();
            let _ = events.send(Event::Reaped(not_done)).await;
        });
    }

    /// Unlinks what was left over, and lets go of the store when nothing is written.
    fn tidy(&mut self) {
        let following = &mut self.following;
        let is_writing = following.filling.is_some() || following.takedown.is_some();
        let is_busy = following.is_reaping || following.is_marking || following.is_tending;
        if is_writing || is_busy {
            return;
        }
        if following.reap_due && self.book.intent.pause.is_none() {
            following.reap_due = false;
            self.reap();
        } else if following.store_used {
            following.store_used = false;
            self.publisher.close();
        }
    }
}
