//! Sidecars: as they are, and with length and checksum put right, which chance would not find.
#![no_main]

use content_store::sidecar::Sidecar;

/// Magic and version; the length of the file follows.
const LENGTH_AT: usize = 12;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Sidecar::decode(bytes);
    if bytes.len() < LENGTH_AT + 8 {
        return;
    }
    let mut whole = bytes.to_vec();
    let length = (bytes.len() + 4) as u64;
    whole[LENGTH_AT..LENGTH_AT + 8].copy_from_slice(&length.to_le_bytes());
    let crc = crc32fast::hash(&whole);
    whole.extend_from_slice(&crc.to_le_bytes());
    if let Ok(sidecar) = Sidecar::decode(&whole) {
        let _ = sidecar.tree();
        assert_eq!(sidecar.encode(), whole);
    }
});
