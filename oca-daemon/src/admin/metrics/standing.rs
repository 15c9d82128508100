//! How the box is, and who it is.

use prometheus::proto::Metric;
use protocol::status::State;
use steering::health::{Component, Severity};

use super::page::{Page, holds, measured};
use crate::admin::observation::Observation;
use crate::admin::words;
use crate::control::Standing;

pub(super) fn add(page: &mut Page, observed: &Observation, standing: &Standing) {
    let state = words::state(standing.hint.facts.state);
    page.gauges(
        "oca_build_info",
        "Always 1; version and reactor backend are its labels.",
        [measured(
            &[
                ("version", env!("CARGO_PKG_VERSION")),
                ("backend", &observed.backend),
            ],
            1.0,
        )],
    );
    page.gauges(
        "oca_state",
        "1 for the state of the appliance, 0 for the others.",
        State::ALL.map(|each| measured(&[("state", each.as_str())], holds(each == state))),
    );
    page.gauge(
        "oca_ready",
        "1 if new viewers may be sent here.",
        holds(standing.hint.facts.accepting),
    );
    page.gauges(
        "oca_health_causes",
        "Things that are wrong, by what they concern and how bad they are; /status lists them.",
        causes(standing),
    );
    add_steering(page, standing);
    page.gauge(
        "oca_config_reload_success",
        "1 if the configuration in force is the one that was last read.",
        holds(standing.reload.is_ok()),
    );
}

fn add_steering(page: &mut Page, standing: &Standing) {
    let bytes = |bits: u64| bits as f64 / 8.0;
    page.gauge(
        "oca_egress_bytes_per_second",
        "Body bytes sent per second, over the last seconds.",
        bytes(standing.egress),
    );
    page.gauge(
        "oca_steering_serial",
        "Serial of the hint at /steering.",
        standing.hint.serial as f64,
    );
    if let Some(capacity) = &standing.hint.facts.capacity {
        page.gauge(
            "oca_capacity_bytes_per_second",
            "What this box can send.",
            bytes(capacity.maximum_hard),
        );
        page.gauge(
            "oca_capacity_left_bytes_per_second",
            "What may be added before other boxes are to be preferred.",
            bytes(capacity.left),
        );
    }
}

fn causes(standing: &Standing) -> Vec<Metric> {
    let mut samples = Vec::new();
    for component in Component::ALL {
        for severity in [Severity::Degraded, Severity::Down] {
            let matching = standing.hint.facts.causes.iter();
            let count = matching
                .filter(|cause| cause.component == component && cause.severity == severity)
                .count();
            let labels = [
                ("component", component.as_str()),
                ("scope", words::scope_word(component.scope())),
                ("severity", words::severity(severity).as_str()),
            ];
            samples.push(measured(&labels, count as f64));
        }
    }
    samples
}
