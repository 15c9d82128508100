//! Any bytes as the packed part of a document whose signature is good.
#![no_main]

use fuzz::{APPLIANCE, keys, signed};
use protocol::manifest::{Tombstones, seal};

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    let _ = seal::open::<Tombstones>(&signed("tombstones", frame), &keys(), APPLIANCE);
});
