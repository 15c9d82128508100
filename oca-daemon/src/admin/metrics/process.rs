//! The process, under the names that every Prometheus dashboard knows.

use super::page::{Page, counted};
use crate::admin::observation::Observation;

pub(super) fn add(page: &mut Page, observed: &Observation) {
    page.gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        observed.started_unix().milliseconds() as f64 / 1000.0,
    );
    let Some(usage) = &observed.process else {
        return;
    };
    page.counters(
        "process_cpu_seconds_total",
        "Processor time, of user and system together.",
        [counted(&[], usage.cpu.as_secs_f64())],
    );
    page.gauge(
        "process_resident_memory_bytes",
        "Memory that is resident.",
        usage.resident_bytes as f64,
    );
    page.gauge(
        "process_open_fds",
        "Open descriptors.",
        usage.open_descriptors as f64,
    );
    page.gauge(
        "process_max_fds",
        "The most descriptors that may be open.",
        usage.descriptor_limit as f64,
    );
}
