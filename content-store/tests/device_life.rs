//! What an operator wants of devices, and devices that go away and come back.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use content_store::device::{
    self, Blast, Condition, INTENT_FILE, InitOptions, Intent, Intents, Seen, Wanted,
};
use content_store::{DeviceId, DeviceProblem, Store, StoreError, open_devices};
use support::{Appliance, MIB, bytes, id, publish, readmit, tree};

fn want(appliance: &Appliance, at: usize, wanted: Wanted) -> DeviceId {
    let root = appliance.devices()[at].clone();
    let id = device::open(&root).unwrap().id();
    let intent = Intent {
        root,
        id: Some(id),
        wanted,
        since: 1_800_000_000,
        by: "ada".into(),
        reason: Some("new cable".into()),
    };
    Intents::change(&appliance.state_dir(), |intents| intents.want(intent)).unwrap();
    id
}

fn use_again(appliance: &Appliance, at: usize, id: DeviceId) {
    let root = &appliance.devices()[at];
    Intents::change(&appliance.state_dir(), |intents| {
        intents.forget(root, Some(id));
    })
    .unwrap();
}

fn problem(store: &Store, at: usize) -> &DeviceProblem {
    store.devices()[at].device.as_ref().unwrap_err()
}

/// The devices of the only copy of an object.
fn devices_of(appliance: &Appliance, bytes: &[u8]) -> Vec<DeviceId> {
    let snapshot = appliance.snapshot();
    let mut records = snapshot.objects.iter();
    let record = records.find(|record| record.object == id(bytes)).unwrap();
    record.copies[0].devices.to_vec()
}

fn initialise(root: &Path) -> DeviceId {
    fs::create_dir(root).unwrap();
    let options = InitOptions {
        now_s: 1_800_000_000,
        tier: None,
        shared_fs: true,
    };
    device::initialise(root, &options).unwrap().id()
}

#[test]
fn an_offline_device_is_not_touched_and_given_nothing() {
    let appliance = Appliance::new();
    let film = bytes(1, 3 * MIB);
    publish(&mut appliance.open(), &["/a"], &film, "nvme");
    let offline = want(&appliance, 0, Wanted::Offline);
    // Whoever opened this would wait for ever.
    let identity = appliance.devices()[0].join(device::IDENTITY_FILE);
    let kept = appliance.folder.join("kept.toml");
    fs::rename(&identity, &kept).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&identity).status();
    assert!(made.unwrap().success());

    let mut store = appliance.open();
    let refused = problem(&store, 0);
    assert_eq!(refused.condition(), Condition::Offline);
    let words = refused.to_string();
    assert!(
        words.contains("ada") && words.contains("new cable") && words.contains("device online"),
        "{words}"
    );
    let other = bytes(2, 3 * MIB);
    publish(&mut store, &["/b"], &other, "nvme");
    let used = devices_of(&appliance, &other);
    assert!(used.len() == 1 && used[0] != offline);
    drop(store);

    fs::remove_file(&identity).unwrap();
    fs::rename(&kept, &identity).unwrap();
    use_again(&appliance, 0, offline);
    let mut store = appliance.open();
    assert_eq!(problem(&store, 0).condition(), Condition::Returned);
    assert_eq!(readmit(&mut store), 0);
    publish(&mut store, &["/c"], &bytes(3, 3 * MIB), "nvme");
    assert_eq!(devices_of(&appliance, &bytes(3, 3 * MIB)).len(), 2);
}

#[test]
fn a_device_that_is_evacuated_is_read_and_given_nothing() {
    let appliance = Appliance::new();
    let film = bytes(1, 3 * MIB);
    publish(&mut appliance.open(), &["/a"], &film, "nvme");
    let evacuated = want(&appliance, 1, Wanted::Evacuating);
    let mut store = appliance.open();
    assert!(store.devices()[1].is_evacuating && store.is_stored(&id(&film)).unwrap());
    let other = bytes(2, 3 * MIB);
    publish(&mut store, &["/b"], &other, "nvme");
    assert!(!devices_of(&appliance, &other).contains(&evacuated));
    want(&appliance, 0, Wanted::Evacuating);
    drop(store);
    let store = appliance.open();
    let refused = store
        .stage(
            content_store::chunk_tree::ChunkTree::of(&bytes(3, 9)),
            "nvme",
        )
        .map(drop)
        .unwrap_err();
    assert!(matches!(refused, StoreError::NoRoom { .. }));
    assert!(
        refused.to_string().contains("is being evacuated"),
        "{refused}"
    );
}

/// What is removed for good keeps neither deletions nor changes of paths waiting, and is never used again.
#[test]
fn a_removed_device_is_waited_for_by_nobody() {
    let appliance = Appliance::new();
    let film = bytes(1, 3 * MIB);
    publish(&mut appliance.open(), &["/a", "/b"], &film, "nvme");
    let removed = want(&appliance, 0, Wanted::Removed);
    fs::remove_dir_all(&appliance.devices()[0]).unwrap();
    let mut store = appliance.open();
    store.remove(&["/b"]).unwrap();
    let generation = store.remove(&["/a"]).unwrap();
    let reaped = store.reap(generation).unwrap();
    assert_eq!((reaped.objects, reaped.waiting), (1, 0));
    drop(store);
    fs::create_dir(&appliance.devices()[0]).unwrap();
    assert!(appliance.files().is_empty() && appliance.snapshot().doomed.is_empty());

    let text = format!("format = 1\nid = \"{removed}\"\ncreated = 5\nshared_fs = true\n");
    fs::write(appliance.devices()[0].join(device::IDENTITY_FILE), text).unwrap();
    use_again(&appliance, 0, removed);
    let store = appliance.open();
    assert!(matches!(problem(&store, 0), DeviceProblem::Removed { id, .. } if *id == removed));
}

#[test]
fn a_new_device_waits_until_it_may_take_the_place_of_another() {
    let appliance = Appliance::new();
    publish(&mut appliance.open(), &["/a"], &bytes(1, 9), "hdd");
    let root = &appliance.devices()[2];
    let old = device::open(root).unwrap().id();
    fs::remove_dir_all(root).unwrap();
    assert_eq!(
        problem(&appliance.open(), 2).condition(),
        Condition::Missing
    );
    let new = initialise(root);
    let mut store = appliance.open();
    assert!(matches!(
        problem(&store, 2),
        DeviceProblem::Empty { expected, found, .. } if (*expected, *found) == (old, new)
    ));
    fs::write(root.join("objects/x"), b"").unwrap();
    drop(store);
    store = appliance.open();
    assert_eq!(problem(&store, 2).condition(), Condition::Swapped);
    fs::remove_file(root.join("objects/x")).unwrap();
    drop(store);

    let intent = Intent {
        root: root.clone(),
        id: Some(old),
        wanted: Wanted::Removed,
        since: 1,
        by: "ada".into(),
        reason: None,
    };
    Intents::change(&appliance.state_dir(), |intents| intents.want(intent)).unwrap();
    store = appliance.open();
    assert_eq!(store.devices()[2].id(), Some(new));
    publish(&mut store, &["/b"], &bytes(2, 9), "hdd");
    assert_eq!(
        Seen::read(&appliance.state_dir()).unwrap().at(root),
        Some(new)
    );
}

/// Disks were put back in another order: a device is who it says, wherever it is mounted.
#[test]
fn two_devices_that_changed_places_are_used_where_they_are() {
    let appliance = Appliance::new();
    let film = bytes(1, 3 * MIB);
    publish(&mut appliance.open(), &["/a"], &film, "nvme");
    let [one, other, _] = appliance.devices();
    let ids = [&one, &other].map(|root| device::open(root).unwrap().id());
    let aside = appliance.folder.join("aside");
    fs::rename(&one, &aside).unwrap();
    fs::rename(&other, &one).unwrap();
    fs::rename(&aside, &other).unwrap();
    let mut store = appliance.open();
    let found = [0, 1].map(|at: usize| store.devices()[at].id().unwrap());
    assert_eq!(found, [ids[1], ids[0]]);
    assert!(store.is_stored(&id(&film)).unwrap());
    publish(&mut store, &["/b"], &bytes(2, 3 * MIB), "nvme");
    assert_eq!(devices_of(&appliance, &bytes(2, 3 * MIB)).len(), 2);
}

/// The one disk was put where the other one was, which is gone, and a new one where the first was: that is not the first one's place any more.
#[test]
fn of_a_device_that_took_the_place_of_another_nobody_says_that_it_is_away() {
    let appliance = Appliance::new();
    publish(&mut appliance.open(), &["/a"], &bytes(1, 3 * MIB), "nvme");
    let [one, other, _] = appliance.devices();
    let [moved, gone] = [&one, &other].map(|root| device::open(root).unwrap().id());
    let aside = appliance.folder.join("aside");
    fs::rename(&other, &aside).unwrap();
    fs::rename(&one, &other).unwrap();
    let new = initialise(&one);
    let is_empty = |problem: &DeviceProblem| {
        matches!(
            problem,
            DeviceProblem::Empty { expected, found, .. } if (*expected, *found) == (gone, new)
        )
    };
    let seen = Seen::read(&appliance.state_dir()).unwrap();
    let intents = Intents::default();
    let wait = Duration::from_secs(60);
    let looked = device::look_at_all(&[&one, &other], &intents, &seen, wait);
    assert!(is_empty(looked[0].as_ref().unwrap_err()), "{looked:?}");
    assert_eq!(looked[1].as_ref().unwrap().0.id(), moved);
    let store = appliance.open();
    assert!(is_empty(problem(&store, 0)), "{:?}", store.devices()[0]);
    assert_eq!(store.devices()[1].id(), Some(moved));
    drop(store);
    let seen = Seen::read(&appliance.state_dir()).unwrap();
    assert!(seen.is_away(&gone) && !seen.is_away(&moved));
    // It is known when it comes back, in the place that is left.
    fs::remove_dir_all(&one).unwrap();
    fs::rename(&aside, &one).unwrap();
    let returned = appliance.open().returned().unwrap();
    let returned: Vec<DeviceId> = returned.iter().map(|back| back.device()).collect();
    assert_eq!(returned, [gone]);
}

/// What happened while it was away: an object was removed, a path was taken from another one, a column was lost, one was cut.
#[test]
fn a_device_that_is_back_is_compared_with_the_catalog() {
    let appliance = Appliance::new();
    let [removed, renamed, lost, cut] = [1, 2, 3, 4].map(|seed| bytes(seed, 3 * MIB));
    let mut store = appliance.open();
    publish(&mut store, &["/removed"], &removed, "nvme");
    publish(&mut store, &["/renamed", "/old"], &renamed, "nvme");
    publish(&mut store, &["/lost"], &lost, "nvme");
    publish(&mut store, &["/cut"], &cut, "nvme");
    drop(store);
    let (root, aside) = (&appliance.devices()[0], appliance.folder.join("aside"));
    fs::rename(root, &aside).unwrap();
    let mut store = appliance.open();
    let generation = store.remove(&["/removed", "/old"]).unwrap();
    assert_eq!(store.reap(generation).unwrap().away, 1);
    drop(store);

    fs::rename(&aside, root).unwrap();
    let device = device::open(root).unwrap();
    fs::remove_file(device.column_path(&id(&lost))).unwrap();
    let column = device.column_path(&id(&cut));
    let column = fs::File::options().write(true).open(column).unwrap();
    column
        .set_len(column.metadata().unwrap().len() - 1)
        .unwrap();
    let mut store = appliance.open();
    assert_eq!(problem(&store, 0).condition(), Condition::Returned);
    // Nobody is told otherwise by a restart.
    drop(store);
    store = appliance.open();
    assert_eq!(readmit(&mut store), 2);
    assert_eq!(store.devices()[0].id(), Some(device.id()));
    assert_eq!(store.reap(store.generation().unwrap()).unwrap().away, 0);
    assert!(!device.column_path(&id(&removed)).exists());
    let sidecar = content_store::sidecar::Sidecar::read(&device.sidecar_path(&id(&renamed)));
    let paths = sidecar.unwrap().paths;
    assert_eq!(paths.len(), 1, "the old path is taken away");
    assert!(store.is_stored(&id(&renamed)).unwrap() && !store.is_stored(&id(&lost)).unwrap());
    let snapshot = appliance.snapshot();
    for object in [&lost, &cut].map(|film| id(film)) {
        let record = snapshot.objects.iter().find(|it| it.object == object);
        let copy = &record.unwrap().copies[0];
        let at = copy.devices.iter().position(|it| *it == device.id());
        assert!(copy.bad.contains(at.unwrap()), "it waits for its repair");
    }
    assert_eq!(tree(&snapshot).len(), 3);
    drop(store);
    assert!(appliance.open().devices()[0].device.is_ok());
}

/// As when somebody has put an image of the disk back.
#[test]
fn of_an_older_image_of_a_device_nothing_counts_that_was_placed_anew() {
    let appliance = Appliance::new();
    let film = bytes(1, 3 * MIB);
    let mut store = appliance.open();
    publish(&mut store, &["/film"], &film, "nvme");
    drop(store);
    let (root, image) = (&appliance.devices()[0], appliance.folder.join("image"));
    let copied = Command::new("cp").arg("-a").args([root, &image]).status();
    assert!(copied.unwrap().success());
    let mut store = appliance.open();
    let generation = store.remove(&["/film"]).unwrap();
    store.reap(generation).unwrap();
    publish(&mut store, &["/film"], &film, "nvme");
    assert!(store.is_stored(&id(&film)).unwrap());
    drop(store);

    fs::remove_dir_all(root).unwrap();
    let mut store = appliance.open();
    publish(&mut store, &["/other"], &bytes(2, MIB), "hdd");
    drop(store);
    fs::rename(&image, root).unwrap();
    let mut store = appliance.open();
    assert_eq!(problem(&store, 0).condition(), Condition::Returned);
    assert_eq!(readmit(&mut store), 1);
    assert!(!store.is_stored(&id(&film)).unwrap());
}

#[test]
fn a_blast_counts_what_has_no_whole_copy_elsewhere() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let (wide, small, both) = (bytes(1, 3 * MIB), bytes(2, 9), bytes(3, 2 * MIB));
    publish(&mut store, &["/wide"], &wide, "nvme");
    publish(&mut store, &["/small"], &small, "hdd");
    publish(&mut store, &["/both"], &both, "nvme");
    let mut staging = store.stage_copy(&id(&both), "hdd").unwrap();
    let reader = store.reader(&id(&both)).unwrap();
    staging.copy_from(reader, |_| ()).unwrap();
    let content = content_store::Content::Copied(staging.seal().unwrap());
    let paths = Vec::new();
    store
        .publish(vec![content_store::Publication { content, paths }])
        .unwrap();
    let slots = open_devices(&appliance.config()).unwrap();
    let all: HashSet<DeviceId> = slots.iter().filter_map(|slot| slot.id()).collect();
    let ids: Vec<DeviceId> = slots.iter().filter_map(|slot| slot.id()).collect();
    let snapshot = appliance.snapshot();
    let nvme = Blast::of(&snapshot, ids[0], &all);
    assert_eq!((nvme.objects, nvme.objects_alone), (2, 1));
    let wide_here = match devices_of(&appliance, &wide)[0] == ids[0] {
        true => 2 * MIB,
        false => MIB,
    };
    assert_eq!((nvme.bytes, nvme.bytes_alone), (wide_here + MIB, wide_here));
    let hdd = Blast::of(&snapshot, ids[2], &all);
    assert_eq!((hdd.objects, hdd.objects_alone, hdd.bytes_alone), (2, 1, 9));
    // A copy that waits for its repair is none.
    let bad = content_store::BadColumn {
        object: id(&both),
        device: ids[2],
        seen: store.generation().unwrap(),
    };
    store.quarantine(&[bad]).unwrap();
    assert_eq!(
        Blast::of(&appliance.snapshot(), ids[0], &all).objects_alone,
        2
    );
    // Without the other one, nothing else has it.
    let without = all.iter().copied().filter(|id| *id != ids[1]).collect();
    assert_eq!(Blast::of(&snapshot, ids[2], &without).objects_alone, 2);
}

#[test]
fn what_is_wanted_survives_and_a_damaged_file_is_never_an_empty_one() {
    let appliance = Appliance::new();
    drop(appliance.open());
    let device = want(&appliance, 0, Wanted::Evacuating);
    want(&appliance, 0, Wanted::Offline);
    let intents = Intents::read(&appliance.state_dir()).unwrap();
    assert_eq!(intents.iter().count(), 1, "the last word counts");
    assert!(intents.offline().eq([device]));
    let path = appliance.state_dir().join(INTENT_FILE);
    let table: [(&[u8], &str); 4] = [
        (b"", "damaged"),
        (b"{\"format\":1}", "damaged"),
        (b"{\"format\":1,\"devices\":[{}]}", "damaged"),
        (
            b"{\"format\":3,\"devices\":[]}",
            "install the newer release",
        ),
    ];
    for (text, word) in table {
        fs::write(&path, text).unwrap();
        let refused = Store::open(appliance.config()).map(drop).unwrap_err();
        let said = refused.to_string();
        assert!(
            said.contains(word) && said.contains(INTENT_FILE) && said.contains("remove it"),
            "{said}"
        );
    }
}

/// It goes between two looks of the writer, who finds none of its files.
#[test]
fn what_lies_on_a_device_that_has_just_gone_is_not_forgotten() {
    let appliance = Appliance::new();
    let film = bytes(1, 3 * MIB);
    let mut store = appliance.open();
    publish(&mut store, &["/film"], &film, "nvme");
    let generation = store.remove(&["/film"]).unwrap();
    let (root, aside) = (&appliance.devices()[0], appliance.folder.join("aside"));
    fs::rename(root, &aside).unwrap();
    assert_eq!(store.reap(generation).unwrap().away, 1);
    assert_eq!(appliance.snapshot().doomed.len(), 1);
    fs::rename(&aside, root).unwrap();
    assert_eq!(store.reap(generation).unwrap().objects, 1);
    assert_eq!(appliance.files(), Vec::<String>::new());
}
