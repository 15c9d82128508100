//! The threads that serve.

use prometheus::proto::Metric;

use super::page::{Page, counted, distributed, holds, measured};
use crate::admin::observation::Observation;
use crate::counters::{LATENCY_BOUNDS, WorkerCounters};

pub(super) fn add(page: &mut Page, observed: &Observation) {
    page.gauges(
        "oca_connections",
        "Open connections.",
        each(observed, |labels, worker| {
            measured(labels, worker.connections.value() as f64)
        }),
    );
    page.histograms(
        "oca_worker_loop_seconds",
        "Time that one turn of a worker's loop took, without waiting.",
        each(observed, |labels, worker| {
            distributed(
                labels,
                &LATENCY_BOUNDS,
                &worker.turn.counts(),
                worker.turn.sum_seconds(),
            )
        }),
    );
    page.counters(
        "oca_worker_turns_total",
        "Turns of a worker's loop.",
        each(observed, |labels, worker| {
            counted(labels, worker.turns.value() as f64)
        }),
    );
    page.gauges(
        "oca_worker_lag_seconds",
        "Time since a worker's present turn began, or since its wait should have ended; 0 while it waits for something to do.",
        each(observed, |labels, worker| {
            measured(labels, observed.lag(worker).as_secs_f64())
        }),
    );
    page.gauges(
        "oca_worker_stuck",
        "1 if a worker's loop does not turn any more.",
        each(observed, |labels, worker| {
            measured(labels, holds(observed.is_stuck(worker)))
        }),
    );
    page.gauges(
        "oca_worker_relieved",
        "1 while another worker accepts connections for this one, which is stuck.",
        observed
            .relievers
            .iter()
            .enumerate()
            .map(|(number, reliever)| {
                measured(
                    &[("worker", &number.to_string())],
                    holds(reliever.is_some()),
                )
            }),
    );
    page.counters(
        "oca_worker_heap_allocations_total",
        "Heap allocations of a worker's thread. Serving makes none: it rises with connections at most, not with requests.",
        each(observed, |labels, worker| counted(labels, worker.allocations.value() as f64)),
    );
}

fn each<'a>(
    observed: &'a Observation,
    sample: impl Fn(&[(&str, &str)], &WorkerCounters) -> Metric + 'a,
) -> impl Iterator<Item = Metric> + 'a {
    observed
        .workers
        .iter()
        .enumerate()
        .map(move |(number, worker)| sample(&[("worker", &number.to_string())], worker))
}
