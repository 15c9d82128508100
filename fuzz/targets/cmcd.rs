//! CMCD of a query and of a field: both read the same, and what was read can be logged in a bounded line.
#![no_main]

use oca_daemon::cmcd::exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise(bytes));
