//! Calls that fail: each one that the store makes, once with an error of the disk and once with a full one.

use std::collections::BTreeMap;

use tempfile::TempDir;

use crate::check::{is_sound, published};
use crate::disk::{self, Image};
use crate::plan::{Plan, Tree};
use crate::power::{prepared, quick_folder};
use crate::random::Random;
use crate::support::Appliance;
use crate::{driver, is_over, seed, time_box, trace};

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

/// A plan that is carried out again and again, each time on the same box.
struct Rehearsal {
    plan: &'static str,
    folder: TempDir,
    start: Image,
    last: Tree,
}

impl Rehearsal {
    fn of(plan: &'static str) -> Self {
        let (folder, script) = (quick_folder(), Plan::of(plan));
        let start = disk::image(&prepared(&script, folder.path()).folder);
        Self {
            plan,
            folder,
            start,
            last: script.states().pop().unwrap(),
        }
    }

    /// The box as it was before.
    fn fresh(&self) -> Appliance {
        std::fs::remove_dir_all(self.folder.path()).unwrap();
        std::fs::create_dir(self.folder.path()).unwrap();
        disk::write(&self.start, self.folder.path());
        Appliance::at(self.folder.path())
    }

    /// All faults that it can meet.
    fn faults(&self) -> Vec<Fault> {
        let names = FAULTS.map(|(name, _)| name);
        let folder = self.fresh().folder;
        let mut command = driver::command(&folder, self.plan, 0);
        let calls = trace::count(&mut command, &names, &folder.join("calls"));
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
            let asks_for = |mark: &str| name == "statx" && call.text(1).ends_with(mark.as_bytes());
            if asks_for(driver::END) {
                break;
            }
            // Of the driver, not of the store: what it notes, and the words of one that dies.
            let is_own =
                name == "write" && (call.text(1).starts_with(b"done ") || call.number(0) < 3);
            if has_begun && !is_own {
                faults.extend(errors.iter().map(|error| Fault {
                    call: name,
                    number: *number,
                    error,
                }));
            }
            has_begun |= asks_for(driver::BEGIN);
        }
        faults
    }

    /// The plan is carried out all the same, and whoever is told of the fault is told where it was.
    fn survives(&self, fault: &Fault) -> Result<(), String> {
        let appliance = self.fresh();
        let Fault {
            call,
            number,
            error,
        } = fault;
        let inject = format!("inject={call}:error={error}:when={number}");
        let only = format!("trace={call}");
        let command = driver::command(&appliance.folder, self.plan, 3);
        let calls = appliance.folder.join("calls");
        let options = ["-y", "-e", &only, "-e", &inject];
        let output = trace::strace(&command, &options, &calls).output().unwrap();
        let calls = std::fs::read_to_string(calls).unwrap();
        let mut calls = calls.lines();
        let failed = calls.rfind(|line| line.ends_with("(INJECTED)"));
        let failed = failed.unwrap_or("no such call");
        let log = String::from_utf8_lossy(&output.stdout);
        let marks = std::fs::read_to_string(appliance.folder.join("marks")).unwrap();
        let wrong = |words: &str| Err(format!("{words}\n{failed}\n{marks}{log}"));
        if !output.status.success() {
            return wrong(&String::from_utf8_lossy(&output.stderr));
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
            return wrong(line);
        }
        let is_told = marks.contains("failed") || log.contains(&place);
        if changes_files(call, failed) && !is_told {
            return wrong("nobody was told");
        }
        match published(&appliance) {
            Ok((tree, _)) if tree == self.last => {}
            Ok((tree, _)) => return wrong(&format!("{tree:?} instead of {:?}", self.last)),
            Err(words) => return wrong(&words),
        }
        is_sound(&appliance, &self.last).or_else(|words| wrong(&words))
    }
}

/// What could not be read is looked at again, or a device counts as away meanwhile. What could not be written must be told of, whatever is
/// done instead. Files that should have gone go with the next writer.
fn changes_files(call: &str, failed: &str) -> bool {
    match call {
        "openat" => ["O_WRONLY", "O_RDWR"]
            .iter()
            .any(|mode| failed.contains(mode)),
        "read" | "pread64" | "statx" | "getdents64" | "statfs" | "flock" | "unlink" => false,
        _ => true,
    }
}

/// As many of the plan's faults as are asked for; in a long run all, if there is time.
fn fail_everywhere(plan: &'static str, count: usize) {
    let end = time_box();
    let mut random = Random(seed());
    let rehearsal = Rehearsal::of(plan);
    let mut faults = rehearsal.faults();
    let all = faults.len();
    let rest = if end.is_some() {
        0
    } else {
        all - count.min(all)
    };
    let mut wrong = Vec::new();
    while faults.len() > rest && !is_over(end) {
        let fault = faults.swap_remove(random.below(faults.len() as u64) as usize);
        if let Err(words) = rehearsal.survives(&fault) {
            wrong.push(format!("{fault:?}: {words}"));
        }
    }
    println!(
        "{plan}: {} of {all} faults injected, {} not survived",
        all - faults.len(),
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
