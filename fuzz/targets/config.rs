//! The configuration file. What is wrong with it is said with a line that it has.
#![no_main]

use std::path::Path;

use protocol::config;
use protocol::paths::Paths;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(error) = config::parse(text, Path::new("oca.toml"), Paths::here()) {
        assert!(!error.problems().is_empty() && !error.to_string().is_empty());
    }
});
