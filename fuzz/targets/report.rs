//! What an appliance posts to its control endpoint.
#![no_main]

use protocol::control::Report;

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    if let Ok(report) = serde_json::from_slice::<Report>(json) {
        let text = serde_json::to_vec(&report).expect("what was read can be written");
        let mut again: Report =
            serde_json::from_slice(&text).expect("what was written can be read");
        // Passed on unread, and a fraction in it may lose its last bit.
        again.steering.clone_from(&report.steering);
        assert_eq!(report, again);
    }
});
