//! A writer that is killed after any step leaves the old or the new state, and the next one cleans up.
//!
//! The writer runs in a child process (this test binary again) that ends at step N without unwinding. That is a killed
//! process, not a power cut: what the kernel had taken, it keeps. The order of syncs is argued in `publish.rs`.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use content_store::catalog::Snapshot;
use content_store::verify::verify;
use content_store::{ObjectId, Store, open_devices, rebuild};
use support::{Appliance, MIB, bytes, id, killed, publication, publish, tree};

/// Not a test of its own: the child of the tests below, and nothing without their environment.
#[test]
fn child_writer() {
    killed::child_writer(change);
}

fn prepare(store: &mut Store) {
    publish(store, &["/replaced"], &bytes(1, 2 * MIB + 1), "nvme");
    publish(store, &["/removed"], &bytes(2, 3000), "hdd");
    publish(store, &["/kept"], &bytes(3, 3000), "nvme");
}

/// One batch: a replaced path, a new one, one more for a stored object. Then a removal, then the unlinking.
fn change(store: &mut Store) {
    let batch = vec![
        publication(store, &["/replaced"], &bytes(4, 2 * MIB + 1), "nvme"),
        publication(store, &["/new"], &bytes(5, 3000), "hdd"),
        publication(store, &["/kept too"], &bytes(3, 3000), "nvme"),
    ];
    store.publish(batch).unwrap();
    let generation = store.remove(&["/removed"]).unwrap();
    store.reap(generation).unwrap();
}

type Tree = Vec<(String, ObjectId)>;

/// What may be seen: before, between and after the two commits.
fn states() -> [Tree; 3] {
    let path = |path: &str, seed, length| (path.to_string(), id(&bytes(seed, length)));
    let (kept, removed) = (path("/kept", 3, 3000), path("/removed", 2, 3000));
    let after = vec![
        kept.clone(),
        path("/kept too", 3, 3000),
        path("/new", 5, 3000),
        path("/replaced", 4, 2 * MIB + 1),
    ];
    let mut between = after.clone();
    between.insert(3, removed.clone());
    [
        vec![kept, removed, path("/replaced", 1, 2 * MIB + 1)],
        between,
        after,
    ]
}

/// Everything that is published can be read, and there is no other file on any device.
fn check_files(appliance: &Appliance, snapshot: &Snapshot, step: u32) {
    let slots = open_devices(&appliance.config()).unwrap();
    let mut columns = 0;
    for record in &snapshot.objects {
        let verified = verify(&slots, record, |_| ()).unwrap();
        assert!(verified.is_good(), "step {step}: {verified:?}");
        columns += verified.columns.len();
    }
    assert_eq!(
        appliance.files().len(),
        2 * columns,
        "step {step}: {:?}",
        appliance.files()
    );
}

#[test]
fn a_killed_writer_leaves_the_old_or_the_new_state() {
    let mut seen = [0; 3];
    for step in 1.. {
        let appliance = Appliance::new();
        prepare(&mut appliance.open());
        let status = killed::run(&appliance.folder, step);
        let left = appliance.snapshot();
        let state = states().iter().position(|state| *state == tree(&left));
        seen[state.unwrap_or_else(|| panic!("step {step}: {:?}", tree(&left)))] += 1;
        let mut store = appliance.open();
        assert_eq!(
            tree(&appliance.snapshot()),
            tree(&left),
            "step {step}: opening changes nothing"
        );
        let generation = store.generation().unwrap();
        store.reap(generation).unwrap();
        // what can be resumed is not wanted any more
        for resumable in store.resumable() {
            store.discard_staging(&resumable.object).unwrap();
        }
        check_files(&appliance, &appliance.snapshot(), step);
        drop(store);
        rebuild(&appliance.config(), 0, |_| ()).unwrap();
        assert_eq!(
            tree(&appliance.snapshot()),
            tree(&left),
            "step {step}: the sidecars know it too"
        );
        if status.success() {
            break;
        }
        // and the work can be done again
        let mut store = appliance.open();
        if state < Some(2) {
            change(&mut store);
        }
        let generation = store.generation().unwrap();
        store.reap(generation).unwrap();
        assert_eq!(tree(&appliance.snapshot()), states()[2], "step {step}");
        check_files(&appliance, &appliance.snapshot(), step);
    }
    assert!(seen.iter().all(|count| *count > 2), "{seen:?}");
}

/// Even if the catalog is lost at that moment too, each path has its old or its new object.
#[test]
fn a_killed_writer_and_a_lost_catalog_leave_each_path_old_or_new() {
    let states = states();
    for step in 1.. {
        let appliance = Appliance::new();
        prepare(&mut appliance.open());
        let status = killed::run(&appliance.folder, step);
        std::fs::remove_dir_all(appliance.state_dir()).unwrap();
        let report = rebuild(&appliance.config(), 0, |_| ()).unwrap();
        let found = tree(&appliance.snapshot());
        let known = |path: &(String, ObjectId)| states.iter().any(|state| state.contains(path));
        assert!(found.iter().all(known), "step {step}: {found:?}");
        let whole = |path: &str| found.iter().any(|(found, _)| found == path);
        let unfinished = |path: &str| {
            report
                .incomplete
                .iter()
                .any(|object| object.paths.iter().any(|at| &**at == path))
        };
        assert!(
            whole("/kept") && (whole("/replaced") || unfinished("/replaced")),
            "step {step}: {found:?}"
        );
        if status.success() {
            break;
        }
    }
}
