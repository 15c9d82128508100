//! The identity file of a device, read as the programs read it.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use content_store::device;

static DEVICE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("oca-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    folder
});

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let file = DEVICE.join(device::IDENTITY_FILE);
    // Not written over: ext4 brings a file that was cut and written again to the disk at once.
    let _ = std::fs::remove_file(&file);
    std::fs::write(&file, text).expect("room for a small file");
    if let Err(problem) = device::open(&DEVICE) {
        assert!(!problem.to_string().is_empty());
    }
});
