//! What a power cut, a disk that fails and a disk that is full can do to the store: everything that they can do is done to it.
//!
//! A program (this binary again) works on a box under `strace`, which writes down every call with its bytes. From that a model of the file
//! system makes the states that a power cut can leave: after every call, with what was not synced kept, lost, torn or reordered. Then
//! every call is made to fail. The box must come out of each of it with the old or the new content, every byte right, nothing left
//! over, and usable.
//!
//! Bounded here; `scripts/reliability.sh` goes on for as long as it is told, from a seed that it prints.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]
#![allow(unreachable_pub, reason = "shared by the files of this test")]

mod check;
mod disk;
mod driver;
mod faults;
mod full;
mod plan;
mod power;
mod random;
mod reserve;
#[path = "../support/mod.rs"]
mod support;
mod trace;

use std::time::{Duration, Instant};

/// Not a test of its own: the program that the tests below watch, and nothing without their environment.
#[test]
fn driver() {
    driver::run();
}

/// The same, on a file system that it fills.
#[test]
fn full_driver() {
    full::run();
}

/// The same, down to what is kept back.
#[test]
fn reserve_driver() {
    reserve::run();
}

/// The same, down to the files that are kept back.
#[test]
fn files_driver() {
    reserve::run_short_of_files();
}

/// When a test of a long run ends that begins now. Without it, a run is bounded otherwise.
fn time_box() -> Option<Instant> {
    let seconds = std::env::var("OCA_CRASH_SECONDS").ok()?;
    Some(Instant::now() + Duration::from_secs(seconds.parse().unwrap()))
}

fn is_over(end: Option<Instant>) -> bool {
    end.is_some_and(|end| Instant::now() > end)
}

/// The first seed of a run.
fn seed() -> u64 {
    std::env::var("OCA_CRASH_SEED").map_or(1, |seed| seed.parse().unwrap())
}
