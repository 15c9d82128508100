//! Looks after the workers: for one that is stuck another one accepts, and a box on which most are stuck for long is given up, so that
//! whoever started it starts it anew. The service manager hears that all is well only while at most half are stuck.

use std::time::{Duration, Instant};

use super::{Control, notify};
use crate::admin::observation::Observation;
use crate::limits::CONTROL_TICK;

/// What is known of the workers from one look to the next.
#[derive(Debug)]
pub(super) struct Lookout {
    stuck: Vec<bool>,
    looked: Instant,
    /// For how long more than half of them have been stuck.
    most_stuck: Duration,
    /// For how long they may be.
    patience: Duration,
}

/// What becomes of the process.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Well,
    MostStuck,
    GivenUp,
}

impl Lookout {
    pub(super) fn new(workers: usize, patience: Duration) -> Self {
        Self {
            stuck: vec![false; workers],
            looked: Instant::now(),
            most_stuck: Duration::ZERO,
            patience,
        }
    }

    /// Time in which nobody looked counts for little: the whole machine may have slept, and workers have had no time to turn since.
    fn judge(&mut self, now: Instant) -> Verdict {
        let since = now.saturating_duration_since(self.looked);
        self.looked = now;
        let stuck = self.stuck.iter().filter(|is_stuck| **is_stuck).count();
        if stuck * 2 <= self.stuck.len() {
            self.most_stuck = Duration::ZERO;
            return Verdict::Well;
        }
        self.most_stuck += since.min(CONTROL_TICK * 2);
        if self.most_stuck < self.patience {
            Verdict::MostStuck
        } else {
            Verdict::GivenUp
        }
    }
}

impl Control {
    pub(super) fn look_after_workers(&mut self, observed: &Observation) {
        let workers = observed.workers.iter();
        let stuck: Vec<bool> = workers.map(|worker| observed.is_stuck(worker)).collect();
        if self.shared.relief.assign(&stuck) {
            self.shared.wake_workers();
        }
        let before = std::mem::replace(&mut self.lookout.stuck, stuck);
        self.log_changes(&before);
        match self.lookout.judge(observed.now) {
            // The one that accepts tells of itself.
            Verdict::Well if self.has_parted => {}
            Verdict::Well => notify::watchdog(),
            Verdict::MostStuck => {}
            Verdict::GivenUp => {
                let seconds = self.lookout.patience.as_secs();
                tracing::error!(
                    seconds,
                    "more than half of the workers are stuck: the daemon gives up"
                );
                std::process::abort()
            }
        }
    }

    fn log_changes(&self, before: &[bool]) {
        for (worker, (was, is)) in before.iter().zip(&self.lookout.stuck).enumerate() {
            let reliever = self.shared.relief.reliever(worker);
            match (was, is) {
                (false, true) => tracing::error!(worker, reliever, "a worker is stuck"),
                (true, false) => tracing::info!(worker, "the worker goes on"),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    fn lookout(stuck: &[bool]) -> Lookout {
        Lookout {
            stuck: stuck.to_vec(),
            ..Lookout::new(stuck.len(), PATIENCE)
        }
    }

    /// For how many looks, one a second, it is not given up; none if it never is.
    fn looks(lookout: &mut Lookout) -> Option<usize> {
        let begun = lookout.looked;
        (1..100).find(|second| {
            let verdict = lookout.judge(begun + SECOND * *second as u32);
            verdict == Verdict::GivenUp
        })
    }

    #[test]
    fn a_box_is_given_up_when_more_than_half_of_its_workers_are_stuck_for_long() {
        let table: [(&[bool], Option<usize>); 5] = [
            (&[false], None),
            (&[true], Some(30)),
            (&[true, false], None),
            (&[true, true, false], Some(30)),
            (&[true, true, false, false], None),
        ];
        for (stuck, expected) in table {
            assert_eq!(looks(&mut lookout(stuck)), expected, "{stuck:?}");
        }
    }

    #[test]
    fn one_that_goes_on_is_time_won() {
        let mut lookout = lookout(&[true, true]);
        let begun = lookout.looked;
        assert_eq!(lookout.judge(begun + SECOND), Verdict::MostStuck);
        lookout.stuck[0] = false;
        assert_eq!(lookout.judge(begun + SECOND * 2), Verdict::Well);
        lookout.stuck[0] = true;
        assert_eq!(looks(&mut lookout), Some(30));
    }

    #[test]
    fn a_machine_that_slept_is_not_given_up() {
        let mut lookout = lookout(&[true]);
        let begun = lookout.looked;
        assert_eq!(lookout.judge(begun + PATIENCE * 100), Verdict::MostStuck);
    }
}
