//! The families, from a status and the counters.

use std::sync::atomic::Ordering::Relaxed;

use protocol::fill::{Activity, ManifestFacts, Scrub, ScrubDevice, SourceStatus, Status};
use protocol::manifest::SourceKind;

use super::Counters;
use super::page::{Page, counted, holds, measured};
use crate::limits::SOURCES_MEASURED;
use crate::manifest::Refusal;

/// The text format.
pub(super) fn text(
    status: &Status,
    scrub: Option<&Scrub>,
    counters: &Counters,
) -> prometheus::Result<String> {
    let mut page = Page::default();
    standing(&mut page, status);
    manifests(&mut page, status, counters);
    progress(&mut page, status, counters);
    sources(&mut page, &status.sources);
    devices(&mut page, status);
    repairs(&mut page, counters);
    if let Some(scrub) = scrub {
        scrubs(&mut page, scrub);
    }
    page.text()
}

fn standing(page: &mut Page, status: &Status) {
    let version = [("version", status.version.as_str())];
    page.gauges(
        "oca_fill_build_info",
        "The program.",
        [measured(&version, 1.0)],
    );
    let activities = Activity::ALL.map(|activity| {
        let label = [("activity", activity.as_str())];
        measured(&label, holds(activity == status.activity))
    });
    page.gauges("oca_fill_activity", "What the agent is doing.", activities);
    page.gauge(
        "oca_fill_start_time_seconds",
        "When the agent started.",
        status.started as f64,
    );
    page.gauge(
        "oca_fill_window_open",
        "Whether the window is open.",
        holds(status.window_open),
    );
    page.gauge(
        "oca_fill_paused",
        "Whether an operator paused it.",
        holds(status.pause.is_some()),
    );
    let synchronised = holds(status.clock_synchronised);
    page.gauge(
        "oca_fill_clock_synchronised",
        "Whether the system's clock is synchronised.",
        synchronised,
    );
    let cap = status.rate.unwrap_or(0) as f64 / 8.0;
    page.gauge(
        "oca_fill_cap_bytes_per_second",
        "The most that is fetched; 0 if no rate is set.",
        cap,
    );
    let rate = status.rate_now as f64 / 8.0;
    page.gauge(
        "oca_fill_rate_bytes_per_second",
        "What is fetched, over the last seconds.",
        rate,
    );
}

fn manifests(page: &mut Page, status: &Status, counters: &Counters) {
    let refused = Refusal::REASONS.iter().zip(&counters.refused);
    let refused =
        refused.map(|(reason, count)| counted(&[("reason", reason)], count.load(Relaxed) as f64));
    page.counters(
        "oca_fill_manifests_refused_total",
        "Manifests and lists of tombstones that were refused.",
        refused,
    );
    page.gauge(
        "oca_fill_manifest_held",
        "Whether a manifest waits for an operator.",
        holds(status.held.is_some()),
    );
    for (document, name) in ["manifest", "tombstones"].into_iter().enumerate() {
        let asked = ["failed", "worked"]
            .into_iter()
            .enumerate()
            .map(|(worked, result)| {
                let count = counters.contacts[document][worked].load(Relaxed);
                counted(&[("result", result)], count as f64)
            });
        let help = "Questions to the control endpoint.";
        page.counters(&format!("oca_fill_{name}_contacts_total"), help, asked);
        let at = counters.contacted_at[document].load(Relaxed) as f64;
        let help = "When the control endpoint answered last; 0 if never.";
        page.gauge(&format!("oca_fill_{name}_contact_time_seconds"), help, at);
    }
    let failures = counters.tls_failures.counts().map(|(side, fault, count)| {
        let labels = [("asked", side.as_str()), ("reason", fault.word())];
        counted(&labels, count as f64)
    });
    page.counters(
        "oca_fill_tls_failures_total",
        "Handshakes and requests that ended because one side did not believe the other, or did not understand it.",
        failures,
    );
    if let Some(manifest) = &status.manifest {
        in_force(page, manifest);
    }
    let applied = counters
        .tombstones_applied()
        .map_or(0, |serial| serial.number);
    page.gauge(
        "oca_fill_tombstones_applied_serial",
        "Number of the newest takedowns that were carried out.",
        applied as f64,
    );
    let paths = counters.taken_down_paths.load(Relaxed);
    page.counter(
        "oca_fill_taken_down_paths_total",
        "Paths that were taken down.",
        paths,
    );
}

/// Of the manifest in force.
fn in_force(page: &mut Page, manifest: &ManifestFacts) {
    page.gauge(
        "oca_fill_manifest_built_time_seconds",
        "When the manifest in force was built.",
        manifest.built_at as f64,
    );
    page.gauge(
        "oca_fill_manifest_end_time_seconds",
        "When the manifest in force ends.",
        manifest.not_after as f64,
    );
    page.gauge(
        "oca_fill_wanted_objects",
        "Objects of the manifest in force.",
        manifest.objects as f64,
    );
    page.gauge(
        "oca_fill_wanted_bytes",
        "Their bytes.",
        manifest.bytes as f64,
    );
    page.gauge(
        "oca_fill_wanted_held_objects",
        "Of them, held.",
        manifest.objects_held as f64,
    );
    page.gauge(
        "oca_fill_wanted_held_bytes",
        "Of them, held.",
        manifest.bytes_held as f64,
    );
}

fn progress(page: &mut Page, status: &Status, counters: &Counters) {
    let of = &status.progress;
    page.gauge(
        "oca_fill_planned_objects",
        "Objects to fetch in this plan.",
        of.objects as f64,
    );
    page.gauge("oca_fill_planned_bytes", "Their bytes.", of.bytes as f64);
    page.gauge(
        "oca_fill_planned_done_objects",
        "Of them, published.",
        of.objects_done as f64,
    );
    page.gauge(
        "oca_fill_planned_done_bytes",
        "Of them, verified.",
        of.bytes_done as f64,
    );
    page.gauge(
        "oca_fill_without_room_objects",
        "Wanted objects that do not fit.",
        of.objects_without_room as f64,
    );
    page.gauge(
        "oca_fill_without_room_bytes",
        "Their bytes.",
        of.bytes_without_room as f64,
    );
    let load = |count: &std::sync::atomic::AtomicU64| count.load(Relaxed);
    page.counter(
        "oca_fill_published_objects_total",
        "Objects that were fetched and published.",
        load(&counters.published_objects),
    );
    page.counter(
        "oca_fill_published_bytes_total",
        "Their bytes.",
        load(&counters.published_bytes),
    );
    page.counter(
        "oca_fill_evicted_objects_total",
        "Objects that were evicted.",
        load(&counters.evicted_objects),
    );
    page.counter(
        "oca_fill_evicted_bytes_total",
        "Their bytes.",
        load(&counters.evicted_bytes),
    );
    let at = counters.filled_at.load(Relaxed) as f64;
    page.gauge(
        "oca_fill_complete_time_seconds",
        "When a plan was last done without a failure; 0 if never.",
        at,
    );
}

fn repairs(page: &mut Page, counters: &Counters) {
    page.counter(
        "oca_fill_repaired_copies_total",
        "Copies of objects of which lost or bad columns were written anew.",
        counters.repaired_copies.load(Relaxed),
    );
    page.counter(
        "oca_fill_repaired_bytes_total",
        "Bytes of those columns.",
        counters.repaired_bytes.load(Relaxed),
    );
}

fn scrubs(page: &mut Page, scrub: &Scrub) {
    let of = |value: fn(&ScrubDevice) -> f64| {
        scrub.devices.iter().map(move |device| {
            let labels = [
                ("tier", device.tier.as_str()),
                ("device", device.name.as_str()),
            ];
            measured(&labels, value(device))
        })
    };
    let paused = holds(scrub.pause.is_some());
    page.gauge(
        "oca_scrub_paused",
        "Whether an operator paused the scrub.",
        paused,
    );
    page.gauges(
        "oca_scrub_running",
        "Whether the device is being read back.",
        of(|device| holds(device.state == "running")),
    );
    page.gauges(
        "oca_scrub_columns",
        "Columns that were read in this pass over the device, or in the last one.",
        of(|device| device.columns as f64),
    );
    page.gauges(
        "oca_scrub_bytes",
        "Their bytes.",
        of(|device| device.bytes as f64),
    );
    page.gauges(
        "oca_scrub_bad_columns",
        "Of them, bad ones.",
        of(|device| device.bad as f64),
    );
    page.gauges(
        "oca_scrub_began_time_seconds",
        "When the pass that runs began; 0 if none does.",
        of(|device| device.began.unwrap_or(0) as f64),
    );
    page.gauges(
        "oca_scrub_ended_time_seconds",
        "When the last whole pass ended; 0 if none did.",
        of(|device| device.ended.unwrap_or(0) as f64),
    );
}

/// Sources are the manifest's to name, so only so many have labels; the others of a kind are one.
fn sources(page: &mut Page, sources: &[SourceStatus]) {
    let bytes = by_source(sources, |source| source.bytes);
    page.counters(
        "oca_fill_source_bytes_total",
        "Bytes that came.",
        bytes.map(|(labels, value)| counted(&labels.pairs(), value)),
    );
    let errors = by_source(sources, |source| source.errors);
    page.counters(
        "oca_fill_source_errors_total",
        "Errors.",
        errors.map(|(labels, value)| counted(&labels.pairs(), value)),
    );
    let closed = by_source(sources, |source| u64::from(source.retry_at.is_some()));
    page.gauges(
        "oca_fill_source_waiting",
        "Whether it is not asked for now: it failed, or asks to come later.",
        closed.map(|(labels, value)| measured(&labels.pairs(), value)),
    );
}

struct SourceLabels<'a> {
    kind: SourceKind,
    name: &'a str,
}

impl<'a> SourceLabels<'a> {
    fn pairs(&self) -> [(&'a str, &'a str); 2] {
        [("kind", self.kind.as_str()), ("source", self.name)]
    }
}

fn by_source<'a>(
    sources: &'a [SourceStatus],
    value: impl Fn(&SourceStatus) -> u64 + 'a,
) -> impl Iterator<Item = (SourceLabels<'a>, f64)> {
    let (named, others) = sources.split_at(sources.len().min(SOURCES_MEASURED));
    let mut rest = [None; SourceKind::ALL.len()];
    for source in others {
        *rest[source.kind as usize].get_or_insert(0) += value(source);
    }
    let named = named.iter().map(move |source| {
        let labels = SourceLabels {
            kind: source.kind,
            name: &source.name,
        };
        (labels, value(source) as f64)
    });
    let rest = SourceKind::ALL.into_iter().zip(rest);
    named.chain(rest.filter_map(|(kind, sum)| {
        Some((
            SourceLabels {
                kind,
                name: "other",
            },
            sum? as f64,
        ))
    }))
}

fn devices(page: &mut Page, status: &Status) {
    let of = |value: fn(&protocol::fill::DeviceFill) -> f64| {
        status.devices.iter().map(move |device| {
            let labels = [
                ("tier", device.tier.as_str()),
                ("device", device.name.as_str()),
            ];
            measured(&labels, value(device))
        })
    };
    page.gauges(
        "oca_fill_device_ok",
        "Whether the agent trusts the device.",
        of(|device| holds(device.state == "ok")),
    );
    page.gauges(
        "oca_fill_device_rate_bytes_per_second",
        "What is written to it, over the last seconds.",
        of(|device| device.rate as f64 / 8.0),
    );
    page.gauges(
        "oca_fill_device_queue",
        "Writes that wait or run.",
        of(|device| device.queue as f64),
    );
    page.gauges(
        "oca_fill_device_room_bytes",
        "Room for objects.",
        of(|device| device.room as f64),
    );
    page.gauges(
        "oca_fill_device_total_bytes",
        "Of this size.",
        of(|device| device.total as f64),
    );
    page.gauges(
        "oca_fill_device_object_bytes",
        "Columns of published objects on the device.",
        of(|device| device.object_bytes as f64),
    );
    page.gauges(
        "oca_fill_device_doomed_bytes",
        "Columns on the device that wait to be unlinked: for readers, or for the device to be back.",
        of(|device| device.doomed_bytes as f64),
    );
    page.gauges(
        "oca_fill_device_used_bytes",
        "What columns and sidecars take from the device's file system, in whole blocks.",
        of(|device| device.used_bytes as f64),
    );
}
