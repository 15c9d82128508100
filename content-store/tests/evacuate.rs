//! Evacuating devices: what one alone holds goes to the others of its tier, byte for byte, and nothing else moves.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use content_store::device::{self, Blast, InitOptions, Intent, Intents, Wanted};
use content_store::placement::Rule;
use content_store::verify::verify;
use content_store::{DeviceId, ObjectId, Store, StoreConfig, StoreError, open_devices, rebuild};
use support::{Appliance, MIB, bytes, id, publish};

/// With a third device in the hot tier.
fn config(appliance: &Appliance) -> StoreConfig {
    let mut config = appliance.config();
    add_device(&mut config, appliance.folder.join("nvme2"));
    config
}

/// To the hot tier.
fn add_device(config: &mut StoreConfig, root: PathBuf) {
    fs::create_dir(&root).unwrap();
    let options = InitOptions {
        now_s: 1,
        tier: None,
        shared_fs: true,
    };
    device::initialise(&root, &options).unwrap();
    config.tiers[0].devices.push(root);
}

/// Column and sidecar of an object on a device.
fn files(store: &Store, object: &ObjectId, device: DeviceId) -> [PathBuf; 2] {
    let mut slots = store.devices().iter();
    let slot = slots.find(|slot| slot.id() == Some(device)).unwrap();
    let device = slot.device.as_ref().unwrap();
    [device.column_path(object), device.sidecar_path(object)]
}

/// Brings the column of an object that lies on a device to another one; readers of the former state have it still.
fn relieve(store: &mut Store, object: &ObjectId, device: &DeviceId) {
    let mut moving = store.relieve(object, device).unwrap().unwrap();
    assert!(moving.copy_here().unwrap());
    let moved = moving.seal().unwrap();
    store.finish_repairs(vec![moved]).unwrap().unwrap();
}

fn evacuate(config: &StoreConfig, at: usize) -> DeviceId {
    let (_, root) = config.device_roots().nth(at).unwrap();
    let id = device::open(root).unwrap().id();
    let intent = Intent {
        root: root.clone(),
        id: Some(id),
        wanted: Wanted::Evacuating,
        since: 1,
        by: "ada".into(),
        reason: None,
    };
    Intents::change(&config.state_dir, |intents| intents.want(intent)).unwrap();
    id
}

/// Moves all that can be moved; how many bytes, and how many copies stay.
fn move_all(store: &mut Store) -> (u64, u64) {
    let (mut moved, mut stay) = (0, 0);
    for stranded in store.stranded().unwrap() {
        match store.vacate(&stranded.object, stranded.placed) {
            Ok(Some(mut repairing)) => {
                assert!(repairing.copy_here().unwrap());
                store
                    .finish_repairs(vec![repairing.seal().unwrap()])
                    .unwrap();
                moved += stranded.bytes;
            }
            Ok(None) => panic!("{stranded:?}"),
            Err(StoreError::NoRoom { .. }) => stay += 1,
            Err(error) => panic!("{error}"),
        }
    }
    (moved, stay)
}

fn all(config: &StoreConfig) -> HashSet<DeviceId> {
    let slots = open_devices(config).unwrap();
    slots.iter().filter_map(|slot| slot.id()).collect()
}

#[test]
fn what_a_device_alone_holds_goes_to_the_others_and_the_rest_stays() {
    let appliance = Appliance::new();
    let config = config(&appliance);
    let mut store = Store::open(config.clone()).unwrap();
    let films: Vec<Vec<u8>> = (0..12)
        .map(|seed| bytes(seed, 3 * MIB + 70 * seed))
        .collect();
    for (number, film) in films.iter().enumerate() {
        publish(&mut store, &[&format!("/{number}")], film, "nvme");
    }
    drop(store);
    let before = appliance.snapshot();
    // Not all objects have a part on both.
    let holds_all = |root: &PathBuf| {
        let id = device::open(root).unwrap().id();
        let mut objects = before.objects.iter();
        objects.all(|object| object.copies[0].devices.contains(&id))
    };
    let roots = appliance.devices();
    let at = roots.iter().position(|root| !holds_all(root)).unwrap();
    let evacuated = evacuate(&config, at);
    let blast = Blast::of(&before, evacuated, &all(&config));
    assert!(blast.objects_alone > 0 && blast.objects_alone < 12);
    let mut store = Store::open(config.clone()).unwrap();
    assert_eq!(move_all(&mut store), (blast.bytes_alone, 0));
    assert!(store.stranded().unwrap().is_empty());
    store.reap(store.generation().unwrap()).unwrap();
    let root = roots[at].clone();
    let left = appliance.files();
    let left: Vec<_> = left
        .iter()
        .filter(|file| file.starts_with(root.to_str().unwrap()))
        .collect();
    assert!(left.is_empty(), "it may be pulled: {left:?}");
    drop(store);

    // Without it, every byte is there, also after the catalog is lost; what had no part on it was not touched.
    fs::remove_dir_all(&root).unwrap();
    let after = appliance.snapshot();
    assert_eq!(
        Blast::of(&after, evacuated, &all(&config)),
        Blast::default()
    );
    for (before, after) in before.objects.iter().zip(&after.objects) {
        let was_on_it = before.copies[0].devices.contains(&evacuated);
        assert_eq!(before == after, !was_on_it);
    }
    let is_whole = || {
        let slots = open_devices(&config).unwrap();
        let records = appliance.snapshot().objects;
        assert_eq!(records.len(), films.len());
        let mut records = records.iter();
        assert!(records.all(|record| verify(&slots, record, |_| ()).unwrap().is_good()));
    };
    is_whole();
    fs::remove_dir_all(appliance.state_dir().join("catalog")).unwrap();
    rebuild(&config, 0, |_| ()).unwrap();
    is_whole();
}

#[test]
fn a_column_leaves_a_device_that_stays_in_use() {
    let appliance = Appliance::new();
    let config = config(&appliance);
    let mut store = Store::open(config.clone()).unwrap();
    let film = bytes(1, 3 * MIB + 7);
    publish(&mut store, &["/film"], &film, "nvme");
    let devices = || appliance.snapshot().objects[0].copies[0].devices.clone();
    let before = devices();
    let hot = store.devices().iter().filter(|slot| slot.tier == 0);
    let mut hot = hot.filter_map(|slot| slot.id());
    let free = hot.find(|id| !before.contains(id)).unwrap();
    // On none of the others there is room below a mark of nothing.
    let nothing = Rule {
        high_watermark: 0,
        ..Rule::default()
    };
    store.place_by(nothing);
    let refused = store.relieve(&id(&film), &before[1]);
    assert!(matches!(refused, Err(StoreError::NoRoom { .. })));
    store.place_by(Rule::default());
    assert!(store.relieve(&id(&film), &free).unwrap().is_none());

    relieve(&mut store, &id(&film), &before[1]);
    assert_eq!(*devices(), [before[0], free]);
    let has_column = |store: &Store, device| files(store, &id(&film), device)[0].exists();
    // Who reads by the generation before has it still.
    assert!(has_column(&store, before[1]));
    store.reap(store.generation().unwrap()).unwrap();
    assert!(!has_column(&store, before[1]) && has_column(&store, free));
    drop(store);
    let is_good = || {
        let slots = open_devices(&config).unwrap();
        let records = appliance.snapshot().objects;
        verify(&slots, &records[0], |_| ()).unwrap().is_good()
    };
    assert!(is_good());
    fs::remove_dir_all(appliance.state_dir().join("catalog")).unwrap();
    rebuild(&config, 0, |_| ()).unwrap();
    assert_eq!(*devices(), [before[0], free]);
    assert!(is_good());
}

/// The state disk is lost when a column is at both places, or its new place has no more than its sidecar.
#[test]
fn a_rebuild_in_the_midst_of_a_relief_keeps_one_place_and_unlinks_the_other() {
    for has_come in [true, false] {
        let appliance = Appliance::new();
        let config = config(&appliance);
        let mut store = Store::open(config.clone()).unwrap();
        let film = bytes(1, 3 * MIB + 7);
        publish(&mut store, &["/film"], &film, "nvme");
        let devices = || appliance.snapshot().objects[0].copies[0].devices.clone();
        let before = devices();
        relieve(&mut store, &id(&film), &before[1]);
        let after = devices();
        let files = |store: &Store, device| files(store, &id(&film), device);
        if !has_come {
            let [column, _] = files(&store, after[1]);
            fs::remove_file(column).unwrap();
        }
        drop(store);
        fs::remove_dir_all(appliance.state_dir().join("catalog")).unwrap();
        assert!(rebuild(&config, 0, |_| ()).unwrap().incomplete.is_empty());
        let (stays, goes) = match has_come {
            true => (&after, &before),
            false => (&before, &after),
        };
        assert_eq!(devices(), *stays);
        let mut store = Store::open(config.clone()).unwrap();
        store.reap(store.generation().unwrap()).unwrap();
        assert!(files(&store, stays[1]).iter().all(|file| file.exists()));
        assert!(!files(&store, goes[1]).iter().any(|file| file.exists()));
        let slots = open_devices(&config).unwrap();
        let records = appliance.snapshot().objects;
        assert!(verify(&slots, &records[0], |_| ()).unwrap().is_good());
    }
}

/// The state disk is lost when both columns have left their devices and nothing was reaped yet.
#[test]
fn a_rebuild_unlinks_all_columns_that_were_left_behind() {
    let appliance = Appliance::new();
    let mut config = config(&appliance);
    add_device(&mut config, appliance.folder.join("nvme3"));
    let mut store = Store::open(config.clone()).unwrap();
    let film = bytes(1, 3 * MIB + 7);
    publish(&mut store, &["/film"], &film, "nvme");
    let devices = || appliance.snapshot().objects[0].copies[0].devices.clone();
    let before = devices();
    for device in &before {
        relieve(&mut store, &id(&film), device);
    }
    let after = devices();
    drop(store);
    fs::remove_dir_all(appliance.state_dir().join("catalog")).unwrap();
    rebuild(&config, 0, |_| ()).unwrap();
    assert_eq!(devices(), after);
    let mut store = Store::open(config).unwrap();
    store.reap(store.generation().unwrap()).unwrap();
    for (devices, is_there) in [(&before, false), (&after, true)] {
        let mut files = devices
            .iter()
            .flat_map(|device| files(&store, &id(&film), *device));
        assert!(files.all(|file| file.exists() == is_there));
    }
}

#[test]
fn what_has_a_whole_copy_elsewhere_or_no_place_to_go_stays() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let (copied, wide) = (bytes(1, 2 * MIB), bytes(2, 2 * MIB));
    publish(&mut store, &["/copied"], &copied, "nvme");
    let mut staging = store.stage_copy(&id(&copied), "hdd").unwrap();
    let reader = store.reader(&id(&copied)).unwrap();
    staging.copy_from(reader, |_| ()).unwrap();
    let content = content_store::Content::Copied(staging.seal().unwrap());
    let paths = Vec::new();
    store
        .publish(vec![content_store::Publication { content, paths }])
        .unwrap();
    // Both devices of the tier hold a part of it.
    publish(&mut store, &["/wide"], &wide, "nvme");
    drop(store);
    evacuate(&appliance.config(), 1);
    let mut store = appliance.open();
    let stranded = store.stranded().unwrap();
    assert_eq!(stranded.len(), 1);
    assert_eq!((stranded[0].object, stranded[0].bytes), (id(&wide), MIB));
    assert_eq!(move_all(&mut store), (0, 1));
    assert!(store.is_stored(&id(&wide)).unwrap());
    drop(store);
    // Without a whole copy elsewhere that one is moved of which fewer bytes lie on what is evacuated: half of the film, not all of it.
    evacuate(&appliance.config(), 2);
    let stranded = appliance.open().stranded().unwrap();
    let bytes: Vec<u64> = stranded.iter().map(|one| one.bytes).collect();
    assert_eq!(bytes, [MIB, MIB]);
}
