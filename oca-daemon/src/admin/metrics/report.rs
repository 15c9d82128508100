//! The reports to the control endpoint.

use super::page::{Page, counted};
use crate::admin::observation::Observation;
use crate::report::Outcome;

/// Nothing, if there is no control endpoint.
pub(super) fn add(page: &mut Page, observed: &Observation) {
    let Some(report) = &observed.report else {
        return;
    };
    let outcomes = Outcome::ALL.iter().zip(report.outcomes);
    page.counters(
        "oca_report_posts_total",
        "Reports to the control endpoint, by what came of them.",
        outcomes.map(|(outcome, count)| counted(&[("outcome", outcome.as_str())], count as f64)),
    );
    let answered = report.answered.unwrap_or(observed.started);
    page.gauge(
        "oca_report_age_seconds",
        "Time since a report was last answered, or since the start.",
        observed
            .now
            .saturating_duration_since(answered)
            .as_secs_f64(),
    );
    page.counter(
        "oca_report_full_total",
        "Reports that listed the whole inventory, not only what had changed.",
        report.full,
    );
    page.counter(
        "oca_report_body_bytes_total",
        "Bytes of reports as sent.",
        report.body_bytes,
    );
    page.gauge(
        "oca_report_inventory_revision",
        "The number of the state of the inventory that was last told.",
        report.revision as f64,
    );
    page.counter(
        "oca_report_forgotten_served_bytes_total",
        "Bytes that viewers got and no report will tell, because too many objects waited for an answer.",
        report.forgotten_bytes,
    );
    page.counter(
        "oca_report_uncounted_misses_total",
        "Requests for paths that are not here that were not counted by path, because there were too many.",
        observed.missed_left_out,
    );
}
