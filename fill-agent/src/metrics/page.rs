//! A page of metric families in the making. The `prometheus` crate has the data model and the text; nothing is registered,
//! since all values are read from our own counters at the moment of the scrape.

use prometheus::TextEncoder;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// The labels of a sample. Their values come from closed sets: the configuration, or enums of ours.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Families in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Page {
    families: Vec<MetricFamily>,
}

impl Page {
    /// A counter with one sample and no label. `name` ends in `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, [counted(&[], value as f64)]);
    }

    /// A counter with labels.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Metric>,
    ) {
        self.add(name, help, MetricType::COUNTER, samples);
    }

    /// A gauge with one sample and no label.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [measured(&[], value)]);
    }

    /// A gauge with labels.
    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Metric>,
    ) {
        self.add(name, help, MetricType::GAUGE, samples);
    }

    fn add(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = Metric>,
    ) {
        let samples: Vec<Metric> = samples.into_iter().collect();
        // The text format has no family without a sample.
        if samples.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(samples);
        self.families.push(family);
    }

    /// The text format 0.0.4.
    pub(super) fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.families)
    }
}

/// A sample of a counter.
pub(super) fn counted(labels: Labels<'_>, value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::from_label(pairs(labels));
    metric.set_counter(counter);
    metric
}

/// A sample of a gauge.
pub(super) fn measured(labels: Labels<'_>, value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(pairs(labels));
    metric.set_gauge(gauge);
    metric
}

/// 1 for a state that holds, 0 for one that does not.
pub(super) fn holds(condition: bool) -> f64 {
    if condition { 1.0 } else { 0.0 }
}

fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}
