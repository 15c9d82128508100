//! `ocactl content import` is killed at a hundred moments: what is published is what was before or what was to come, every byte
//! of it right, and the next import leaves nothing behind.

mod appliance;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use appliance::{Appliance, text};
use content_store::chunk_tree::ChunkTree;

const KILLS: u32 = 100;
const FILES: u64 = 24;
const SEED: u64 = 0x1B0A_7F11;

/// The next number of a seeded row.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
}

/// Small to medium; most are new in each version, some stay.
fn file(number: u64, version: u64) -> Vec<u8> {
    let version = if number.is_multiple_of(4) { 0 } else { version };
    let length = [700, 40_000, 200_000, 700_000, 1_300_000][(number % 5) as usize];
    let mut bytes = vec![number as u8; length];
    for (place, block) in bytes.chunks_mut(512).enumerate() {
        block[..8].copy_from_slice(&(version << 32 | place as u64).to_le_bytes());
    }
    bytes
}

/// Writes a version of all files, and says which object each path leads to once it is published.
fn write(appliance: &Appliance, version: u64) -> BTreeMap<String, String> {
    let one = |number| {
        let (name, bytes) = (format!("{number}.mp4"), file(number, version));
        appliance.media(&name, &bytes);
        (
            format!("/{name}"),
            ChunkTree::of(&bytes).object().to_string(),
        )
    };
    (0..FILES).map(one).collect()
}

/// What `content ls` says.
fn published(appliance: &Appliance) -> BTreeMap<String, String> {
    let (code, listing) = appliance.json(&["content", "ls"]);
    assert_eq!(code, 0, "{listing}");
    let paths = listing["paths"].as_array().expect("a list");
    let text = |path: &serde_json::Value, key: &str| path[key].as_str().expect("a text").to_owned();
    paths
        .iter()
        .map(|path| (text(path, "path"), text(path, "object")))
        .collect()
}

fn start_import(appliance: &Appliance) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ocactl"))
        .arg("--config")
        .arg(appliance.path("oca.toml"))
        .args(["content", "import", text(&appliance.path("media"))])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// Kills the import `after` its start; says whether it was still at work.
fn kill(mut import: Child, after: Duration) -> bool {
    let begun = Instant::now();
    while let Some(left) = after.checked_sub(begun.elapsed()) {
        std::thread::park_timeout(left);
    }
    let at_work = import.try_wait().expect("a child").is_none();
    import.kill().expect("killed");
    import.wait().expect("reaped");
    at_work
}

const DEVICES: [&str; 4] = ["nvme0", "nvme1", "hdd0", "hdd1"];

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn files(appliance: &Appliance, folder: &str) -> Vec<PathBuf> {
    let devices = DEVICES.iter();
    devices
        .flat_map(|device| files_below(&appliance.path(device).join(folder)))
        .collect()
}

/// Nothing half-written, and no file of an object that nobody knows.
fn assert_tidy(appliance: &Appliance, expected: &BTreeMap<String, String>) {
    let left = files(appliance, "staging");
    assert!(left.is_empty(), "{left:?}");
    let known: BTreeSet<&str> = expected.values().map(String::as_str).collect();
    let stems: BTreeSet<String> = files(appliance, "objects")
        .iter()
        .map(|file| {
            file.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(
        stems.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        known,
        "the files under objects/ are those of what is published"
    );
}

#[test]
fn a_killed_import_leaves_the_old_or_the_new_state() {
    let appliance = Appliance::in_memory();
    let mut before = write(&appliance, 1);
    let begun = Instant::now();
    appliance.import_media().done();
    let mut duration = begun.elapsed();
    let (mut seed, mut at_work, mut left_old) = (SEED, 0, 0);
    eprintln!("seed {SEED:#x}, an import takes {duration:?}");
    for round in 0..KILLS {
        let after_kill = write(&appliance, u64::from(round) + 2);
        let part = random(&mut seed) % 1000;
        let moment = duration.mul_f64(part as f64 / 1000.0);
        at_work += u32::from(kill(start_import(&appliance), moment));
        appliance.wait_for_writer();
        let found = published(&appliance);
        assert!(
            found == before || found == after_kill,
            "kill {round} after {moment:?}: neither old nor new"
        );
        left_old += u32::from(found == before);
        appliance.run(&["content", "verify"]).done();
        let begun = Instant::now();
        appliance.import_media().done();
        duration = (duration + begun.elapsed()) / 2;
        assert_eq!(published(&appliance), after_kill);
        assert_tidy(&appliance, &after_kill);
        before = after_kill;
    }
    appliance.run(&["content", "verify"]).done();
    appliance.run(&["catalog", "check"]).done();
    eprintln!("{at_work} of {KILLS} were at work when killed, {left_old} left the old state");
    assert!(at_work > KILLS / 2, "the moments are those of an import");
}
