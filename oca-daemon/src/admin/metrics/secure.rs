//! Connections over TLS.

use prometheus::proto::Metric;

use super::page::{Page, counted};
use super::serving::over_workers;
use crate::admin::observation::Observation;
use crate::counters::{Counter, TlsCounters};
use crate::tls::handshake::Reason;
use crate::tls::kernel::Fallback;
use crate::tls::records::Fault;
use crate::tls::{Path, Suite};

pub(super) fn add(page: &mut Page, observed: &Observation) {
    add_handshakes(page, observed);
    page.counters(
        "oca_tls_connections_total",
        "Connections whose handshake was done, by who seals what is sent: this program (user) or the kernel.",
        Path::ALL.map(|path| {
            let of = |tls: &TlsCounters| tls.paths[path.number()].value();
            counted(&[("path", path.label())], total(observed, of))
        }),
    );
    page.counters(
        "oca_tls_kernel_fallbacks_total",
        "Connections that this program seals although tls.kernel wants the kernel to, by why: it cannot (unavailable), does not know the suite, \
         had no room for the end of the handshake (unsent), found that the viewer had closed already (peer_closed), or refused the connection.",
        Fallback::ALL.map(|reason| {
            let of = |tls: &TlsCounters| tls.fallbacks[reason.number()].value();
            counted(&[("reason", reason.label())], total(observed, of))
        }),
    );
    page.counter(
        "oca_tls_kernel_stale_keys_total",
        "Connections that end after their present answer, as their key is to be replaced and the kernel cannot do that.",
        observed.total(|worker| worker.tls.stale_keys.value()),
    );
    page.counters(
        "oca_tls_faults_total",
        "Connections that were cut off after their handshake, by what the peer did.",
        Fault::ALL.map(|fault| {
            let of = |tls: &TlsCounters| tls.faults[fault.number()].value();
            counted(&[("fault", fault.label())], total(observed, of))
        }),
    );
    page.counter(
        "oca_tls_key_updates_total",
        "Times that a connection went over to its next key for sending: its peer asked, or the old one had sealed all that it may.",
        observed.total(|worker| worker.tls.key_updates.value()),
    );
    page.gauge(
        "oca_tls_unsent_connections",
        "Connections whose sealed bytes wait for room in their sockets.",
        observed.total(|worker| worker.tls.unsent.value()) as f64,
    );
}

fn add_handshakes(page: &mut Page, observed: &Observation) {
    page.counters(
        "oca_tls_handshakes_total",
        "Handshakes that were done, by version and suite, and whether they went on from an earlier connection (resumed).",
        Suite::all().flat_map(|suite| handshakes(observed, suite)),
    );
    page.counters(
        "oca_tls_handshake_failures_total",
        "Handshakes that were not done, by why.",
        Reason::ALL.map(|reason| {
            let of = |tls: &TlsCounters| tls.failures[reason.number()].value();
            counted(&[("reason", reason.label())], total(observed, of))
        }),
    );
    page.histograms(
        "oca_tls_handshake_seconds",
        "From accepting a connection to the end of its handshake.",
        [over_workers(observed, |worker| &worker.tls.handshake)],
    );
    page.gauge(
        "oca_tls_handshaking",
        "Handshakes that are under way.",
        observed.total(|worker| worker.tls.handshaking.value()) as f64,
    );
    let steps = |by, of: fn(&TlsCounters) -> u64| counted(&[("by", by)], total(observed, of));
    page.counters(
        "oca_tls_handshake_steps_total",
        "Times that a handshake went on, two or three for each: in the thread beside its worker, or in the worker when that found no time.",
        [
            steps("thread", |tls| tls.handshake_steps_beside.value()),
            steps("worker", |tls| tls.handshake_steps_here.value()),
        ],
    );
    page.counter(
        "oca_tls_handshake_turns_total",
        "Turns of a worker's loop in which it went on with handshakes itself. Beside each, every viewer that could be served was.",
        observed.total(|worker| worker.tls.handshake_turns.value()),
    );
}

fn handshakes(observed: &Observation, suite: Suite) -> [Metric; 2] {
    let sample = |kind: &str, of: fn(&TlsCounters) -> &[Counter]| {
        let labels = [
            ("version", suite.version()),
            ("suite", suite.name()),
            ("kind", kind),
        ];
        let done = total(observed, |tls| of(tls)[suite.number()].value());
        counted(&labels, done)
    };
    [
        sample("full", |tls| &tls.full),
        sample("resumed", |tls| &tls.resumed),
    ]
}

fn total(observed: &Observation, of: impl Fn(&TlsCounters) -> u64) -> f64 {
    observed.total(|worker| of(&worker.tls)) as f64
}
