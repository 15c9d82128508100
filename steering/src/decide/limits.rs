//! Every number by which steering decides.

use std::time::Duration;

/// A report counts for this long: four of them are sent meanwhile.
pub const REPORT_COUNTS: Duration = Duration::from_secs(40);

/// Appliances whose last reports came within this time of each other have gone silent together.
pub const TOGETHER: Duration = Duration::from_secs(20);

/// More than this percent of a site's reports that end together are an accident of whoever collects them.
pub const TOGETHER_OF_SITE_PERCENT: usize = 30;

/// More than this percent of all reports, likewise.
pub const TOGETHER_OF_ALL_PERCENT: usize = 20;

/// So long the last states hold then, and after a start.
pub const HOLD: Duration = Duration::from_secs(3600);

/// An appliance that has been silent for longer is no part of the fleet when capacity is counted.
pub const GONE: Duration = Duration::from_secs(86_400);

/// With less than this percent of the fleet's capacity well, health is ignored.
pub const PANIC_PERCENT: u128 = 50;

/// A drain that was granted counts as begun for this long; by then reports say so themselves.
pub const LEASE: Duration = Duration::from_secs(60);

/// The part of the last report in the load that decides: a single sample weighs half.
pub const LOAD_SMOOTHING: f64 = 0.5;

/// Below this part of its capacity, load does not change the weight of an appliance.
pub const WEIGHT_FALLS_FROM: f64 = 0.5;

/// What is left of the weight of an appliance that is full: some viewers still come, so it is never switched off.
pub const WEIGHT_LEAST: f64 = 0.05;

/// From this part of its capacity on a group gives viewers away ..
pub const OVERFLOW_BEGINS: f64 = 0.85;

/// .. and here all of them.
pub const OVERFLOW_COMPLETE: f64 = 1.0;

/// For an appliance that does not say what it can send, bits per second.
pub const UNKNOWN_CAPACITY: u64 = 10_000_000_000;

/// Distances that differ by less are equal: sites of one city share their viewers.
pub const DISTANCE_STEP_KM: f64 = 100.0;

/// Appliances of one fleet: each costs some hundred bytes, and nanoseconds in the decisions that concern it.
pub const MEMBERS_MAX: usize = 10_000;

/// How long a viewer's player may use an answer, in seconds, where nothing else is configured.
pub const TTL_S: u32 = 300;

/// By how much of it answers differ, so that players do not all come at once.
pub const TTL_SPREAD_PERCENT: u32 = 20;

/// While an appliance of the answer is leaving.
pub const TTL_LEAVING_S: u32 = 10;

/// The longest that an answer may be used, with all of the spread: a drain waits for it before it refuses viewers.
#[must_use]
pub const fn ttl_longest(ttl_s: u32) -> Duration {
    Duration::from_secs((ttl_s + ttl_s * TTL_SPREAD_PERCENT / 100) as u64)
}

const _: () = assert!(OVERFLOW_BEGINS < OVERFLOW_COMPLETE && WEIGHT_FALLS_FROM < 1.0);
const _: () = assert!(TOGETHER.as_secs() < REPORT_COUNTS.as_secs());
const _: () = assert!(MEMBERS_MAX <= u16::MAX as usize);
