//! Manifests on their way into force: believed, planned with, then judged by the shrink guard.

use std::sync::Arc;
use std::time::Instant;

use content_store::StoreError;
use protocol::manifest::{Manifest, Serial};
use protocol::units::Percent;

use super::book::Believed;
use super::follow::Event;
use super::planning::{Planned, Task};
use super::{Agent, orders};
use crate::guard::{self, Question, Verdict};
use crate::limits::{PLAN_AGAIN, PLAN_AGE};
use crate::planner::{Allowance, Amount};
use crate::state::StateProblem;
use crate::state::sealed::Note;
use crate::window::Decision;

/// A plan, and for whom.
pub(super) struct Thought {
    planned: Result<Planned, StoreError>,
    /// As it was signed, if the manifest is not in force yet.
    candidate: Option<Vec<u8>>,
}

impl Agent {
    /// The newest manifest that is here, judged or not.
    pub(super) fn newest(&self) -> Option<Serial> {
        self.book.known().max(self.following.unjudged)
    }

    /// A manifest came that is believed. It was asked for when perhaps less was here than is now.
    pub(super) fn consider(&mut self, manifest: Manifest, sealed: Vec<u8>) {
        if Some(manifest.serial) <= self.newest() {
            return;
        }
        tracing::info!(serial = %manifest.serial, objects = manifest.objects.len(), "a new manifest");
        let note = Note {
            at: self.clock.seconds(),
            why: String::new(),
        };
        self.following.unjudged = Some(manifest.serial);
        self.following.candidate = Some((Believed::new(manifest, note), sealed));
    }

    /// Makes a plan, beside the loop: for a new manifest first.
    pub(super) fn think(&mut self, decision: &Decision) {
        if self.following.is_thinking {
            return;
        }
        let (believed, candidate) = match self.following.candidate.take() {
            Some((believed, sealed)) => (believed, Some(sealed)),
            None if self.following.is_due() && !self.following.is_filling() => {
                let Some(in_force) = self.book.in_force.clone() else {
                    return;
                };
                self.following.replan_at = Some(Instant::now() + PLAN_AGE);
                (in_force, None)
            }
            None => return,
        };
        let allowance = match candidate {
            Some(_) => Allowance::All(u64::MAX),
            None => self.allowance(decision),
        };
        let Some(task) = self.task(believed, allowance) else {
            return;
        };
        self.following.is_thinking = true;
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || {
            let planned = task.plan();
            let thought = Box::new(Thought { planned, candidate });
            let _ = events.blocking_send(Event::Thought(thought));
        });
    }

    /// What a plan is made from; `None` without `[fill]`.
    fn task(&self, believed: Arc<Believed>, allowance: Allowance) -> Option<Task> {
        let lanes = self.means.lanes.status();
        let failed = lanes
            .iter()
            .filter(|lane| self.means.lanes.problem(lane.device).is_some());
        Some(Task {
            config: Arc::clone(&self.config),
            fill: self.config.fill.clone()?,
            believed,
            tombstones: Arc::clone(&self.book.tombstones),
            failed: failed.map(|lane| lane.device).collect(),
            allowance,
            now: self.clock.seconds(),
        })
    }

    pub(super) async fn thought(&mut self, thought: Thought) {
        self.following.is_thinking = false;
        if thought.candidate.is_some() && self.following.candidate.is_none() {
            self.following.unjudged = None;
        }
        let planned = match thought.planned {
            Ok(planned) => Arc::new(planned),
            Err(problem) => {
                self.following.plan_problem = Some(problem.to_string());
                self.following.replan_at = Some(Instant::now() + PLAN_AGAIN);
                self.ask_again();
                return;
            }
        };
        self.following.plan_problem = None;
        match thought.candidate {
            Some(sealed) => self.judge(&planned, sealed).await,
            None => {
                let in_force = self.book.in_force.as_ref();
                if in_force.is_some_and(|in_force| Arc::ptr_eq(in_force, &planned.believed)) {
                    self.following.done = Arc::default();
                    self.following.waiting_evictions = Amount::default();
                    self.following.reap_due |= planned.doomed > 0;
                    self.following.looked.clear();
                    self.planned = Some(planned);
                }
            }
        }
    }

    /// The shrink guard: in force, or held.
    async fn judge(&mut self, planned: &Planned, sealed: Vec<u8>) {
        let new = &planned.believed;
        let serial = new.serial();
        let kept = match self.verdict(planned) {
            Verdict::Hold { why } if !self.book.intent.accepts(serial) => {
                tracing::error!(%serial, "the manifest is held: {why}");
                let held = new.noted(Note { why, ..new.note });
                self.book.hold(held, sealed).await
            }
            _ => {
                tracing::info!(%serial, "the manifest is in force");
                self.put_in_force(Arc::clone(new), sealed).await
            }
        };
        if let Err(problem) = kept {
            tracing::error!("{problem}");
            self.ask_again();
        }
    }

    fn verdict(&self, planned: &Planned) -> Verdict {
        let last = self.book.in_force.as_ref();
        let fill = self.config.fill.as_ref();
        guard::judge(&Question {
            last: last.map(|believed| &believed.summary),
            new: &planned.believed.summary,
            held_objects: planned.held.objects,
            held_bytes: planned.held.bytes,
            held_wanted_objects: planned.plan.held_wanted.objects,
            evict_bytes: planned.totals().evict_bytes,
            evicted_today_bytes: self.today().evicted_bytes,
            max_evict_per_day: fill.map_or(Percent::of(0), |fill| fill.max_evict_per_day),
        })
    }

    /// Lets the held manifest through.
    pub(super) async fn let_through(&mut self) -> Result<(), orders::Refused> {
        let Some(held) = self.book.held.clone() else {
            return Ok(());
        };
        let sealed = self.book.held_bytes().await?;
        let note = Note {
            at: self.clock.seconds(),
            why: String::new(),
        };
        Ok(self.put_in_force(held.noted(note), sealed).await?)
    }

    /// What was planned for the one before is given up, once the new one is on the disk.
    async fn put_in_force(
        &mut self,
        believed: Arc<Believed>,
        sealed: Vec<u8>,
    ) -> Result<(), StateProblem> {
        self.book.accept(believed, sealed).await?;
        self.following.cancel();
        self.planned = None;
        self.following.replan();
        Ok(())
    }
}
