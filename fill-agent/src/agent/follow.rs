//! What happens beside the loop, and what follows from it: thinking, filling, takedowns, each at most one at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use content_store::catalog::CatalogProblem;
use protocol::manifest::{Manifest, Serial, Tombstones};
use protocol::root::Root;
use tokio_util::sync::CancellationToken;

use super::book::Believed;
use super::contact::{Arrived, Failed};
use super::filling::{self, Done, Ended, Work};
use super::hours::site_offset;
use super::planning::{Planned, Task};
use super::{Agent, orders};
use crate::fetch::Fill;
use crate::guard::{self, Question, Verdict};
use crate::limits::{PLAN_AGAIN, PLAN_AGE};
use crate::planner::{Allowance, Evict};
use crate::publish::{NotDone, Removed};
use crate::source::{Credentials, Settings, Sources};
use crate::state::sealed::Note;
use crate::takedown;
use crate::window::{Decision, Reason};

/// What came of something that ran beside the loop.
pub(super) enum Event {
    Manifest(Result<Arrived<Manifest>, Failed>),
    Tombstones(Result<Arrived<Tombstones>, Failed>),
    Thought(Box<Thought>),
    Filled(Ended),
    TakedownWaits(Option<String>),
    TakenDown(Option<Serial>, Removed, Option<NotDone>),
    Reaped(Option<NotDone>),
    Token(Result<String, String>),
}

/// A plan, and for whom.
pub(super) struct Thought {
    planned: Result<Planned, CatalogProblem>,
    /// As it was signed, if the manifest is not in force yet.
    candidate: Option<Vec<u8>>,
}

/// What runs, and what is due.
pub(super) struct Following {
    is_thinking: bool,
    candidate: Option<(Arc<Believed>, Vec<u8>)>,
    replan_at: Option<Instant>,
    filling: Option<Filling>,
    /// Kept for progress until the next plan.
    pub(super) done: Arc<Done>,
    takedown: Option<tokio::task::AbortHandle>,
    takedown_due: bool,
    is_reaping: bool,
    reap_due: bool,
    /// The store may be open.
    store_used: bool,
    /// What keeps the store or the catalog from being used.
    pub(super) store_problem: Option<NotDone>,
    pub(super) takedown_problem: Option<String>,
    pub(super) plan_problem: Option<String>,
    /// Rounds in a row that ended with failures and without progress.
    pub(super) fruitless: u32,
    pub(super) failed: u64,
    /// The token for sources, as it was read last.
    token: Option<String>,
    is_reading_token: bool,
}

struct Filling {
    cancelled: CancellationToken,
    roots: HashSet<Root>,
    urgent_only: bool,
}

impl Default for Following {
    fn default() -> Self {
        Self {
            is_thinking: false,
            candidate: None,
            replan_at: Some(Instant::now()),
            filling: None,
            done: Arc::default(),
            takedown: None,
            takedown_due: true,
            is_reaping: false,
            reap_due: false,
            store_used: false,
            store_problem: None,
            takedown_problem: None,
            plan_problem: None,
            fruitless: 0,
            failed: 0,
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

    fn is_due(&self) -> bool {
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
            Event::Tombstones(arrived) => {
                if let Some((list, sealed)) = self.tombstones_answered(arrived) {
                    self.bury(*list, sealed).await;
                }
            }
            Event::Thought(thought) => self.thought(*thought).await,
            Event::Filled(ended) => self.filled(ended),
            Event::TakedownWaits(problem) => self.following.takedown_problem = problem,
            Event::TakenDown(serial, removed, reaped) => self.taken_down(serial, removed, reaped),
            Event::Reaped(not_done) => {
                self.following.is_reaping = false;
                self.following.store_problem = not_done;
            }
            Event::Token(read) => {
                self.following.is_reading_token = false;
                match read {
                    Ok(token) => self.following.token = Some(token),
                    Err(problem) => tracing::error!("{problem}"),
                }
            }
        }
    }

    /// A manifest came that is believed, and is newer than what is in force.
    fn consider(&mut self, manifest: Manifest, sealed: Vec<u8>) {
        tracing::info!(serial = %manifest.serial, objects = manifest.objects.len(), "a new manifest");
        let note = Note {
            at: self.clock.seconds(),
            why: String::new(),
        };
        self.following.candidate = Some((Believed::new(manifest, note), sealed));
    }

    async fn bury(&mut self, list: Tombstones, sealed: Vec<u8>) {
        tracing::info!(serial = %list.serial, tombstones = list.tombstones.len(), "takedowns");
        if let Err(problem) = self.book.bury(list, sealed, self.clock.seconds()).await {
            // They are carried out all the same, and asked for again after a restart.
            tracing::error!("{problem}");
        }
        let fetched = self.following.filling.as_ref();
        let hit = fetched.is_some_and(|filling| {
            let mut stones = self.book.tombstones.iter();
            stones.any(|stone| filling.roots.contains(&stone.root))
        });
        if hit {
            self.following.cancel();
        }
        self.following.takedown_due = true;
        self.following.replan();
    }

    /// Starts what is due.
    pub(super) async fn step(&mut self) {
        let decision = self.decision();
        self.ask_control(decision.open);
        self.take_down();
        self.set_rate(&decision);
        self.think(&decision);
        if self
            .following
            .filling
            .as_ref()
            .is_some_and(|filling| !self.may_go_on(&decision, filling))
        {
            self.following.cancel();
        }
        self.fill(&decision).await;
        self.tidy();
    }

    /// Open or not, and why. `once --now` does not look at the hours.
    pub(super) fn decision(&self) -> Decision {
        let manifest = self
            .book
            .in_force
            .as_ref()
            .map(|believed| &believed.manifest);
        let offset = site_offset(&self.config, manifest);
        let mut decision = self.settings.decide(&self.clock, &self.book.intent, offset);
        let now = self.mode == super::Mode::Once { now: true };
        if now && matches!(decision.reason, Reason::Outside | Reason::OverrideClosed) {
            decision.open = true;
            decision.until = None;
            decision.why = "--now".to_owned();
        }
        decision
    }

    fn set_rate(&self, decision: &Decision) {
        let manifest = self
            .book
            .in_force
            .as_ref()
            .map(|believed| &believed.manifest);
        let rate = if decision.open {
            self.settings.rate(manifest)
        } else {
            self.settings
                .urgent_rate(self.config.fill.as_ref(), manifest)
        };
        let rate = rate.unwrap_or(0);
        if self.means.limiter.rate() != rate {
            self.means.limiter.set_rate(rate);
        }
    }

    fn may_go_on(&self, decision: &Decision, filling: &Filling) -> bool {
        let allowed = if filling.urgent_only {
            decision.urgent()
        } else {
            decision.open
        };
        allowed && self.blocked().is_none()
    }

    /// What may be fetched now.
    fn allowance(&self, decision: &Decision) -> Allowance {
        let fill = self.config.fill.as_ref();
        if decision.open || !decision.urgent() {
            return Allowance::All(self.budget(decision));
        }
        let day = fill.map_or(0, |fill| fill.urgent_per_day.bytes());
        Allowance::Urgent(day.saturating_sub(self.book.ledger.urgent_bytes))
    }

    /// Bytes until the window closes.
    fn budget(&self, decision: &Decision) -> u64 {
        let until = decision.until.filter(|_| decision.open);
        let Some(left) = until.map(|until| until.duration_since(self.clock.now)) else {
            return u64::MAX;
        };
        let seconds = u64::try_from(left.as_secs()).unwrap_or(0);
        (self.means.limiter.rate() / 8).saturating_mul(seconds)
    }

    /// Makes a plan, beside the loop: for a new manifest first.
    fn think(&mut self, decision: &Decision) {
        let Some(fill) = self.config.fill.clone() else {
            return;
        };
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
        self.following.is_thinking = true;
        let lanes = self.means.lanes.status();
        let failed = lanes
            .iter()
            .filter(|lane| self.means.lanes.problem(lane.device).is_some());
        let task = Task {
            config: Arc::clone(&self.config),
            fill,
            believed,
            tombstones: Arc::clone(&self.book.tombstones),
            failed: failed.map(|lane| lane.device).collect(),
            allowance: match candidate {
                Some(_) => Allowance::All(u64::MAX),
                None => self.allowance(decision),
            },
            now: self.clock.seconds(),
        };
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || {
            let planned = task.plan();
            let thought = Box::new(Thought { planned, candidate });
            let _ = events.blocking_send(Event::Thought(thought));
        });
    }

    async fn thought(&mut self, thought: Thought) {
        self.following.is_thinking = false;
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
                    self.following.reap_due |= planned.doomed > 0;
                    self.planned = Some(planned);
                }
            }
        }
    }

    /// The shrink guard: in force, or held.
    async fn judge(&mut self, planned: &Arc<Planned>, sealed: Vec<u8>) {
        let new = Arc::clone(&planned.believed);
        let last = self
            .book
            .in_force
            .as_ref()
            .map(|believed| &believed.summary);
        let fill = self.config.fill.as_ref();
        let verdict = guard::judge(&Question {
            last,
            new: &new.summary,
            held_objects: planned.held.objects,
            held_bytes: planned.held.bytes,
            held_wanted_objects: planned.plan.held_wanted.objects,
            evict_bytes: planned.totals().evict_bytes,
            evicted_today_bytes: self.today().evicted_bytes,
            max_evict_per_day: fill.map_or(protocol::units::Percent::of(0), |fill| {
                fill.max_evict_per_day
            }),
        });
        let kept = match verdict {
            Verdict::Hold { why } if !self.book.intent.accepts(new.serial()) => {
                tracing::error!(serial = %new.serial(), "the manifest is held: {why}");
                let held = Believed {
                    manifest: new.manifest.clone(),
                    summary: new.summary.clone(),
                    note: Note {
                        why,
                        ..new.note.clone()
                    },
                };
                self.book.hold(Arc::new(held), sealed).await
            }
            _ => {
                tracing::info!(serial = %new.serial(), "the manifest is in force");
                self.following.cancel();
                self.planned = None;
                self.following.replan();
                self.book.accept(new, sealed).await
            }
        };
        if let Err(problem) = kept {
            tracing::error!("{problem}");
            self.ask_again();
        }
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
        let believed = Arc::new(Believed {
            manifest: held.manifest.clone(),
            summary: held.summary.clone(),
            note,
        });
        self.book.accept(believed, sealed).await?;
        self.following.cancel();
        self.planned = None;
        self.following.replan();
        Ok(())
    }

    /// Does the plan, if there is one and it may.
    async fn fill(&mut self, decision: &Decision) {
        if self.following.is_filling() || self.following.is_thinking || self.following.is_due() {
            return;
        }
        let Some(planned) = self.planned.clone().filter(|_| self.blocked().is_none()) else {
            return;
        };
        let urgent_only = matches!(planned.allowance, Allowance::Urgent(_));
        let may = if urgent_only {
            !decision.open && decision.urgent()
        } else {
            decision.open
        };
        if !may {
            // The window has opened or closed since: another plan is due then.
            if decision.urgent() {
                self.following.replan();
            }
            return;
        }
        if !planned.has_work() || planned.is_started() {
            return;
        }
        let Some(sources) = self.sources(&planned) else {
            return;
        };
        let Some(evict) = self.charge(&planned).await else {
            return;
        };
        planned.start();
        let cancelled = CancellationToken::new();
        self.following.filling = Some(Filling {
            cancelled: cancelled.clone(),
            roots: filling::roots(&planned),
            urgent_only,
        });
        self.following.store_used = true;
        let work = Work {
            config: Arc::clone(&self.config),
            fill: self.fetches(sources),
            planned,
            evict,
            publisher: self.publisher.clone(),
            daemon: self.daemon.clone(),
            counters: Arc::clone(&self.counters),
            done: Arc::clone(&self.following.done),
            cancelled,
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            let ended = work.run().await;
            let _ = events.send(Event::Filled(ended)).await;
        });
    }

    fn fetches(&self, sources: Sources) -> Fill {
        let publisher = self.publisher.clone();
        let fill = self.config.fill.as_ref();
        Fill {
            sources,
            stage: Arc::new(move |tree, tier| publisher.stage(tree, tier)),
            lanes: Arc::clone(&self.means.lanes),
            progress: Arc::clone(&self.means.progress),
            parallel: fill.map_or(1, |fill| usize::from(fill.parallel)),
            peer_patience: fill.map_or(Duration::ZERO, |fill| fill.peer_patience.duration()),
            chance: rand::random,
        }
    }

    /// The sources of the manifest. The token is read first, on a thread that may block.
    fn sources(&mut self, planned: &Planned) -> Option<Sources> {
        let control = self.control.clone()?;
        let Some(token) = self.following.token.take() else {
            if !self.following.is_reading_token {
                self.following.is_reading_token = true;
                let events = self.events.clone();
                tokio::spawn(async move {
                    let read = control.token().await.map_err(|error| error.to_string());
                    let _ = events.send(Event::Token(read)).await;
                });
            }
            return None;
        };
        let settings = Settings {
            appliance: self.config.appliance.id.clone(),
            control_url: control.url().to_owned(),
            token,
            credentials: Credentials::from_env(),
        };
        let sources = Sources::new(
            &planned.believed.manifest.sources,
            &settings,
            &self.means.transport,
            &self.means.limiter,
            self.means.sources.as_ref(),
        );
        self.means.sources = Some(sources.clone());
        Some(sources)
    }

    /// Puts into the ledger what is about to be done; the evictions that the day allows.
    async fn charge(&mut self, planned: &Planned) -> Option<Vec<Evict>> {
        let mut ledger = self.today();
        let accepted = self.book.intent.accepts(planned.believed.serial());
        let fill = self.config.fill.as_ref()?;
        let mut left = match accepted {
            true => u64::MAX,
            false => guard::evictable_today(
                planned.held.bytes,
                ledger.evicted_bytes,
                fill.max_evict_per_day,
            ),
        };
        let allowed = planned.plan.evict.iter().take_while(|evict| {
            let fits = evict.size <= left;
            left = left.saturating_sub(evict.size);
            fits
        });
        let evict: Vec<Evict> = allowed.copied().collect();
        ledger.evicted_bytes += evict.iter().map(|evict| evict.size).sum::<u64>();
        if matches!(planned.allowance, Allowance::Urgent(_)) {
            ledger.urgent_bytes += planned.totals().fetch_bytes;
        }
        if ledger != self.book.ledger
            && let Err(problem) = self.book.charge(ledger).await
        {
            tracing::error!("nothing is evicted: {problem}");
            self.following.replan_at = Some(Instant::now() + PLAN_AGAIN);
            return None;
        }
        Some(evict)
    }

    /// The ledger of this civil day.
    fn today(&self) -> crate::state::Ledger {
        let mut ledger = self.book.ledger.clone();
        ledger.turn_to(&self.settings.day(self.clock.now));
        ledger
    }

    fn filled(&mut self, ended: Ended) {
        self.following.filling = None;
        self.following.failed = ended.failed;
        self.following.store_problem = ended.not_done;
        let is_clean = ended.failed == 0 && self.following.store_problem.is_none();
        let again = match ended.progressed {
            true => Duration::ZERO,
            false => PLAN_AGAIN,
        };
        self.following.fruitless = match ended.progressed {
            true => 0,
            false => self.following.fruitless + 1,
        };
        self.counters.filled(is_clean, self.clock.seconds());
        self.following.replan_at = Some(Instant::now() + again);
    }

    /// Takedowns do not wait for anything but the one before.
    fn take_down(&mut self) {
        if !self.following.takedown_due || self.following.is_filling_what_is_taken_down() {
            return;
        }
        self.following.takedown_due = false;
        if let Some(before) = self.following.takedown.take() {
            before.abort();
        }
        if self.book.tombstones.is_empty() && self.book.seen.tombstones.is_none() {
            return;
        }
        self.following.store_used = true;
        let (publisher, daemon) = (self.publisher.clone(), self.daemon.clone());
        let (stones, events) = (Arc::clone(&self.book.tombstones), self.events.clone());
        let serial = self.book.seen.tombstones;
        let task = tokio::spawn(async move {
            let tell = events.clone();
            let removed = takedown::carry_out(&publisher, &daemon, &stones, |problem| {
                let _ = tell.try_send(Event::TakedownWaits(problem));
            })
            .await;
            let reaped = match removed.generation {
                Some(_) => filling::reap(&publisher, &daemon).await.err(),
                None => None,
            };
            let _ = events.send(Event::TakenDown(serial, removed, reaped)).await;
        });
        self.following.takedown = Some(task.abort_handle());
    }

    fn taken_down(&mut self, serial: Option<Serial>, removed: Removed, reaped: Option<NotDone>) {
        self.following.takedown = None;
        self.following.takedown_problem = None;
        self.counters.applied(serial);
        self.counters
            .taken_down_paths
            .fetch_add(removed.paths, Relaxed);
        if removed.paths > 0 {
            tracing::info!(paths = removed.paths, "taken down");
            self.following.replan();
        }
        if let Some(not_done) = reaped {
            tracing::warn!("what was taken down is unreachable, and not unlinked yet: {not_done}");
            self.following.reap_due = true;
        }
    }

    /// Unlinks what was left over, and lets go of the store when nothing is written.
    fn tidy(&mut self) {
        let following = &mut self.following;
        let is_writing = following.filling.is_some() || following.takedown.is_some();
        if is_writing || following.is_reaping {
            return;
        }
        if following.reap_due && self.book.intent.pause.is_none() {
            following.reap_due = false;
            following.is_reaping = true;
            following.store_used = true;
            let (publisher, daemon) = (self.publisher.clone(), self.daemon.clone());
            let events = self.events.clone();
            tokio::spawn(async move {
                let not_done = filling::reap(&publisher, &daemon).await.err();
                let _ = events.send(Event::Reaped(not_done)).await;
            });
        } else if following.store_used {
            following.store_used = false;
            self.publisher.close();
        }
    }
}

impl Following {
    /// A fetch of what is taken down is given up before the paths are taken away, so that it cannot come after.
    fn is_filling_what_is_taken_down(&self) -> bool {
        let filling = self.filling.as_ref();
        filling.is_some_and(|filling| filling.cancelled.is_cancelled())
    }
}
