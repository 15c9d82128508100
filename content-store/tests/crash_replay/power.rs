//! Power cuts: every prefix of every operation, replayed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use crate::check::{Verdict, survives, survives_without_catalog};
use crate::disk::{self, Fate, Names, Recording};
use crate::plan::{Plan, Tree, perform};
use crate::random::Random;
use crate::support::Appliance;
use crate::{driver, is_over, seed, time_box, trace};

/// A plan as it was carried out once.
pub struct Run {
    name: String,
    states: Vec<Tree>,
    recording: Recording,
}

/// A box in this folder, on which the deeds before the plan are done.
pub fn prepared(plan: &Plan, folder: &Path) -> Appliance {
    let appliance = Appliance::make_at(folder);
    let mut store = appliance.open();
    for deed in &plan.before {
        perform(&mut store, &appliance.state_dir(), deed).unwrap();
    }
    drop(store);
    appliance
}

impl Run {
    fn of(name: &str) -> Self {
        let plan = Plan::of(name);
        let folder = quick_folder();
        let appliance = prepared(&plan, folder.path());
        let start = disk::image(&appliance.folder);
        let calls = trace::record(
            &mut driver::command(&appliance.folder, name, 0),
            &appliance.folder.join("calls"),
        );
        let recording = Recording::new(&appliance.folder, start, &calls);
        let states = plan.states();
        assert_eq!(
            recording.marks(recording.cuts()),
            plan.deeds.len(),
            "{name}: all deeds are done"
        );
        Self {
            name: name.into(),
            states,
            recording,
        }
    }

    /// What may be published after a cut: what the last deed that was done has left, or the one that was being done.
    fn allowed(&self, cut: usize) -> &[Tree] {
        let done = self.recording.marks(cut);
        &self.states[done..(done + 2).min(self.states.len())]
    }

    fn try_cut(&self, cut: usize, names: Names, fate: Fate, seed: u64) {
        let image = self.recording.cut(cut, names, fate, &mut Random(seed));
        let allowed = self.allowed(cut);
        let verdict = match seed % 4 {
            0 => replay(&image, |appliance| {
                survives_without_catalog(appliance, allowed)
            }),
            _ => replay(&image, |appliance| survives(appliance, allowed)),
        };
        if let Err(words) = verdict {
            let (name, last) = (&self.name, self.recording.last(cut));
            panic!(
                "{name} cut after call {cut} ({last}), names {names:?}, rest {fate:?}, seed {seed}: {words}"
            );
        }
    }

    /// Cuts after every call, then again, so many times; gives how many cuts that were until `end`.
    fn try_all(&self, rounds: usize, random: &mut Random, end: Option<Instant>) -> usize {
        let cuts = self.recording.cuts() + 1;
        for count in 0..rounds * cuts {
            if is_over(end) {
                return count;
            }
            let names = random.one_of(&[Names::InOrder, Names::ByFolder]);
            let fate = random.one_of(&[Fate::Mixed, Fate::Mixed, Fate::Lost, Fate::Kept]);
            self.try_cut(count % cuts, names, fate, random.next());
        }
        rounds * cuts
    }
}

/// A folder in memory where there is one: a box is made there thousands of times.
pub fn quick_folder() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    }
    .unwrap()
}

fn replay(image: &disk::Image, check: impl FnOnce(&Appliance) -> Verdict) -> Verdict {
    let folder = quick_folder();
    disk::write(image, folder.path());
    check(&Appliance::at(Path::new(folder.path())))
}

fn cut_everywhere(name: &str) {
    cut_until(name, seed(), time_box());
}

/// Once each; in a long run ten times, if there is time.
fn cut_until(name: &str, seed: u64, end: Option<Instant>) {
    let run = Run::of(name);
    let rounds = if end.is_some() { 10 } else { 1 };
    let count = run.try_all(rounds, &mut Random(seed), end);
    let prefixes = run.recording.cuts() + 1;
    println!(
        "{name}: {} of {prefixes} prefixes, {count} power cuts survived",
        prefixes.min(count)
    );
}

#[test]
fn power_fails_during_a_publish() {
    cut_everywhere("publish");
}

#[test]
fn power_fails_during_a_batch() {
    cut_everywhere("batch");
}

#[test]
fn power_fails_during_an_eviction() {
    cut_everywhere("evict");
}

#[test]
fn power_fails_during_a_move() {
    cut_everywhere("move");
}

#[test]
fn power_fails_while_a_copy_is_made() {
    cut_everywhere("copy");
}

#[test]
fn power_fails_during_a_repair() {
    cut_everywhere("repair");
}

#[test]
fn power_fails_while_a_device_is_relieved() {
    cut_everywhere("relieve");
}

#[test]
fn power_fails_after_a_writer_was_killed() {
    cut_everywhere("killed");
}

#[test]
fn power_fails_while_an_object_is_resumed() {
    cut_everywhere("resume");
}

/// One history here; in a long run one after another, by two threads.
#[test]
fn power_fails_in_random_histories() {
    let end = time_box();
    let next = AtomicU64::new(seed());
    let histories = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            println!("history random-{seed}");
            cut_until(&format!("random-{seed}"), seed, end);
            if end.is_none() || is_over(end) {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        if end.is_some() {
            scope.spawn(histories);
        }
        histories();
    });
}
