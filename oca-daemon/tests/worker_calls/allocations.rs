//! Serving allocates nothing.

use crate::audience::{Audience, CONNECTIONS, Over};
use crate::support::{BACKENDS, Daemon, eventually};

/// What a connection over TLS may allocate that comes, says nothing and goes.
const NEWCOMER_ALLOCATIONS: f64 = 8.0;

/// Counts what the workers allocate, but for what those may who come meanwhile: every ten seconds the self-test does.
pub(crate) struct Allocations {
    pub(crate) accepted: f64,
    before: f64,
}

impl Allocations {
    pub(crate) fn from_now_on(daemon: &Daemon) -> Self {
        Self {
            accepted: accepted(daemon),
            before: settled_allocations(daemon),
        }
    }

    pub(crate) fn until_now(&self, daemon: &Daemon) -> f64 {
        let allocated = settled_allocations(daemon) - self.before;
        let newcomers = accepted(daemon) - self.accepted;
        (allocated - newcomers * NEWCOMER_ALLOCATIONS).max(0.0)
    }
}

/// Connections that were let in so far.
pub(crate) fn accepted(daemon: &Daemon) -> f64 {
    daemon.metric("oca_accepted_connections_total", "")
}

/// Every worker publishes its count at the beginning of a turn, also one that has nothing to do: two more turns of each show
/// what was allocated until now.
pub(crate) fn settled_allocations(daemon: &Daemon) -> f64 {
    let turns = |worker: usize| {
        let label = format!("worker=\"{worker}\"");
        daemon.metric("oca_worker_turns_total", &label)
    };
    let before = [0, 1].map(|worker| (worker, turns(worker)));
    for (worker, before) in before {
        eventually("the worker has turned", || {
            (turns(worker) >= before + 2.0).then_some(())
        });
    }
    daemon.metric("oca_worker_heap_allocations_total", "")
}

const COUNTED: usize = 10_000;

fn allocates_nothing(memory: &str, source: &str, over: Over) {
    for backend in BACKENDS {
        let mut audience = Audience::configured(backend, memory, "", over);
        if source == "memory" {
            audience.warm();
        }
        // The first requests make what is kept: tables of reads, buffers for what comes early.
        audience.ask(200, 16_000);
        let allocations = Allocations::from_now_on(&audience.daemon);
        assert!(allocations.before > 0.0, "something is counted");
        let sent = audience.sent(source);
        audience.ask(COUNTED / CONNECTIONS, 16_000);
        assert_eq!(
            allocations.until_now(&audience.daemon),
            0.0,
            "for {COUNTED} {source} requests on {backend}"
        );
        let sent = audience.sent(source) - sent;
        assert!(sent >= (COUNTED * 16_000) as f64, "the load was {source}");
    }
}

#[test]
fn a_hot_request_allocates_nothing() {
    allocates_nothing("64 MiB", "memory", Over::Clear);
}

#[test]
fn a_cold_request_allocates_nothing() {
    allocates_nothing("0 B", "device", Over::Clear);
}

#[test]
fn a_hot_request_over_tls_allocates_nothing() {
    allocates_nothing("64 MiB", "memory", Over::Tls);
}

#[test]
fn a_cold_request_over_tls_allocates_nothing() {
    allocates_nothing("0 B", "device", Over::Tls);
}
