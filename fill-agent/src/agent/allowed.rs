//! What may be done now, how fast, and how much of it today.

use std::time::Instant;

use super::follow::Filling;
use super::hours::site_offset;
use super::planning::Planned;
use super::{Agent, Mode};
use crate::guard;
use crate::limits::PLAN_AGAIN;
use crate::planner::{Allowance, Evict};
use crate::state::Ledger;
use crate::window::{Decision, Reason};

impl Agent {
    /// Open or not, and why. `once --now` does not look at the hours.
    pub(super) fn decision(&self) -> Decision {
        let manifest = self
            .book
            .in_force
            .as_ref()
            .map(|believed| &believed.manifest);
        let offset = site_offset(&self.config, manifest);
        let mut decision = self.settings.decide(&self.clock, &self.book.intent, offset);
        let now = self.mode == Mode::Once { now: true };
        if now && matches!(decision.reason, Reason::Outside | Reason::OverrideClosed) {
            decision.open = true;
            decision.until = None;
            decision.why = "--now".to_owned();
        }
        decision
    }

    pub(super) fn set_rate(&self, decision: &Decision) {
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

    pub(super) fn may_go_on(&self, decision: &Decision, filling: &Filling) -> bool {
        let allowed = if filling.urgent_only {
            decision.urgent()
        } else {
            decision.open
        };
        allowed && self.blocked().is_none()
    }

    /// What may be fetched now.
    pub(super) fn allowance(&self, decision: &Decision) -> Allowance {
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

    /// Puts into the ledger what is about to be done; the evictions that the day allows.
    pub(super) async fn charge(&mut self, planned: &Planned) -> Option<Vec<Evict>> {
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
    pub(super) fn today(&self) -> Ledger {
        let mut ledger = self.book.ledger.clone();
        ledger.turn_to(&self.settings.day(self.clock.now));
        ledger
    }
}
