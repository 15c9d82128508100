//! Any text as a list of tombstones. What can be sealed opens the same.
#![no_main]

use fuzz::{key, keys};
use protocol::manifest::{MANIFEST_VERSION, Tombstones, seal};

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    let Ok(tombstones) = serde_json::from_slice::<Tombstones>(json) else {
        return;
    };
    let Ok(sealed) = seal::seal(&tombstones, &[&key()]) else {
        return;
    };
    if tombstones.version == MANIFEST_VERSION {
        let opened = seal::open::<Tombstones>(&sealed, &keys(), &tombstones.appliance);
        assert_eq!(opened.expect("it was sealed"), tombstones);
    }
});
