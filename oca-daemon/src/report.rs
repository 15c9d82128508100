//! What the appliance tells the control endpoint every few seconds: how it is, what it holds, what viewers got and missed.
//!
//! [`Demand`], the index and the [`Standing`](crate::control::Standing) -> [`document`] -> [`endpoint`] -> [`ReportStatus`],
//! which the admin port and health read. A thread of its own: an inventory of a million objects takes a while to write, and the
//! endpoint may be slow, dead or lying.
//!
//! Nothing here changes what is served. What was served and missed is told until it was answered, at least once; what is held is
//! told as changes since the last answer, or all if the endpoint says that it knows something else.

pub mod document;
pub mod endpoint;
pub mod inventory;
pub mod lease;
pub mod neighbours;
pub mod routes;
pub mod tally;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::config::Control;
use protocol::control::{Answer, Report};
use protocol::limits::REPORTS_MISSED;
use tokio::time::{sleep, timeout};
use trust::Fault;

use crate::admin::Admin;
use crate::admin::observation::Observation;
use crate::demand::Demand;
use crate::limits::{REPORT_PAUSE_MAX, REPORT_PAUSE_MIN, REPORT_RETRY_MAX, STOP_TICK, TALLY_EVERY};
use crate::shared::Shared;
use document::Document;
use endpoint::{Endpoint, Failure};
use inventory::InventoryBook;
use neighbours::Neighbours;
use routes::RouteBook;
use tally::Tally;

/// What came of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// Nobody answered in time.
    Unreachable,
    /// One side does not believe the other.
    Tls(Fault),
    /// It was answered with an error.
    Refused,
    /// The answer was not one.
    Malformed,
}

impl Outcome {
    /// All, for metrics.
    pub const ALL: [Self; 10] = [
        Self::Answered,
        Self::Unreachable,
        Self::Refused,
        Self::Malformed,
        Self::Tls(Fault::Authority),
        Self::Tls(Fault::Name),
        Self::Tls(Fault::Expired),
        Self::Tls(Fault::ClientRefused),
        Self::Tls(Fault::NotTls),
        Self::Tls(Fault::Other),
    ];

    /// The word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unreachable => "unreachable",
            Self::Tls(fault) => fault.word(),
            Self::Refused => "refused",
            Self::Malformed => "malformed",
        }
    }
}

/// How reporting goes; read by the admin port and by health.
#[derive(Clone, Debug)]
pub struct ReportStatus {
    /// Where reports go.
    pub url: String,
    /// The time between two of them, as configured or as the endpoint wants it.
    pub interval: Duration,
    /// When the last one was sent.
    pub tried: Option<Instant>,
    /// When one was last answered.
    pub answered: Option<Instant>,
    /// What was wrong with the last one.
    pub problem: Option<String>,
    /// Reports since start, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Of them, with the whole inventory.
    pub full: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// The state of the inventory.
    pub revision: u64,
    /// Bytes that viewers got and that were forgotten, because too many objects waited for an answer.
    pub forgotten_bytes: u64,
}

impl ReportStatus {
    /// Before the first report.
    #[must_use]
    pub fn new(control: &Control) -> Self {
        Self {
            url: control.url.clone(),
            interval: control.report_interval.duration(),
            tried: None,
            answered: None,
            problem: None,
            outcomes: [0; Outcome::ALL.len()],
            full: 0,
            body_bytes: 0,
            revision: 0,
            forgotten_bytes: 0,
        }
    }

    /// Whether the endpoint has been silent for some reports, for a process that began at `started`.
    #[must_use]
    pub fn is_overdue(&self, now: Instant, started: Instant) -> bool {
        self.silence(now, started) > self.interval * REPORTS_MISSED
    }

    /// For how long no report was answered.
    #[must_use]
    pub fn silence(&self, now: Instant, started: Instant) -> Duration {
        let since = self.answered.unwrap_or(started);
        now.saturating_duration_since(since)
    }
}

/// Sends the reports.
pub struct Reporter {
    admin: Arc<Admin>,
    endpoint: Endpoint,
    document: Document,
    inventory: InventoryBook,
    routes: RouteBook,
    neighbours: Neighbours,
    tally: Tally,
    status: ReportStatus,
    configured: Duration,
    failures: u32,
}

impl Reporter {
    /// `None` if there is no control endpoint.
    #[must_use]
    pub fn new(admin: Arc<Admin>) -> Option<Self> {
        let config = admin.shared.config.load_full();
        let control = config.control.as_ref()?;
        Some(Self {
            endpoint: Endpoint::new(control, &config.appliance.id),
            document: Document::new(&Observation::of(&admin.shared)),
            inventory: InventoryBook::default(),
            routes: RouteBook::default(),
            neighbours: Neighbours::default(),
            tally: Tally::default(),
            status: ReportStatus::new(control),
            configured: control.report_interval.duration(),
            failures: 0,
            admin,
        })
    }

    /// Reports until the daemon stops.
    pub fn run(mut self) {
        let shared = Arc::clone(&self.admin.shared);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => {
                runtime.block_on(async {
                    tokio::spawn(self.neighbours.clone().try_for_ever());
                    tokio::select! {
                        () = self.report_for_ever() => {}
                        () = stop(&shared) => {}
                    }
                });
                // A look-up of the endpoint's name may hang; nobody waits for it.
                runtime.shutdown_background();
            }
            Err(error) => tracing::error!(%error, "no reports are sent"),
        }
    }

    async fn report_for_ever(&mut self) {
        // All boxes of a site may have started together.
        let mut pause = self.configured.mul_f64(rand::random());
        tallying(&mut self.tally, &self.admin.shared, sleep(pause)).await;
        loop {
            pause = self.report().await;
            self.publish();
            let shared = &self.admin.shared;
            // Whoever is sent viewers or not by the state hears of a change at once.
            let due = timeout(pause, shared.news.notified());
            let _ = tallying(&mut self.tally, shared, due).await;
        }
    }

    /// One report. Returns how long to wait for the next one.
    async fn report(&mut self) -> Duration {
        let shared = Arc::clone(&self.admin.shared);
        self.inventory.look(&shared);
        let routes = self.routes.look(&shared);
        tallying(&mut self.tally, &shared, routes).await;
        let local = self.endpoint.local_address();
        let local = tallying(&mut self.tally, &shared, local).await;
        let mut report = self
            .document
            .write(&self.admin, &self.inventory, &self.tally, local);
        report.routes = self.routes.heard();
        report.reached = self.neighbours.told();
        let body = endpoint::Body::of(&report);
        self.status.tried = Some(Instant::now());
        self.status.body_bytes += body.len() as u64;
        self.status.full += u64::from(report.inventory.since.is_none());
        let post = self.endpoint.post(body);
        match tallying(&mut self.tally, &shared, post).await {
            Ok(answer) => {
                if answer.routes_wanted {
                    self.tell_routes(&shared).await;
                }
                self.answered(&report, &answer)
            }
            Err(failure) => self.failed(&failure),
        }
    }

    /// What goes wrong is tried again with the next report.
    async fn tell_routes(&mut self, shared: &Shared) {
        let telling = self.endpoint.tell_routes(self.routes.table());
        if let Err(failure) = tallying(&mut self.tally, shared, telling).await {
            tracing::warn!(url = self.status.url, "routes were not taken: {failure}");
        }
    }

    fn answered(&mut self, report: &Report, answer: &Answer) -> Duration {
        self.tally.answered(&report.served, &report.misses);
        let known =
            self.inventory
                .answered(report.inventory.revision, answer.known, report.started);
        self.neighbours.are(&answer.neighbours);
        self.count(Outcome::Answered);
        self.status.answered = Some(Instant::now());
        if self.status.problem.take().is_some() {
            tracing::info!(url = self.status.url, "reports are answered again");
        }
        self.status.interval = match answer.next_s {
            0 => self.configured,
            seconds => {
                Duration::from_secs(u64::from(seconds)).clamp(REPORT_PAUSE_MIN, REPORT_PAUSE_MAX)
            }
        };
        // An endpoint that cannot keep an inventory is not sent all of it every few seconds.
        let forgets = report.inventory.since.is_none() && !known;
        self.failures = if forgets { self.failures + 1 } else { 0 };
        backed_off(self.status.interval, self.failures)
    }

    fn failed(&mut self, failure: &Failure) -> Duration {
        self.count(failure.outcome());
        self.endpoint.forget_local_address();
        let problem = failure.to_string();
        if self.status.problem.as_ref() != Some(&problem) {
            tracing::warn!(url = self.status.url, "no answer to a report: {problem}");
        }
        self.status.problem = Some(problem);
        self.failures += 1;
        backed_off(self.configured, self.failures)
            .max(failure.retry_after().unwrap_or_default())
            .min(REPORT_PAUSE_MAX)
    }

    fn count(&mut self, outcome: Outcome) {
        let at = Outcome::ALL.iter().position(|each| *each == outcome);
        self.status.outcomes[at.expect("it is one of all")] += 1;
    }

    fn publish(&mut self) {
        self.status.revision = self.inventory.revision();
        self.status.forgotten_bytes = self.tally.forgotten_bytes();
        let status = Arc::new(self.status.clone());
        self.admin.shared.report.store(Some(status));
    }
}

/// The pause after so many failures in a row: doubled each time, and spread.
fn backed_off(interval: Duration, failures: u32) -> Duration {
    let longest = REPORT_RETRY_MAX.max(interval);
    let pause = interval.saturating_mul(1 << failures.saturating_sub(1).min(8));
    pause.min(longest).mul_f64(rand::random_range(0.9..1.1))
}

/// Does `work`, and every now and then takes note of what the workers noted: their queues are short.
async fn tallying<T>(tally: &mut Tally, shared: &Shared, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        if let Some(demand) = &shared.demand {
            take(tally, demand);
        }
        if let Ok(done) = timeout(TALLY_EVERY, &mut work).await {
            return done;
        }
    }
}

fn take(tally: &mut Tally, demand: &Demand) {
    demand.take_served(|object, bytes| tally.served(object, bytes));
    demand.take_missed(|path| tally.missed(path));
}

async fn stop(shared: &Shared) {
    while !shared.is_stopping() {
        sleep(STOP_TICK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_make_the_pauses_longer_up_to_a_bound() {
        let second = Duration::from_secs(1);
        for (failures, least, most) in [(0, 0.9, 1.1), (1, 0.9, 1.1), (2, 1.8, 2.2), (4, 7.2, 8.8)]
        {
            let pause = backed_off(second, failures).as_secs_f64();
            assert!((least..=most).contains(&pause), "{failures}: {pause}");
        }
        assert!(backed_off(second, u32::MAX) <= REPORT_RETRY_MAX.mul_f64(1.1));
        let rare = Duration::from_secs(600);
        assert!(
            backed_off(rare, 5) >= rare.mul_f64(0.9),
            "never more often than asked"
        );
    }

    #[test]
    fn silence_counts_from_the_last_answer_or_from_the_start() {
        let control = Control {
            url: "http://c.example/".to_owned(),
            ca: None,
            client: None,
            keys: Vec::new(),
            token_file: None,
            report_interval: protocol::units::Interval::from_seconds(5),
            strict: None,
        };
        let mut status = ReportStatus::new(&control);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!status.is_overdue(after(15), start));
        assert!(status.is_overdue(after(16), start));
        status.answered = Some(after(10));
        assert!(!status.is_overdue(after(25), start));
        assert!(status.is_overdue(after(26), start));
    }
}
