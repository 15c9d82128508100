//! The interfaces that carry what viewers are sent.

use platform::interface::Interface;
use prometheus::proto::Metric;

use super::page::{Page, counted, holds, measured};
use crate::admin::observation::Observation;

pub(super) fn add(page: &mut Page, observed: &Observation) {
    let serving = observed.interfaces.serving.iter().map(|it| &it.now);
    let all: Vec<&Interface> = serving.collect();
    if all.is_empty() {
        return;
    }
    let of = |value: fn(&Interface) -> f64| -> Vec<Metric> {
        let sample = |it: &&Interface| measured(&[("interface", &it.name)], value(it));
        all.iter().map(sample).collect()
    };
    page.gauges(
        "oca_interface_up",
        "1 if packets can leave through this interface that serves.",
        of(|it| holds(it.has_link)),
    );
    page.gauges(
        "oca_interface_speed_bytes_per_second",
        "What its link carries; 0 if it does not say, or there is none.",
        of(|it| it.speed.unwrap_or(0) as f64 / 8.0),
    );
    page.gauges(
        "oca_interface_members",
        "Links that are one here, as with LACP; 0 if it is not made of several.",
        of(|it| it.members.len() as f64),
    );
    page.gauges(
        "oca_interface_members_up",
        "Those of them that carry their part.",
        of(|it| it.members.iter().filter(|member| member.carries).count() as f64),
    );
    let errors = all
        .iter()
        .map(|it| counted(&[("interface", &it.name)], it.errors as f64));
    page.counters(
        "oca_interface_errors_total",
        "Packets that had errors, received and sent.",
        errors,
    );
}
