//! Starting to do a plan, and what is made of its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Agent;
use super::allowed::Part;
use super::filling::{self, Ended, Work};
use super::follow::{Event, Filling, Reserved};
use super::planning::Planned;
use crate::fetch::Fill;
use crate::limits::{LOCK_AGAIN, PLAN_AGAIN};
use crate::planner::Allowance;
use crate::source::{Credentials, Settings, Sources};
use crate::window::Decision;

impl Agent {
    /// Does the plan, if there is one and it may.
    pub(super) async fn fill(&mut self, decision: &Decision) {
        if self.following.is_filling() || self.following.is_thinking || self.following.is_due() {
            return;
        }
        let Some(planned) = self.planned.clone().filter(|_| self.blocked().is_none()) else {
            return;
        };
        if !self.may_begin(&planned, decision) {
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
        let Some(part) = self.charge(&planned).await else {
            return;
        };
        if part.is_nothing(&planned.plan) && planned.repairs().is_empty() {
            planned.start();
            self.following.fruitless += 1;
            return;
        }
        self.begin(planned, sources, part);
    }

    /// Whether it was made for a window as it is now.
    pub(super) fn may_begin(&self, planned: &Planned, decision: &Decision) -> bool {
        match planned.allowance {
            Allowance::Urgent(_) => !decision.open && decision.urgent(),
            Allowance::All(_) => decision.open,
        }
    }

    fn begin(&mut self, planned: Arc<Planned>, sources: Sources, part: Part) {
        planned.start();
        let cancelled = CancellationToken::new();
        self.following.filling = Some(Filling {
            cancelled: cancelled.clone(),
            roots: filling::roots(&planned),
            urgent: matches!(planned.allowance, Allowance::Urgent(_)).then(|| Reserved {
                bytes: planned.totals().fetch_bytes,
                came: self.came(),
            }),
        });
        self.following.store_used = true;
        let work = Work {
            config: Arc::clone(&self.config),
            fill: self.fetches(sources),
            limiter: Arc::clone(&self.means.limiter),
            planned,
            part,
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
        let (publisher, repairing) = (self.publisher.clone(), self.publisher.clone());
        let fill = self.config.fill.as_ref();
        Fill {
            sources,
            stage: Arc::new(move |tree, tier| publisher.stage(tree, tier)),
            repair: Arc::new(move |object, placed, tree| repairing.repair(object, placed, tree)),
            lanes: Arc::clone(&self.means.lanes),
            progress: Arc::clone(&self.means.progress),
            parallel: fill.map_or(1, |fill| usize::from(fill.parallel)),
            peer_patience: fill.map_or(Duration::ZERO, |fill| fill.peer_patience.duration()),
            chance: rand::random,
        }
    }

    /// The sources of the manifest. The token is read first, on a thread that may block.
    fn sources(&mut self, planned: &Planned) -> Option<Sources> {
        let control = self.control.as_ref()?;
        let control_url = control.url().to_owned();
        let Some(token) = self.following.token.take() else {
            self.read_token();
            return None;
        };
        let settings = Settings {
            appliance: self.config.appliance.id.clone(),
            control_url,
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

    fn read_token(&mut self) {
        let Some(control) = self.control.clone() else {
            return;
        };
        if std::mem::replace(&mut self.following.is_reading_token, true) {
            return;
        }
        let events = self.events.clone();
        tokio::spawn(async move {
            let read = control.token().await.map_err(|error| error.to_string());
            let _ = events.send(Event::Token(read)).await;
        });
    }

    pub(super) async fn filled(&mut self, ended: Ended) {
        let Some(filling) = self.following.filling.take() else {
            return;
        };
        if let Some(reserved) = filling.urgent {
            self.settle(reserved).await;
        }
        self.following.failed = ended.failed;
        self.following.store_problem = ended.not_done;
        let is_clean = ended.failed == 0 && self.following.store_problem.is_none();
        let locked_out = self.following.store_problem.as_ref();
        let locked_out = locked_out.is_some_and(|problem| problem.is_locked);
        let goes_on = ended.progressed || (filling.cancelled.is_cancelled() && !locked_out);
        let again = match goes_on {
            true => Duration::ZERO,
            false if locked_out => LOCK_AGAIN,
            false => PLAN_AGAIN,
        };
        self.following.fruitless = match goes_on {
            true => 0,
            false => self.following.fruitless + 1,
        };
        self.counters.filled(is_clean, self.clock.seconds());
        self.following.replan_at = Some(Instant::now() + again);
    }
}
