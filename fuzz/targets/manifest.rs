//! Any text as a manifest. What is accepted can be sealed, and opens the same.
#![no_main]

use fuzz::{key, keys};
use protocol::manifest::{MANIFEST_VERSION, Manifest, seal};

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(json) else {
        return;
    };
    if manifest.check().is_ok() && manifest.version == MANIFEST_VERSION {
        let sealed = seal::seal(&manifest, &[&key()]).expect("it was checked");
        let opened = seal::open::<Manifest>(&sealed, &keys(), &manifest.appliance);
        assert_eq!(opened.expect("it was sealed"), manifest);
    }
});
