//! Several copies of one object: published beside each other, indexed, rebuilt, and gone together.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use content_store::catalog::{ObjectRecord, Snapshot};
use content_store::{BadColumn, Content, IndexDevice, Publication, Store, StoreError, rebuild};
use support::{Appliance, MIB, bytes, id, path, publish, tree};

fn copy(store: &Store, bytes: &[u8], tier: &str) -> Content {
    let mut staging = store.stage_copy(&id(bytes), tier).unwrap();
    staging
        .copy_from(store.reader(&id(bytes)).unwrap(), |_| ())
        .unwrap();
    Content::Copied(staging.seal().unwrap())
}

fn publish_copy(store: &mut Store, bytes: &[u8], tier: &str) {
    let content = copy(store, bytes, tier);
    let paths = Vec::new();
    store.publish(vec![Publication { content, paths }]).unwrap();
}

/// The state disk is lost, and the catalog made again from what lies on the devices.
fn rebuilt(appliance: &Appliance, store: Store) -> Snapshot {
    drop(store);
    std::fs::remove_dir_all(appliance.state_dir()).unwrap();
    rebuild(&appliance.config(), 0, |_| ()).unwrap();
    appliance.snapshot()
}

fn tiers(record: &ObjectRecord) -> Vec<&str> {
    record.copies.iter().map(|copy| &*copy.tier).collect()
}

#[test]
fn a_copy_lies_beside_the_first_one_on_other_devices() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let film = bytes(1, 3 * MIB + 5);
    publish(&mut store, &["/a"], &film, "nvme");
    let devices: Vec<IndexDevice> = store.devices().iter().map(IndexDevice::from).collect();
    let before = appliance.index(&devices, None).index;
    let read = before.lookup(b"/a").unwrap();
    let read = [0, 1].map(|column| read.object().file(0, column).unwrap().stored());
    publish_copy(&mut store, &film, "hdd");

    let snapshot = appliance.snapshot();
    assert_eq!(tiers(&snapshot.objects[0]), ["nvme", "hdd"]);
    assert!(snapshot.doomed.is_empty());
    let copies = &snapshot.objects[0].copies;
    let used: BTreeSet<_> = copies.iter().flat_map(|copy| &copy.devices).collect();
    assert_eq!(used.len(), 3);
    assert_eq!(appliance.files().len(), 6);

    let built = appliance.index(&devices, Some(&before));
    let entry = built.index.lookup(b"/a").unwrap();
    let object = entry.object();
    assert_eq!(object.copies().count(), 2);
    for (column, read) in read.iter().enumerate() {
        let file = object.file(0, column).unwrap().stored();
        assert!(Arc::ptr_eq(&file, read), "the same file, not an equal one");
    }
    assert_eq!(built.fallen.len(), 1);
    let again = appliance.index(&devices, Some(&built.index));
    let entry = again.index.lookup(b"/a").unwrap();
    assert!(Arc::ptr_eq(object, entry.object()));
    assert!(again.fresh.is_empty() && again.fallen.is_empty());

    // Whole as long as one copy is.
    let mut some = devices.clone();
    some[0].id = None;
    let without = appliance.index(&some, None).index;
    let entry = without.lookup(b"/a").unwrap();
    let object = entry.object();
    assert!(object.is_whole() && !object.first.is_whole());
}

#[test]
fn a_rebuild_finds_all_copies_and_a_removal_takes_all() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let film = bytes(1, 3 * MIB);
    publish(&mut store, &["/a", "/b"], &film, "nvme");
    publish_copy(&mut store, &film, "hdd");
    let content = Content::Stored(id(&film));
    let paths = vec![path("/c")];
    store.publish(vec![Publication { content, paths }]).unwrap();
    let before = appliance.snapshot();
    let after = rebuilt(&appliance, store);
    assert_eq!(after.objects, before.objects);
    assert_eq!(
        (tree(&after), &after.doomed),
        (tree(&before), &before.doomed)
    );

    let mut store = appliance.open();
    let generation = store.remove(&["/a", "/b", "/c"]).unwrap();
    assert_eq!(appliance.snapshot().objects, []);
    assert!(store.reap(generation).unwrap().objects > 0);
    assert_eq!(appliance.files(), Vec::<String>::new());
    assert!(appliance.snapshot().doomed.is_empty());
}

#[test]
fn what_has_no_place_beside_the_others_is_refused_or_left_out() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let film = bytes(1, MIB);
    let unknown = store.stage_copy(&id(&film), "hdd").map(drop);
    assert!(matches!(unknown, Err(StoreError::UnknownObject(_))));
    publish(&mut store, &["/a"], &film, "hdd");
    assert!(
        store.stage_copy(&id(&film), "hdd").is_err(),
        "one device, one column"
    );
    // Two writers of the same copy: the second one's is left out.
    let twice = ["nvme", "nvme"].map(|tier| copy(&store, &film, tier));
    for content in twice {
        let paths = Vec::new();
        store.publish(vec![Publication { content, paths }]).unwrap();
    }
    assert_eq!(tiers(&appliance.snapshot().objects[0]), ["hdd", "nvme"]);
    assert_eq!(appliance.files().len(), 4);
}

#[test]
fn a_copy_that_is_not_wanted_any_more_goes_and_the_object_stays() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let film = bytes(1, 3 * MIB);
    publish(&mut store, &["/a"], &film, "nvme");
    assert_eq!(store.keep_copies(&[(id(&film), 1)]).unwrap(), None);
    let files = appliance.files();
    publish_copy(&mut store, &film, "hdd");
    let both = appliance.snapshot();

    let generation = store.keep_copies(&[(id(&film), 1)]).unwrap().unwrap();
    let snapshot = appliance.snapshot();
    assert_eq!(snapshot.generation, generation);
    assert_eq!(tiers(&snapshot.objects[0]), ["nvme"]);
    assert_eq!(tree(&snapshot), tree(&both));
    // Who reads the copy keeps it until it has seen the commit.
    store.reap(both.generation).unwrap();
    assert!(appliance.files().len() > files.len());
    store.reap(generation).unwrap();
    assert_eq!(appliance.files(), files);
    assert!(appliance.snapshot().doomed.is_empty());

    // A further one may come again, and a rebuild knows both.
    publish_copy(&mut store, &film, "hdd");
    let before = appliance.snapshot();
    assert_eq!(rebuilt(&appliance, store).objects, before.objects);
}

#[test]
fn good_copies_stay_before_bad_ones_and_a_rebuild_knows_them() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let film = bytes(1, 3 * MIB);
    publish(&mut store, &["/a"], &film, "nvme");
    publish_copy(&mut store, &film, "hdd");
    let snapshot = appliance.snapshot();
    let bad = BadColumn {
        object: id(&film),
        device: snapshot.objects[0].copies[0].devices[0],
        seen: snapshot.generation,
    };
    store.quarantine(&[bad]).unwrap().unwrap();
    let generation = store.keep_copies(&[(id(&film), 1)]).unwrap().unwrap();
    assert_eq!(tiers(&appliance.snapshot().objects[0]), ["hdd"]);
    assert!(store.is_stored(&id(&film)).unwrap());
    store.reap(generation).unwrap();
    assert_eq!(appliance.files().len(), 2);

    // The next one is another copy of it, also for a rebuild.
    publish_copy(&mut store, &film, "nvme");
    let before = appliance.snapshot();
    let after = rebuilt(&appliance, store);
    assert_eq!(after.objects, before.objects);
    assert!(after.doomed.is_empty());
}

#[test]
fn the_last_copy_that_is_all_here_stays() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let film = bytes(1, 3 * MIB);
    publish(&mut store, &["/a"], &film, "nvme");
    publish_copy(&mut store, &film, "hdd");
    let of = |device: &str| {
        let is_column =
            |file: &String| file.contains(&format!("/{device}/")) && file.ends_with(".col");
        appliance.files().into_iter().find(is_column).unwrap()
    };
    std::fs::remove_file(of("nvme0")).unwrap();
    std::fs::remove_file(of("hdd0")).unwrap();
    let keep = [(id(&film), 1), (id(&bytes(2, 1)), 1)];
    assert_eq!(store.keep_copies(&keep).unwrap(), None);
    assert_eq!(tiers(&appliance.snapshot().objects[0]), ["nvme", "hdd"]);
}
