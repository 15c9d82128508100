//! What smartctl prints of a disk: a disk that is read can be passed on, and shown as it is.
#![no_main]

use protocol::smart::Disk;

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    let Ok(disk) = Disk::read(json) else {
        return;
    };
    let text = serde_json::to_vec(&disk).expect("what was read can be written");
    fuzz::same_again::<Disk>(&text);
    let words = [&disk.name, &disk.model].into_iter().chain(&disk.warnings);
    for word in words {
        // Of the disk's firmware, and of whoever writes the file: a line of a log, of `/healthz`, of a terminal.
        assert!(!word.chars().any(char::is_control), "{word:?}");
    }
    assert!(!disk.name.is_empty() && text.len() < 16 * 1024);
    assert!(disk.is(&disk.name));
});
