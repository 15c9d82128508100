//! Any bytes where a sealed document is expected.
#![no_main]

use fuzz::{APPLIANCE, keys};
use protocol::manifest::{Manifest, Tombstones, seal};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = seal::open::<Manifest>(bytes, &keys(), APPLIANCE);
    let _ = seal::open::<Tombstones>(bytes, &keys(), APPLIANCE);
});
