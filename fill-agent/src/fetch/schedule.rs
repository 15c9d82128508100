//! The jobs of a plan in their order: so many at once, and those that wait for a source wait aside.
//!
//! ```text
//! ready --> turn --> outcome
//!   ^         |
//!   +- time --+ waiting
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::turn::{End, Tries, Turn};
use super::{Fill, Job, Outcome};

pub(super) struct Schedule {
    fill: Fill,
    outcomes: mpsc::Sender<Outcome>,
    ready: VecDeque<Job>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    active: JoinSet<Option<Waiting>>,
}

/// A job that waits: first the one that is due first, then as planned.
struct Waiting {
    until: Instant,
    what: String,
    job: Job,
    tries: Tries,
}

impl Schedule {
    pub(super) fn new(fill: &Fill, jobs: Vec<Job>, outcomes: mpsc::Sender<Outcome>) -> Self {
        Self {
            fill: fill.clone(),
            outcomes,
            ready: jobs.into(),
            waiting: BinaryHeap::new(),
            active: JoinSet::new(),
        }
    }

    /// Until all jobs have an outcome.
    pub(super) async fn run(&mut self) {
        loop {
            self.start();
            let due = self.waiting.peek().map(|Reverse(first)| first.until);
            let is_full = self.active.len() >= self.fill.parallel;
            tokio::select! {
                Some(ended) = self.active.join_next() => {
                    if let Ok(Some(waiting)) = ended {
                        self.fill.progress.waits(&waiting.what);
                        self.waiting.push(Reverse(waiting));
                    }
                }
                () = sleep_until(due), if due.is_some() && !is_full => {}
                else => return,
            }
        }
    }

    /// Ends all turns where they are. What they have given to a lane stays there until it is done.
    pub(super) async fn stop(mut self) {
        self.active.shutdown().await;
    }

    /// Fills the free places: with what is due, then with what is next.
    fn start(&mut self) {
        while self.active.len() < self.fill.parallel.max(1) {
            let Some((job, tries)) = self.next() else {
                return;
            };
            let (fill, outcomes) = (self.fill.clone(), self.outcomes.clone());
            self.active
                .spawn(async move { turn(fill, outcomes, job, tries).await });
        }
    }

    fn next(&mut self) -> Option<(Job, Tries)> {
        let now = Instant::now();
        if self
            .waiting
            .peek()
            .is_some_and(|Reverse(first)| first.until <= now)
        {
            let Reverse(waiting) = self.waiting.pop()?;
            self.fill.progress.waited(&waiting.what);
            return Some((waiting.job, waiting.tries));
        }
        Some((self.ready.pop_front()?, Tries::default()))
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}

async fn turn(
    fill: Fill,
    outcomes: mpsc::Sender<Outcome>,
    job: Job,
    mut tries: Tries,
) -> Option<Waiting> {
    let transfer = fill.progress.begin(&job);
    let end = Turn::new(&fill, &job, &mut tries, &transfer).run().await;
    let outcome = match end {
        End::Wait { until, what } => {
            return Some(Waiting {
                until,
                what,
                job,
                tries,
            });
        }
        End::Done(content) => Outcome::Fetched { job, content },
        End::Repaired(repaired) => Outcome::Repaired { job, repaired },
        End::GivenUp(failure) => {
            fill.progress.failed(&job, "", &failure);
            Outcome::Failed { job, failure }
        }
    };
    // The publisher may be gone: then what is sealed goes with it.
    let _ = outcomes.send(outcome).await;
    None
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.until.cmp(&other.until)
    }
}
