//! What a control endpoint answers to a report, and how it refuses.
#![no_main]

use fuzz::same_again;
use protocol::control::{Answer, Problem};

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    same_again::<Answer>(json);
    same_again::<Problem>(json);
});
