//! Moving objects between tiers: killed after any step, each is in its old or in its new place, under its paths and whole; what was
//! copied is not copied again.
//!
//! The writer runs in a child process, as in `crash.rs`.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::process::ExitStatus;
use std::sync::LazyLock;

use content_store::catalog::{ObjectRecord, Snapshot};
use content_store::verify::verify;
use content_store::{
    Content, ObjectId, Publication, Stage, Store, StoreError, open_devices, rebuild,
};
use support::{Appliance, MIB, bytes, id, killed, path, publish, tree};

static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| bytes(1, 2 * MIB + 70_000));
static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| bytes(2, 3000));

/// The large one on two hot devices, the small one on that of capacity.
fn prepare(store: &mut Store) {
    publish(store, &["/large", "/large too"], &LARGE, "nvme");
    publish(store, &["/small"], &SMALL, "hdd");
    publish(store, &["/kept"], &bytes(3, 3000), "nvme");
}

/// Copies an object, or the rest of it, to a tier; how many bytes that took.
fn copy(store: &Store, object: ObjectId, tier: &str) -> (Content, u64) {
    match store.restage(&object, tier).unwrap() {
        Stage::Stored(object) => (Content::Stored(object), 0),
        Stage::Write(mut staging) => {
            let reader = store.reader(&object).unwrap();
            let begun = staging.written();
            staging
                .copy_from(reader.starting_at(begun), |_| ())
                .unwrap();
            let copied = staging.written() - begun;
            (Content::Moved(staging.seal().unwrap()), copied)
        }
    }
}

/// Both change places, and the small one gets another path. How many bytes that took.
fn change(store: &mut Store) -> u64 {
    let (large, of_large) = copy(store, id(&LARGE), "hdd");
    let (small, of_small) = copy(store, id(&SMALL), "nvme");
    let mut batch = vec![Publication {
        content: small,
        paths: vec![path("/small too")],
    }];
    // Moved by a writer that was killed after it had committed.
    if matches!(large, Content::Moved(_)) {
        batch.push(Publication {
            content: large,
            paths: Vec::new(),
        });
    }
    store.publish(batch).unwrap();
    of_large + of_small
}

fn reap(store: &mut Store) {
    let generation = store.generation().unwrap();
    store.reap(generation).unwrap();
}

/// Not a test of its own: the child of the tests below, and nothing without their environment.
#[test]
fn child_writer() {
    killed::child_writer(|store| {
        change(store);
        reap(store);
    });
}

/// A box whose writer has ended at a step.
fn killed_at(step: u32) -> (Appliance, ExitStatus) {
    let appliance = Appliance::new();
    prepare(&mut appliance.open());
    let status = killed::run(&appliance.folder, step);
    (appliance, status)
}

fn record<'a>(snapshot: &'a Snapshot, object: &[u8]) -> &'a ObjectRecord {
    let mut objects = snapshot.objects.iter();
    objects.find(|one| one.object == id(object)).unwrap()
}

/// Whether the objects are in their new places: both, or none of them.
fn has_moved(snapshot: &Snapshot, step: u32) -> bool {
    let tiers = |bytes: &[u8]| -> Vec<String> {
        let copies = record(snapshot, bytes).copies.iter();
        copies.map(|copy| copy.tier.to_string()).collect()
    };
    let (large, small) = (tiers(&LARGE), tiers(&SMALL));
    let has_moved = large == ["hdd"];
    let (expected, other) = if has_moved {
        ("hdd", "nvme")
    } else {
        ("nvme", "hdd")
    };
    assert_eq!(
        (large, small),
        (vec![expected.into()], vec![other.into()]),
        "step {step}"
    );
    has_moved
}

/// Before and after.
fn trees() -> [Vec<(String, ObjectId)>; 2] {
    let at = |path: &str, object: ObjectId| (path.to_string(), object);
    let (large, small) = (id(&LARGE), id(&SMALL));
    let before = vec![
        at("/kept", id(&bytes(3, 3000))),
        at("/large", large),
        at("/large too", large),
        at("/small", small),
    ];
    let after = [&before[..], &[at("/small too", small)]].concat();
    [before, after]
}

/// Every byte of every object is right; how many columns they have.
fn verified(appliance: &Appliance, step: u32) -> usize {
    let slots = open_devices(&appliance.config()).unwrap();
    let objects = appliance.snapshot().objects;
    assert_eq!(objects.len(), 3, "step {step}");
    let columns = objects.iter().map(|record| {
        let verified = verify(&slots, record, |_| ()).unwrap();
        assert!(verified.is_good(), "step {step}: {verified:?}");
        verified.columns.len()
    });
    columns.sum()
}

/// All is published where and as it shall be.
fn check_places(appliance: &Appliance, step: u32) {
    let snapshot = appliance.snapshot();
    assert!(has_moved(&snapshot, step));
    assert_eq!(tree(&snapshot), trees()[1], "step {step}");
}

/// The same, and there is no other file on any device.
fn check_end(appliance: &Appliance, step: u32) {
    check_places(appliance, step);
    let columns = verified(appliance, step);
    let files = appliance.files();
    assert_eq!(files.len(), 2 * columns, "step {step}: {files:?}");
}

#[test]
fn a_killed_move_leaves_the_old_or_the_new_place_and_is_gone_on_with() {
    let whole = (LARGE.len() + SMALL.len()) as u64;
    let mut seen = [0; 2];
    for step in 1.. {
        let (appliance, status) = killed_at(step);
        let left = appliance.snapshot();
        let moved = has_moved(&left, step);
        assert_eq!(tree(&left), trees()[usize::from(moved)], "step {step}");
        seen[usize::from(moved)] += 1;
        verified(&appliance, step);
        let mut store = appliance.open();
        assert_eq!(tree(&appliance.snapshot()), tree(&left), "step {step}");
        verified(&appliance, step);
        let written: u64 = store.resumable().iter().map(|one| one.written).sum();
        let copied = change(&mut store);
        assert_eq!(
            copied,
            if moved { 0 } else { whole - written },
            "step {step}"
        );
        reap(&mut store);
        check_end(&appliance, step);
        if status.success() {
            break;
        }
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

/// The sidecars alone lead to every object under its paths; the move can be done again.
#[test]
fn a_killed_move_and_a_lost_catalog_leave_every_object_published() {
    for step in 1.. {
        let (appliance, status) = killed_at(step);
        std::fs::remove_dir_all(appliance.state_dir()).unwrap();
        rebuild(&appliance.config(), 0, |_| ()).unwrap();
        let found = tree(&appliance.snapshot());
        assert!(trees().contains(&found), "step {step}: {found:?}");
        verified(&appliance, step);
        let mut store = appliance.open();
        change(&mut store);
        reap(&mut store);
        // What was being unlinked may leave a sidecar without its column, which a rebuild names and leaves alone.
        check_places(&appliance, step);
        verified(&appliance, step);
        if status.success() {
            break;
        }
    }
}

#[test]
fn readers_of_the_old_place_keep_it_until_they_are_done() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    prepare(&mut store);
    let before = appliance.snapshot();
    change(&mut store);
    let slots = open_devices(&appliance.config()).unwrap();
    let old = record(&before, &LARGE);
    store.reap(before.generation).unwrap();
    assert!(verify(&slots, old, |_| ()).unwrap().is_good());
    reap(&mut store);
    assert!(!verify(&slots, old, |_| ()).unwrap().is_good());
    check_end(&appliance, 0);
}

#[test]
fn only_what_is_published_and_elsewhere_is_moved() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    prepare(&mut store);
    let (large, unknown) = (id(&LARGE), id(&bytes(9, 9)));
    assert!(matches!(store.restage(&large, "nvme"), Ok(Stage::Stored(object)) if object == large));
    assert!(matches!(
        store.restage(&unknown, "hdd"),
        Err(StoreError::UnknownObject(object)) if object == unknown
    ));
    assert!(matches!(
        store.restage(&large, "tape"),
        Err(StoreError::UnknownTier { .. })
    ));
    // Taken down while it is copied: it does not come back.
    let (content, _) = copy(&store, large, "hdd");
    store.remove(&["/large", "/large too"]).unwrap();
    let paths = Vec::new();
    let error = store
        .publish(vec![Publication { content, paths }])
        .unwrap_err();
    assert!(matches!(error, StoreError::UnknownObject(object) if object == large));
    assert!(
        tree(&appliance.snapshot())
            .iter()
            .all(|(_, object)| *object != large)
    );
}
