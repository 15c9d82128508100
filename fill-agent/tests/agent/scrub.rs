//! How fast the scrub reads: by the agent's own counters, and by what the kernel counts of it.

use std::time::Instant;

use content_store::device::Wanted;
use protocol::fill::Request;

use super::appliance::{Appliance, eventually};
use super::damage::{ask_scrub, films};
use super::devices::{small, want};
use super::endpoint::{Endpoint, manifest};

const RATE_BYTES_PER_S: f64 = 500_000.0;

/// What a window of time may hold beside: a column that was begun before it, and a piece that is read ahead of its time. Columns have
/// 300 000 bytes, and sidecars beside.
const BESIDE_BYTES: f64 = 2.0 * 301_000.0;

struct Sample {
    asked: Instant,
    answered: Instant,
    /// Bytes that were read back of each device.
    devices: Vec<u64>,
    /// Bytes that the agent had from `read(2)` and its kin.
    by_calls: u64,
}

#[test]
fn in_no_window_of_a_pass_is_a_device_read_faster_than_the_rate() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    appliance.configure(&endpoint, |text| {
        format!("{text}[scrub]\nrate = \"4 Mbit/s\"\n")
    });
    let wanted = small(&endpoint, 0..32);
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    // The first pass begins at once.
    let agent = appliance.run();
    let mut samples: Vec<Sample> = Vec::new();
    eventually("all was read back", || {
        let (asked, by_calls) = (Instant::now(), agent.bytes_read());
        let scrub = ask_scrub(&agent, &Request::ScrubStatus);
        samples.push(Sample {
            asked,
            answered: Instant::now(),
            devices: scrub.devices.iter().map(|device| device.bytes).collect(),
            by_calls,
        });
        let mut devices = scrub.devices.iter();
        let is_over = devices.all(|device| device.ended.is_some());
        is_over.then_some(())
    });
    let all: u64 = samples.last().unwrap().devices.iter().sum();
    let stored: u64 = wanted.iter().map(|one| one.size).sum();
    assert!(all > stored, "{all} of {stored} bytes and the sidecars");
    for (at, first) in samples.iter().enumerate() {
        for last in &samples[at..] {
            let seconds = last.answered.duration_since(first.asked).as_secs_f64();
            let most = RATE_BYTES_PER_S * seconds + BESIDE_BYTES;
            for (before, after) in first.devices.iter().zip(&last.devices) {
                let read = (after - before) as f64;
                assert!(read <= most, "{read} bytes in {seconds} s");
            }
            let read = (last.by_calls - first.by_calls) as f64;
            assert!(
                read <= 2.0 * most,
                "{read} bytes of two devices in {seconds} s"
            );
        }
    }
}

/// A pass over this takes more than a minute at the least rate.
#[test]
fn a_device_that_is_taken_out_of_use_in_the_midst_of_a_pass_is_let_go() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    appliance.configure(&endpoint, |text| {
        format!("{text}[scrub]\nrate = \"1 Mbit/s\"\n")
    });
    endpoint.offer(&manifest(1, films(&endpoint, 5)));
    assert!(appliance.once().status.success());
    let agent = appliance.run();
    let device = || {
        let scrub = ask_scrub(&agent, &Request::ScrubStatus);
        let mut devices = scrub.devices.into_iter();
        devices.find(|device| device.name == "d0").unwrap()
    };
    let is_held = || agent.holds_a_column_of(&appliance.path("d0"));
    eventually("it is read", || is_held().then_some(()));
    want(&appliance, "d0", Wanted::Offline);
    eventually("it is let go", || {
        (device().state.contains("took it offline") && !is_held()).then_some(())
    });
}
