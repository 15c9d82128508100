//! What may be done now, how fast, and how much of it today.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use protocol::root::Root;

use super::follow::{Filling, Reserved};
use super::hours::site_offset;
use super::planning::Planned;
use super::{Agent, Mode};
use crate::guard;
use crate::limits::PLAN_AGAIN;
use crate::planner::{Allowance, Amount, Evict, Plan};
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
        let allowed = if filling.urgent.is_some() {
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
        Allowance::Urgent(day.saturating_sub(self.today().urgent_bytes))
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

    /// Puts into the ledger what is about to be done; the part of the plan that the day allows.
    pub(super) async fn charge(&mut self, planned: &Planned) -> Option<Part> {
        let mut ledger = self.today();
        let accepted = self.book.intent.accepts(planned.believed.serial());
        let share = self.config.fill.as_ref()?.max_evict_per_day;
        let left = match accepted {
            true => u64::MAX,
            false => guard::evictable_today(planned.held.bytes, ledger.evicted_bytes, share),
        };
        let part = Part::of(&planned.plan, left);
        self.following.waiting_evictions = part.waiting_evictions;
        ledger.evicted_bytes += part.evict.iter().map(|evict| evict.size).sum::<u64>();
        if matches!(planned.allowance, Allowance::Urgent(_)) {
            ledger.urgent_bytes += planned.totals().fetch_bytes;
        }
        if let Err(problem) = self.book.charge(ledger).await {
            tracing::error!("nothing is evicted or fetched: {problem}");
            self.following.replan_at = Some(Instant::now() + PLAN_AGAIN);
            return None;
        }
        Some(part)
    }

    /// Takes back from the ledger what was reserved for urgent objects and has not come.
    pub(super) async fn settle(&mut self, reserved: Reserved) {
        let came = self.came().saturating_sub(reserved.came);
        let mut ledger = self.today();
        let back = reserved.bytes.saturating_sub(came);
        ledger.urgent_bytes = ledger.urgent_bytes.saturating_sub(back);
        if let Err(problem) = self.book.charge(ledger).await {
            tracing::error!("too much is counted as urgent today: {problem}");
        }
    }

    /// Bytes that came from all sources.
    pub(super) fn came(&self) -> u64 {
        let sources = self.means.sources.iter().flat_map(|sources| sources.all());
        sources.map(|source| source.counts().bytes()).sum()
    }

    /// The ledger of this civil day.
    pub(super) fn today(&self) -> Ledger {
        let mut ledger = self.book.ledger.clone();
        ledger.turn_to(&self.settings.day(self.clock.now));
        ledger
    }
}

/// The part of a plan that a day allows.
pub(super) struct Part {
    pub(super) evict: Vec<Evict>,
    /// Fetches that wait, because the room for them is not made today.
    pub(super) waiting_fetches: HashSet<Root>,
    waiting_evictions: Amount,
}

impl Part {
    /// With evictions of `left` bytes at most. The last fetches of a tier wait for the others.
    fn of(plan: &Plan, mut left: u64) -> Self {
        let fitting = plan.evict.iter().take_while(|evict| {
            let fits = evict.size <= left;
            left = left.saturating_sub(evict.size);
            fits
        });
        let (evict, waiting) = plan.evict.split_at(fitting.count());
        let mut missing: HashMap<usize, u64> = HashMap::new();
        for evict in waiting {
            *missing.entry(evict.tier).or_default() += evict.size;
        }
        let wait = plan.fetch.iter().rev().filter(|fetch| {
            let missing = missing.entry(fetch.tier).or_default();
            std::mem::replace(missing, missing.saturating_sub(fetch.size)) > 0
        });
        Self {
            waiting_fetches: wait.map(|fetch| fetch.root).collect(),
            waiting_evictions: Plan::amount(waiting.iter().map(|evict| evict.size)),
            evict: evict.to_vec(),
        }
    }

    /// Whether some evictions are left for another day. What follows from them waits as well.
    pub(super) fn evictions_wait(&self) -> bool {
        self.waiting_evictions.objects > 0
    }

    /// Whether it leaves nothing of the plan.
    pub(super) fn is_nothing(&self, plan: &Plan) -> bool {
        let fetches = plan.fetch.len() - self.waiting_fetches.len();
        let copies = plan.moves.len() + plan.duplicates.len() + plan.relief.len();
        let copies = copies > 0 && !self.evictions_wait();
        let goes = !self.evict.is_empty() || !plan.fewer.is_empty();
        !goes && plan.publish.is_empty() && fetches == 0 && !copies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(number: u8) -> Root {
        Root([number; 32])
    }

    /// Tier 0 is to give 30 bytes for 30, tier 1 nothing for 5.
    fn plan() -> Plan {
        let evict = |number| Evict {
            root: root(number),
            size: 10,
            tier: 0,
        };
        let fetch = |number, size, tier| (root(number), size, tier);
        Plan::of_parts(
            (1..4).map(evict).collect(),
            [
                fetch(11, 10, 0),
                fetch(12, 5, 1),
                fetch(13, 10, 0),
                fetch(14, 10, 0),
            ],
        )
    }

    fn waiting(part: &Part) -> Vec<Root> {
        let fetches = plan().fetch.into_iter().map(|fetch| fetch.root);
        let waits = fetches.filter(|root| part.waiting_fetches.contains(root));
        waits.collect()
    }

    #[test]
    fn what_a_day_may_not_evict_holds_back_the_last_fetches_of_that_tier() {
        let part = Part::of(&plan(), 19);
        assert_eq!(part.evict.len(), 1);
        assert_eq!(part.waiting_evictions.bytes, 20);
        assert!(part.evictions_wait() && !part.is_nothing(&plan()));
        // 20 bytes are missing in tier 0; tier 1 needs none.
        assert_eq!(waiting(&part), [root(13), root(14)]);

        let all = Part::of(&plan(), 30);
        assert!(!all.evictions_wait() && waiting(&all).is_empty());

        let none = Part::of(&plan(), 0);
        assert_eq!(waiting(&none), [root(11), root(13), root(14)]);
        assert!(!none.is_nothing(&plan()), "the other tier's goes on");
    }
}
