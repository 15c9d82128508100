//! The whole connection machine: requests cut anywhere, sends taken in part, reads that come back whenever, a peer that leaves.
#![no_main]

use std::cell::RefCell;

#[path = "../../oca-daemon/tests/support/machine/mod.rs"]
mod machine;
#[path = "../../oca-daemon/tests/support/publish.rs"]
mod publish;

use machine::{Bench, exercise};

thread_local! {
    /// Small, so that an input with many requests does not send for seconds; and more than one read.
    static BENCH: RefCell<Bench> =
        RefCell::new(Bench::new(&[("/a", &[0x5A; 270_000]), ("/small", b"0123456789")]));
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // As much as a connection takes while it answers.
    if data.len() < 12 * 1024 {
        BENCH.with_borrow_mut(|bench| exercise(bench, data));
    }
});
