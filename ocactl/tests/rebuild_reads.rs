//! `ocactl catalog rebuild` after the loss of `state_dir`: everything is as before, and no column is read for it.

mod appliance;

use std::path::Path;
use std::process::Command;

use appliance::{Appliance, Said, text};

/// What a command read and hashed: bytes it got from files whose name ends as told.
fn bytes_read(trace: &Path, end: &str) -> u64 {
    let text = std::fs::read_to_string(trace).expect("strace wrote it");
    let of = text.lines().filter(|line| {
        let reads = ["read(", "pread64(", "readv(", "preadv(", "mmap("];
        reads.iter().any(|call| line.contains(call)) && line.contains(&format!("{end}>"))
    });
    of.map(|line| {
        let result = line.rsplit(" = ").next().unwrap_or_default();
        // A mapping counts as well: its result is an address.
        result.trim().parse().unwrap_or(u64::MAX)
    })
    .fold(0, u64::saturating_add)
}

fn traced(appliance: &Appliance, arguments: &[&str]) -> (Said, std::path::PathBuf) {
    let trace = appliance.path("calls");
    let output = Command::new("strace")
        .args(["-f", "-y", "-s", "0", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_ocactl"))
        .arg("--config")
        .arg(appliance.path("oca.toml"))
        .args(arguments)
        .output()
        .expect("strace is installed");
    (Said::of(&output), trace)
}

fn listing(appliance: &Appliance) -> serde_json::Value {
    let (code, mut listing) = appliance.json(&["content", "ls"]);
    assert_eq!(code, 0);
    listing["paths"].take()
}

fn stats(appliance: &Appliance) -> Vec<serde_json::Value> {
    let paths = appliance.published();
    let stat = |path: &String| {
        let (code, mut stat) = appliance.json(&["content", "stat", path]);
        assert_eq!(code, 0);
        stat["generation"].take();
        stat
    };
    paths.iter().map(stat).collect()
}

#[test]
fn a_lost_state_dir_is_made_anew_without_reading_a_column() {
    let appliance = Appliance::new();
    let mut bytes = 0;
    for number in 0..12_u8 {
        let content = vec![number; 300_000 * usize::from(number + 1)];
        bytes += content.len() as u64;
        appliance.media(&format!("t{}/{number}.mp4", number % 3), &content);
    }
    appliance.media("t0/main.m3u8", b"#EXTM3U");
    appliance.media("empty.mpd", b"");
    appliance.import_media().done();
    let (before, stats_before) = (listing(&appliance), stats(&appliance));
    assert_eq!(before.as_array().expect("a list").len(), 14);

    std::fs::remove_dir_all(appliance.path("state")).expect("removed");
    appliance
        .run(&["content", "ls"])
        .failed(1, "ocactl catalog rebuild");
    let refused = appliance.import_media().failed(1, "ocactl catalog rebuild");
    assert!(!refused.err.contains("panicked"), "{refused:?}");

    let (said, trace) = traced(&appliance, &["catalog", "rebuild"]);
    said.done();
    assert!(bytes_read(&trace, ".meta") > 1000, "sidecars are read");
    assert_eq!(bytes_read(&trace, ".col"), 0, "of {bytes} bytes of columns");

    assert_eq!(listing(&appliance), before);
    assert_eq!(stats(&appliance), stats_before);
    appliance.run(&["content", "verify"]).done();
    appliance.run(&["catalog", "check"]).done();

    // The next import hashes the files, since it cannot know them otherwise, and writes none of them again.
    let columns = appliance.columns();
    let made = |path: &std::path::PathBuf| {
        std::fs::metadata(path)
            .and_then(|file| file.modified())
            .expect("a column")
    };
    let times: Vec<_> = columns.iter().map(made).collect();
    let dir = appliance.path("media");
    let (said, trace) = traced(&appliance, &["content", "import", text(&dir)]);
    let said = said.done();
    assert!(said.out.contains("unchanged 14 files"), "{said:?}");
    assert_eq!(bytes_read(&trace, ".col"), 0);
    assert_eq!(appliance.columns(), columns);
    assert_eq!(columns.iter().map(made).collect::<Vec<_>>(), times);
}
