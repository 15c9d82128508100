//! What viewers got.

use prometheus::proto::Metric;

use super::page::{Page, counted, distributed};
use crate::admin::observation::Observation;
use crate::counters::{LATENCY_BOUNDS, Latency, STATUSES, WorkerCounters};

pub(super) fn add(page: &mut Page, observed: &Observation) {
    page.counters(
        "oca_http_requests_total",
        "Requests answered, by status.",
        STATUSES
            .iter()
            .enumerate()
            .map(|(at, status)| answers(observed, at, *status)),
    );
    page.counters(
        "oca_sent_bytes_total",
        "Body bytes given to the kernel, by device and by where they came from: locked memory or the device.",
        sent_bytes(observed),
    );
    page.histograms(
        "oca_http_first_byte_seconds",
        "From a complete request head to the first byte of the answer in the kernel.",
        [over_workers(observed, |worker| &worker.first_byte)],
    );
    page.histograms(
        "oca_http_request_seconds",
        "From a complete request head to the last byte of the answer in the kernel.",
        [over_workers(observed, |worker| &worker.request)],
    );
    page.gauge(
        "oca_transfers",
        "Answers that are being sent.",
        observed.total(|worker| worker.transfers.value()) as f64,
    );
    page.counters(
        "oca_aborted_transfers_total",
        "Answers that ended before their last byte, by who ended them.",
        [
            counted(
                &[("by", "peer")],
                observed.total(|worker| worker.aborted_by_peer.value()) as f64,
            ),
            counted(
                &[("by", "device")],
                observed.total(|worker| worker.aborted_by_device.value()) as f64,
            ),
        ],
    );
    add_fills(page, observed);
    add_connections(page, observed);
    add_beside(page, observed);
}

/// The access log, CMCD and pacing.
fn add_beside(page: &mut Page, observed: &Observation) {
    if let Some(log) = &observed.access_log {
        page.counter(
            "oca_access_log_lines_total",
            "Lines of the access log that were written.",
            log.written(),
        );
        page.counters(
            "oca_access_log_dropped_total",
            "Requests of sampled connections without a line: the writer was behind (queue), or the file did not take it (file).",
            [
                counted(&[("reason", "queue")], log.dropped() as f64),
                counted(&[("reason", "file")], log.refused() as f64),
            ],
        );
    }
    page.counter(
        "oca_cmcd_malformed_total",
        "Requests with CMCD that could not be read, or only in part. It is read for the access log and for pacing only.",
        observed.total(|worker| worker.malformed_cmcd.value()),
    );
    page.counter(
        "oca_pacing_changes_total",
        "Times that a connection was given another rate, each a system call.",
        observed.total(|worker| worker.pacing_changes.value()),
    );
    page.counter(
        "oca_grown_send_buffers_total",
        "Connections whose send buffer may grow, as their path holds more bytes than it did.",
        observed.total(|worker| worker.grown_send_buffers.value()),
    );
}

fn add_fills(page: &mut Page, observed: &Observation) {
    page.gauge(
        "oca_fill_transfers",
        "Transfers to other appliances that fill from this one; at most serve.max_fills.",
        f64::from(observed.fills.running()),
    );
    page.counter(
        "oca_fill_sent_bytes_total",
        "Body bytes sent to other appliances that fill from this one.",
        observed.total(|worker| worker.fill_bytes.value()),
    );
    page.counter(
        "oca_fill_refused_total",
        "Requests of other appliances that were answered 429, because serve.max_fills transfers ran.",
        observed.fills.refused(),
    );
}

fn add_connections(page: &mut Page, observed: &Observation) {
    page.counter(
        "oca_accepted_connections_total",
        "Connections accepted.",
        observed.total(|worker| worker.accepted.value()),
    );
    page.counter(
        "oca_accept_errors_total",
        "Connections that could not be accepted.",
        observed.total(|worker| worker.accept_errors.value()),
    );
    page.counters(
        "oca_refused_connections_total",
        "Connections that got no place, by the limit that was reached: all of serve.max_connections, or those of one address.",
        [
            counted(
                &[("limit", "all")],
                observed.total(|worker| worker.refused_full.value()) as f64,
            ),
            counted(
                &[("limit", "address")],
                observed.total(|worker| worker.refused_address.value()) as f64,
            ),
        ],
    );
    page.counter(
        "oca_timed_out_connections_total",
        "Connections closed because a time limit had passed.",
        observed.total(|worker| worker.timed_out.value()),
    );
}

fn answers(observed: &Observation, at: usize, status: u16) -> Metric {
    let class = format!("{}xx", status / 100);
    let answers = observed.total(|worker| worker.answers[at].value());
    counted(
        &[("class", &class), ("code", &status.to_string())],
        answers as f64,
    )
}

fn sent_bytes(observed: &Observation) -> Vec<Metric> {
    let mut samples = Vec::new();
    for (at, device) in observed.devices.iter().enumerate() {
        let of_device = |worker: &WorkerCounters, memory: bool| {
            let counters = worker.devices.get(at);
            counters.map_or(0, |counters| {
                if memory {
                    counters.memory_bytes.value()
                } else {
                    counters.device_bytes.value()
                }
            })
        };
        for (source, memory) in [("memory", true), ("device", false)] {
            let labels = [
                ("tier", &*device.tier),
                ("device", &*device.name),
                ("source", source),
            ];
            samples.push(counted(
                &labels,
                observed.total(|worker| of_device(worker, memory)) as f64,
            ));
        }
    }
    samples
}

pub(super) fn over_workers(
    observed: &Observation,
    latency: impl Fn(&WorkerCounters) -> &Latency,
) -> Metric {
    let mut counts = [0; LATENCY_BOUNDS.len() + 1];
    let mut seconds = 0.0;
    for worker in &observed.workers {
        let latency = latency(worker);
        counts
            .iter_mut()
            .zip(latency.counts())
            .for_each(|(sum, count)| *sum += count);
        seconds += latency.sum_seconds();
    }
    distributed(&[], &LATENCY_BOUNDS, &counts, seconds)
}
