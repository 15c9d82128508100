//! Calls that fail: each one that the store makes, once with an error of the disk and once with a full one.

use std::collections::BTreeMap;

use crate::check::is_sound;
use crate::plan::Plan;
use crate::power::prepared;
use crate::random::Random;
use crate::{driver, seed, time_box, trace};

/// What can fail, and how.
const FAULTS: [(&str, &[&str]); 17] = [
    ("openat", &["EIO", "ENOSPC"]),
    ("read", &["EIO"]),
    ("pread64", &["EIO"]),
    ("write", &["EIO", "ENOSPC"]),
    ("pwrite64", &["EIO", "ENOSPC"]),
    ("pwritev", &["EIO", "ENOSPC"]),
    ("ftruncate", &["EIO", "ENOSPC"]),
    ("fallocate", &["EIO", "ENOSPC"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("fdatasync", &["EIO", "ENOSPC"]),
    ("rename", &["EIO", "ENOSPC"]),
    ("unlink", &["EIO"]),
    ("mkdir", &["EIO", "ENOSPC"]),
    ("statx", &["EIO"]),
    ("getdents64", &["EIO"]),
    ("flock", &["EIO"]),
    ("statfs", &["EIO"]),
];

/// A call of the driver that is to fail.
#[derive(Clone, Debug)]
struct Fault {
    call: &'static str,
    /// Which of the calls of that name that a thread makes, from 1.
    number: usize,
    error: &'static str,
}

/// All faults that a plan can meet.
fn faults(plan: &str) -> Vec<Fault> {
    let appliance = prepared(&Plan::of(plan));
    let names = FAULTS.map(|(name, _)| name);
    let file = appliance.folder.join("calls");
    let calls = trace::count(
        &mut driver::command(&appliance.folder, plan, 0),
        &names,
        &file,
    );
    let mut by_thread: BTreeMap<u32, usize> = BTreeMap::new();
    for call in &calls {
        *by_thread.entry(call.thread).or_default() += 1;
    }
    let (writer, _) = by_thread
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .unwrap();
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut has_begun = false;
    for call in calls.iter().filter(|call| call.thread == writer) {
        let (name, errors) = FAULTS
            .into_iter()
            .find(|(name, _)| *name == call.name)
            .unwrap();
        let number = numbers.entry(name).or_default();
        *number += 1;
        let is_mark = name == "write" && call.text(1).starts_with(b"done ");
        if has_begun && !is_mark {
            faults.extend(errors.iter().map(|error| Fault {
                call: name,
                number: *number,
                error,
            }));
        }
        has_begun |= name == "statx" && call.text(1).ends_with(driver::BEGIN.as_bytes());
    }
    faults
}

/// The plan is carried out all the same, and whoever is told of the fault is told where it was.
fn survives(plan: &str, fault: &Fault) -> Result<(), String> {
    let appliance = prepared(&Plan::of(plan));
    let Fault {
        call,
        number,
        error,
    } = fault;
    let inject = format!("inject={call}:error={error}:when={number}");
    let only = format!("trace={call}");
    let command = driver::command(&appliance.folder, plan, 3);
    let mut strace = trace::strace(
        &command,
        &["-e", &only, "-e", &inject],
        &appliance.folder.join("calls"),
    );
    let output = strace.output().unwrap();
    let marks = std::fs::read_to_string(appliance.folder.join("marks")).unwrap();
    if !output.status.success() {
        return Err(format!(
            "it ended: {}{}\n{marks}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let place = appliance.folder.display().to_string();
    let silent = |line: &&str| {
        // A column that cannot be looked at is as good as lost; the log says so.
        let is_said = line.contains(&place) || line.contains("is not stored");
        // The catalog is opened again before anybody meets that.
        let is_broken = line.contains("an earlier commit failed");
        line.starts_with("gave up") || is_broken || line.starts_with("failed") && !is_said
    };
    if let Some(line) = marks.lines().find(silent) {
        return Err(format!("{line}\n{marks}"));
    }
    let states = Plan::of(plan).states();
    let (tree, _) =
        crate::check::published(&appliance).map_err(|words| format!("{words}\n{marks}"))?;
    let last = states.last().unwrap();
    if tree != *last {
        return Err(format!("{tree:?} instead of {last:?}\n{marks}"));
    }
    is_sound(&appliance, last).map_err(|words| format!("{words}\n{marks}"))
}

/// As many of the plan's faults as are asked for; all, in a long run.
fn fail_everywhere(plan: &str, count: usize) {
    let mut random = Random(seed());
    let mut faults = faults(plan);
    let all = faults.len();
    if time_box().is_none() {
        while faults.len() > count {
            faults.swap_remove(random.below(faults.len() as u64) as usize);
        }
    }
    let mut wrong = Vec::new();
    for fault in &faults {
        if let Err(words) = survives(plan, fault) {
            wrong.push(format!("{fault:?}: {words}"));
        }
    }
    println!(
        "{plan}: {} of {all} faults injected, {} not survived",
        faults.len(),
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{plan}, seed {}:\n{}",
        seed(),
        wrong.join("\n")
    );
}

#[test]
fn calls_fail_during_a_batch() {
    fail_everywhere("batch", 24);
}

#[test]
fn calls_fail_during_an_eviction() {
    fail_everywhere("evict", 16);
}

#[test]
fn calls_fail_during_a_move() {
    fail_everywhere("move", 16);
}

#[test]
fn calls_fail_while_a_copy_is_made() {
    fail_everywhere("copy", 16);
}

#[test]
fn calls_fail_during_a_repair() {
    fail_everywhere("repair", 16);
}

#[test]
fn calls_fail_while_a_device_is_relieved() {
    fail_everywhere("relieve", 16);
}

#[test]
fn calls_fail_after_a_writer_was_killed() {
    fail_everywhere("killed", 16);
}

#[test]
fn calls_fail_while_an_object_is_resumed() {
    fail_everywhere("resume", 16);
}
