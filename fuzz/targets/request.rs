//! The head of a request: however it is cut, it is read the same.
#![no_main]

use oca_daemon::request::exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise(bytes));
