//! The devices, as their services see them.

use platform::device::LATENCY_BOUNDS_US;
use prometheus::proto::Metric;
use protocol::status::DeviceState;

use super::page::{Page, counted, distributed, holds, measured};
use crate::admin::observation::{Observation, ObservedDevice};

pub(super) fn add(page: &mut Page, observed: &Observation) {
    let devices = Devices(&observed.devices);
    page.gauges(
        "oca_device_state",
        "1 for the state of the device, 0 for the others.",
        states(observed),
    );
    add_wear(page, observed);
    add_reads(page, &devices);
    add_errors(page, &devices, observed);
    add_waiting(page, &devices);
    add_space(page, observed);
}

/// Of the disks below a device, the most worn.
fn add_wear(page: &mut Page, observed: &Observation) {
    let used = observed.devices.iter().filter_map(|device| {
        let used = observed
            .disks_of(device)
            .filter_map(|disk| disk.used_percent);
        let labels = [("tier", &*device.tier), ("device", &*device.name)];
        Some(measured(&labels, used.max()? as f64 / 100.0))
    });
    let used: Vec<Metric> = used.collect();
    if !used.is_empty() {
        page.gauges(
            "oca_device_endurance_used_ratio",
            "How much of the rated endurance of the device's disk is used, as the disk says; may be more than 1.",
            used,
        );
    }
}

fn add_reads(page: &mut Page, devices: &Devices<'_>) {
    page.counters(
        "oca_device_reads_total",
        "Reads done for viewers.",
        devices.counters(|device| device.snapshot.reads),
    );
    page.counters(
        "oca_device_read_bytes_total",
        "Bytes of the reads done for viewers.",
        devices.counters(|device| device.snapshot.read_bytes),
    );
    page.counters(
        "oca_device_merged_reads_total",
        "Reads of viewers that shared another viewer's read.",
        devices.counters(|device| device.snapshot.merged),
    );
    let bounds = LATENCY_BOUNDS_US.map(|bound| bound as f64 / 1e6);
    page.histograms(
        "oca_device_read_seconds",
        "Time that a read took in the device and its check, without waiting in the queue.",
        devices.each(|labels, device| {
            let latency = &device.snapshot.latency;
            distributed(
                labels,
                &bounds,
                &latency.buckets,
                latency.sum_us as f64 / 1e6,
            )
        }),
    );
}

fn add_errors(page: &mut Page, devices: &Devices<'_>, observed: &Observation) {
    let kinds = observed
        .devices
        .iter()
        .enumerate()
        .flat_map(|(at, device)| {
            let refused = observed.total(|worker| {
                worker
                    .devices
                    .get(at)
                    .map_or(0, |counters| counters.failed_reads.value())
            });
            let kinds = [
                ("io", device.snapshot.errors),
                ("checksum", device.snapshot.corrupt),
                ("given-up", device.snapshot.given_up),
                ("load", device.snapshot.load_failures),
                ("viewer", refused),
            ];
            kinds.map(|(kind, count)| {
                counted(
                    &[
                        ("tier", &device.tier),
                        ("device", &device.name),
                        ("kind", kind),
                    ],
                    count as f64,
                )
            })
        });
    page.counters(
        "oca_device_errors_total",
        "What went wrong: io: the system refused an open or a read; checksum: a block is not what was written; given-up: \
         reads answered with an error because the device hangs or has failed; load: pieces that could not be locked in \
         memory; viewer: reads that failed for a viewer, for whatever cause.",
        kinds,
    );
    page.counters(
        "oca_device_loads_total",
        "Pieces locked in memory.",
        devices.counters(|device| device.snapshot.loads),
    );
}

fn add_waiting(page: &mut Page, devices: &Devices<'_>) {
    page.gauges(
        "oca_device_queue_length",
        "Reads that wait for the device.",
        devices.gauges(|device| device.queued() as f64),
    );
    page.gauges(
        "oca_device_inflight_reads",
        "Reads under way in the device.",
        devices.gauges(|device| f64::from(device.snapshot.in_flight)),
    );
    page.gauges(
        "oca_device_inflight_reads_max",
        "The most reads that were under way in the device at once.",
        devices.gauges(|device| f64::from(device.snapshot.in_flight_max)),
    );
    page.gauges(
        "oca_device_inflight_bytes",
        "Buffers being read into or not yet sent.",
        devices.gauges(|device| device.in_flight_bytes() as f64),
    );
    page.gauges(
        "oca_device_inflight_bytes_max",
        "The most buffers that were taken at once.",
        devices.gauges(|device| device.in_flight_bytes_max() as f64),
    );
    page.gauges(
        "oca_device_inflight_budget_bytes",
        "All buffers of the device.",
        devices.gauges(|device| device.in_flight_budget() as f64),
    );
    page.gauges(
        "oca_device_locked_bytes",
        "Content of the device that is locked in memory.",
        devices.gauges(|device| device.snapshot.locked_bytes as f64),
    );
    page.gauges(
        "oca_device_open_files",
        "Files of the device that are kept open.",
        devices.gauges(|device| device.snapshot.open_files as f64),
    );
}

fn add_space(page: &mut Page, observed: &Observation) {
    let known = || {
        observed
            .devices
            .iter()
            .filter_map(|device| Some((device, device.snapshot.space?)))
    };
    let gauges = |of: fn(&platform::file::Space) -> f64| {
        known().map(move |(device, space)| {
            measured(
                &[("tier", &device.tier), ("device", &device.name)],
                of(&space),
            )
        })
    };
    page.gauges(
        "oca_device_size_bytes",
        "Size of the device's file system.",
        gauges(|space| space.total_bytes as f64),
    );
    page.gauges(
        "oca_device_available_bytes",
        "What may still be written to the device's file system.",
        gauges(|space| space.available_bytes as f64),
    );
    page.gauges(
        "oca_device_inodes",
        "Inodes of the device's file system.",
        gauges(|space| space.total_inodes as f64),
    );
    page.gauges(
        "oca_device_available_inodes",
        "Inodes that are still free.",
        gauges(|space| space.available_inodes as f64),
    );
    page.gauges(
        "oca_device_read_only",
        "1 if the device's file system cannot be written.",
        gauges(|space| holds(space.read_only)),
    );
}

fn states(observed: &Observation) -> Vec<Metric> {
    let mut samples = Vec::new();
    for device in &observed.devices {
        for state in DeviceState::ALL {
            let labels = [
                ("tier", &*device.tier),
                ("device", &*device.name),
                ("state", state.as_str()),
            ];
            samples.push(measured(&labels, holds(device.state() == state)));
        }
    }
    samples
}

/// The devices, each with its labels.
struct Devices<'a>(&'a [ObservedDevice]);

impl Devices<'_> {
    fn counters(&self, of: impl Fn(&ObservedDevice) -> u64) -> Vec<Metric> {
        self.each(|labels, device| counted(labels, of(device) as f64))
    }

    fn gauges(&self, of: impl Fn(&ObservedDevice) -> f64) -> Vec<Metric> {
        self.each(|labels, device| measured(labels, of(device)))
    }

    fn each(&self, sample: impl Fn(&[(&str, &str)], &ObservedDevice) -> Metric) -> Vec<Metric> {
        let labelled = |device: &ObservedDevice| {
            sample(&[("tier", &device.tier), ("device", &device.name)], device)
        };
        self.0.iter().map(labelled).collect()
    }
}
