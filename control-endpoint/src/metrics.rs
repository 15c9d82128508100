//! `oca_control_*`: what is counted here, and what the database says at the time of the scrape.

use std::time::Duration;

use anyhow::Result;
use prometheus::core::Collector;
use prometheus::{Encoder, Gauge, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use protocol::status::State;

use crate::database::reports::Kept;
use crate::database::{Database, now, uint};
use crate::limits::ALIVE_S;
use crate::steer::Shown;

/// Registry and counters.
pub struct Metrics {
    registry: Registry,
    pub(crate) sent: IntCounterVec,
    refusals: IntCounterVec,
    reports: IntCounterVec,
    manifests: IntCounterVec,
    build_seconds: Gauge,
    epochs_raised: IntCounterVec,
    handshakes: IntCounterVec,
    certificates: IntCounterVec,
    steered: IntCounterVec,
    stock: Stock,
}

/// What is set at the time of the scrape.
struct Stock {
    free_fills: IntGaugeVec,
    registered: IntGaugeVec,
    appliances: IntGaugeVec,
    first_end: IntGaugeVec,
    tombstones: IntGaugeVec,
    not_after: IntGaugeVec,
    standing: IntGaugeVec,
    panics: IntGaugeVec,
    routes: IntGaugeVec,
    gaps: IntGaugeVec,
    origin_viewers: IntGaugeVec,
}

/// What the server says at the time of the scrape.
pub(crate) struct Facts {
    pub(crate) free_fills: usize,
    /// Of the certificate; 0 without one.
    pub(crate) not_after: i64,
    pub(crate) steering: Shown,
}

const SENT: [&str; 4] = ["manifest", "tombstones", "tree", "bytes"];
const REFUSALS: [&str; 5] = ["unauthorized", "forbidden", "busy", "changed", "too_few"];
const STEERED: [&str; 4] = ["appliance", "origin", "nowhere", "unknown"];
const OUTCOMES: [&str; 5] = ["new", "same", "refused", "overtaken", "failed"];
const HANDSHAKES: [&str; 6] = [
    "done",
    "failed",
    "client_refused",
    "timed_out",
    "plain",
    "gone",
];
const CERTIFICATES: [&str; 2] = ["read", "refused"];
const REGISTERED: [&str; 4] = ["paths", "objects", "bytes", "broken"];
const STANDING: [&str; 6] = ["well", "held", "leaving", "down", "unreachable", "silent"];
const ROUTES: [&str; 5] = ["used", "default", "bogon", "unregistered", "leak"];
const GAPS: [&str; 2] = ["prefixes", "ipv6"];
const LIVENESS: [&str; 5] = ["alive", "down", "leaving", "silent", "new"];

#[rustfmt::skip]
impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let seconds = Gauge::new("oca_control_build_seconds", "Duration of the last build of all manifests.");
        Self {
            sent: counters(&registry, "oca_control_sent_bytes_total", "Bytes handed to clients, by what they are.", ("what", &SENT)),
            refusals: counters(&registry, "oca_control_refusals_total", "Requests that were refused, by reason.", ("reason", &REFUSALS)),
            reports: counters(&registry, "oca_control_reports_total", "Reports taken.", NO_LABEL),
            manifests: counters(&registry, "oca_control_manifests_total", "Manifests that were to be built, by what became of them.", ("outcome", &OUTCOMES)),
            build_seconds: register(&registry, seconds.expect("the name is a constant")),
            epochs_raised: counters(&registry, "oca_control_epochs_raised_total", "Times an appliance knew a newer serial than this database.", NO_LABEL),
            handshakes: counters(&registry, "oca_control_tls_handshakes_total", "Handshakes of TLS, by how they ended.", ("outcome", &HANDSHAKES)),
            certificates: counters(&registry, "oca_control_tls_reloads_total", "Times the files of [tls] were read again, by what became of them.", ("outcome", &CERTIFICATES)),
            steered: counters(&registry, "oca_control_steer_decisions_total", "Viewers that were steered, by where their first choice is; unknown: nothing is published at the path.", ("to", &STEERED)),
            stock: Stock::new(&registry),
            registry,
        }
    }
}

#[rustfmt::skip]
impl Stock {
    fn new(registry: &Registry) -> Self {
        Self {
            free_fills: gauges(registry, "oca_control_free_fills", "Fills that would be admitted now.", NO_LABEL),
            registered: gauges(registry, "oca_control_registered", "What is registered; broken: objects whose file has changed.", ("what", &REGISTERED)),
            appliances: gauges(registry, "oca_control_appliances", "Registered appliances, by what they reported last. silent: nothing for two minutes, and it had not left; new: nothing yet.", ("liveness", &LIVENESS)),
            first_end: gauges(registry, "oca_control_first_manifest_end_seconds", "When the first manifest ends, since 1970-01-01 UTC; 0: there is none.", NO_LABEL),
            not_after: gauges(registry, "oca_control_tls_cert_not_after_seconds", "When the certificate ends, since 1970-01-01 UTC; 0: there is none.", NO_LABEL),
            standing: gauges(registry, "oca_control_fleet", "Appliances, by how they stand in steering; held: silent, and what they said last holds.", ("standing", &STANDING)),
            panics: gauges(registry, "oca_control_panic", "1: so few appliances are well that steering ignores health.", NO_LABEL),
            routes: gauges(registry, "oca_control_routes", "Prefixes that appliances hear, by whether steering uses them, or why not.", ("use", &ROUTES)),
            gaps: gauges(registry, "oca_control_route_gaps", "Appliances that do not hear what they should: prefixes that others of their cluster hear, or any of IPv6.", ("lacks", &GAPS)),
            origin_viewers: gauges(registry, "oca_control_origin_viewers", "Viewers that were sent to the origin and may still be there.", NO_LABEL),
            tombstones: gauges(registry, "oca_control_tombstones_number", "Number of the list of tombstones.", NO_LABEL),
        }
    }

    async fn take(&self, database: &Database, facts: Facts) -> Result<()> {
        let set = |gauges: &IntGaugeVec, label: &[&str], value: u64| {
            gauges.with_label_values(label).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        for (what, value) in REGISTERED.iter().zip(database.counts().await?) {
            set(&self.registered, &[what], value);
        }
        let registered = database.appliances().await?;
        let reports = database.reports().await?;
        let words = registered.iter().map(|appliance| liveness(reports.get(&appliance.id), now()));
        let words: Vec<&str> = words.collect();
        for word in LIVENESS {
            set(&self.appliances, &[word], words.iter().filter(|it| **it == word).count() as u64);
        }
        set(&self.first_end, &[], database.first_end().await?.unwrap_or(0));
        set(&self.tombstones, &[], uint(database.endpoint().await?.tombstones));
        set(&self.free_fills, &[], facts.free_fills as u64);
        self.not_after.with_label_values::<&str>(&[]).set(facts.not_after);
        for (standing, count) in facts.steering.standing {
            set(&self.standing, &[standing], count as u64);
        }
        for (word, count) in facts.steering.routes {
            set(&self.routes, &[word], count);
        }
        for (word, count) in facts.steering.gaps {
            set(&self.gaps, &[word], count as u64);
        }
        set(&self.panics, &[], u64::from(facts.steering.panics));
        set(&self.origin_viewers, &[], facts.steering.origin_viewers as u64);
        Ok(())
    }
}

/// One of [`LIVENESS`]. An appliance that has left may be unplugged: nobody waits for its reports.
fn liveness(kept: Option<&Kept>, now: u64) -> &'static str {
    let Some(kept) = kept else {
        return "new";
    };
    let is_silent = now.saturating_sub(kept.received) >= ALIVE_S;
    match kept.report.state {
        State::Draining | State::Drained | State::DrainedForced => "leaving",
        State::Ok | State::Degraded | State::Down if is_silent => "silent",
        State::Ok | State::Degraded => "alive",
        State::Down => "down",
    }
}

/// A label and all its values: each has a line from the first scrape on.
type Label<'l> = (&'l str, &'l [&'l str]);

const NO_LABEL: Label<'_> = ("", &[]);

fn counters(registry: &Registry, name: &str, help: &str, label: Label<'_>) -> IntCounterVec {
    let counters = IntCounterVec::new(Opts::new(name, help), names(&label));
    let counters = register(registry, counters.expect("the name is a constant"));
    for value in values(&label) {
        counters.with_label_values(value);
    }
    counters
}

fn gauges(registry: &Registry, name: &str, help: &str, label: Label<'_>) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(Opts::new(name, help), names(&label));
    let gauges = register(registry, gauges.expect("the name is a constant"));
    for value in values(&label) {
        gauges.with_label_values(value);
    }
    gauges
}

fn names<'l>(label: &'l Label<'l>) -> &'l [&'l str] {
    if label.0.is_empty() {
        &[]
    } else {
        std::slice::from_ref(&label.0)
    }
}

fn values<'l>(label: &'l Label<'l>) -> impl Iterator<Item = &'l [&'l str]> {
    let without = label.0.is_empty().then_some(&[][..]);
    label.1.iter().map(std::slice::from_ref).chain(without)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    let registered = registry.register(Box::new(collector.clone()));
    registered.expect("every name is there once");
    collector
}

impl Metrics {
    pub(crate) fn sent(&self, what: &'static str, bytes: u64) {
        self.sent.with_label_values(&[what]).inc_by(bytes);
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    pub(crate) fn steered(&self, to: &'static str) {
        self.steered.with_label_values(&[to]).inc();
    }

    pub(crate) fn report(&self) {
        self.reports.with_label_values::<&str>(&[]).inc();
    }

    pub(crate) fn built(&self, outcome: &'static str) {
        self.manifests.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn build_seconds(&self, elapsed: Duration) {
        self.build_seconds.set(elapsed.as_secs_f64());
    }

    pub(crate) fn epoch_raised(&self) {
        self.epochs_raised.with_label_values::<&str>(&[]).inc();
    }

    pub(crate) fn handshake(&self, outcome: &'static str) {
        self.handshakes.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn certificates(&self, outcome: &'static str) {
        self.certificates.with_label_values(&[outcome]).inc();
    }

    /// The text of a scrape.
    ///
    /// # Errors
    /// Of the database.
    pub(crate) async fn text(&self, database: &Database, facts: Facts) -> Result<String> {
        self.stock.take(database, facts).await?;
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8(text)?)
    }
}
