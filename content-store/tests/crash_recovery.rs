//! Crashes that meet another misfortune: a device that is away, a journal that comes back, a catalog that is lost in part.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use content_store::catalog::CatalogProblem;
use content_store::verify::verify;
use content_store::{
    ObjectId, Step, StepHook, Store, StoreConfig, StoreError, open_devices, rebuild,
};
use support::{Appliance, MIB, bytes, content, id, publication, publish, readmit, tree};

/// All three devices in one tier.
fn one_tier(appliance: &Appliance) -> StoreConfig {
    let mut config = appliance.config();
    config.tiers[0].devices = appliance.devices().into();
    config.tiers.truncate(1);
    config
}

fn striped() -> Vec<u8> {
    bytes(1, 2 * MIB)
}

/// The roots of the devices that hold a column of an object.
fn holders(config: &StoreConfig, object: &ObjectId) -> Vec<PathBuf> {
    let slots = open_devices(config).unwrap().into_iter();
    let devices = slots.filter_map(|slot| slot.device.ok());
    let holding = devices.filter(|device| device.column_path(object).exists());
    holding.map(|device| device.root().to_path_buf()).collect()
}

fn is_whole(config: &StoreConfig, appliance: &Appliance, object: &ObjectId) -> bool {
    let slots = open_devices(config).unwrap();
    let snapshot = appliance.snapshot();
    let record = snapshot
        .objects
        .iter()
        .find(|record| record.object == *object);
    record.is_some_and(|record| verify(&slots, record, |_| ()).unwrap().is_good())
}

/// A publication is killed while one of its devices is about to vanish; the object is published on others; the power is cut before the
/// removal of its journals is durable; the device comes back.
#[test]
fn what_is_published_is_not_taken_back_for_an_older_intention() {
    let appliance = Appliance::new();
    let config = one_tier(&appliance);
    let object = id(&striped());
    let killed = catch_unwind(AssertUnwindSafe(|| {
        let hook: StepHook = Arc::new(|step| assert!(step != Step::Intended, "killed"));
        let mut store = Store::open_with_hook(config.clone(), Some(hook)).unwrap();
        publish(&mut store, &["/a"], &striped(), "nvme");
    }));
    assert!(killed.is_err());
    let staged = |root: &PathBuf| root.join(format!("staging/{object}.col")).exists();
    let first: Vec<_> = appliance.devices().into_iter().filter(staged).collect();
    assert_eq!(first.len(), 2);
    let away = appliance.folder.join("away");
    fs::rename(&first[1], &away).unwrap();

    let mut store = Store::open(config.clone()).unwrap();
    publish(&mut store, &["/other"], b"other", "nvme");
    let staged = publication(&store, &["/a"], &striped(), "nvme");
    let journal = first[0].join(format!("staging/{object}.journal"));
    let noted = fs::read(&journal).unwrap();
    store.publish(vec![staged]).unwrap();
    drop(store);
    fs::write(&journal, noted).unwrap();
    fs::rename(&away, &first[1]).unwrap();

    let mut store = Store::open(config.clone()).unwrap();
    let generation = store.generation().unwrap();
    store.reap(generation).unwrap();
    assert!(is_whole(&config, &appliance, &object));
    assert!(!journal.exists());
}

/// A publication is killed when a file of it has come to its place; that device is away; the object is published on others, in what would be
/// the same generation; the device comes back.
#[test]
fn what_a_killed_publication_left_is_remembered_beside_the_next_one() {
    let appliance = Appliance::new();
    let config = one_tier(&appliance);
    let object = id(&striped());
    let killed = catch_unwind(AssertUnwindSafe(|| {
        let hook: StepHook = Arc::new(|step| assert!(step != Step::SidecarRenamed, "killed"));
        let mut store = Store::open_with_hook(config.clone(), Some(hook)).unwrap();
        publish(&mut store, &["/a"], &striped(), "nvme");
    }));
    assert!(killed.is_err());
    let name = object.to_string();
    let sidecar = |root: &PathBuf| {
        let at = format!("objects/{}/{}/{name}.meta", &name[..2], &name[2..4]);
        root.join(at)
    };
    let has_one = |root: &PathBuf| sidecar(root).exists();
    let left: Vec<_> = appliance.devices().into_iter().filter(has_one).collect();
    assert_eq!(left.len(), 1);
    let away = appliance.folder.join("away");
    fs::rename(&left[0], &away).unwrap();

    let mut store = Store::open(config.clone()).unwrap();
    publish(&mut store, &["/a"], &striped(), "nvme");
    drop(store);
    fs::rename(&away, &left[0]).unwrap();

    let mut store = Store::open(config.clone()).unwrap();
    assert_eq!(readmit(&mut store), 0);
    let generation = store.generation().unwrap();
    store.reap(generation).unwrap();
    assert!(is_whole(&config, &appliance, &object));
    assert!(
        !has_one(&left[0]),
        "an orphan: {}",
        sidecar(&left[0]).display()
    );
}

/// Readers of an older generation use the newer of two placements; the older one, which lay on one of the same devices, goes first.
#[test]
fn unlinking_a_former_placement_leaves_a_later_one_that_is_doomed_too() {
    let appliance = Appliance::new();
    let config = one_tier(&appliance);
    let object = id(&striped());
    let mut store = Store::open(config.clone()).unwrap();
    publish(&mut store, &["/a"], &striped(), "nvme");
    drop(store);
    let first = holders(&config, &object);
    let away = appliance.folder.join("away");
    fs::rename(&first[1], &away).unwrap();
    let mut store = Store::open(config.clone()).unwrap();
    let in_use = publish(&mut store, &["/a"], &striped(), "nvme");
    fs::rename(&away, &first[1]).unwrap();
    drop(store);
    let mut store = Store::open(config.clone()).unwrap();
    assert_eq!(readmit(&mut store), 0);
    let second = holders(&config, &object);
    assert_eq!(second.len(), 3, "the former placement is not unlinked yet");
    let removed = store.remove(&["/a"]).unwrap();
    store.reap(in_use).unwrap();
    assert!(first[0].join("objects").exists());
    let left = holders(&config, &object);
    assert!(
        left.contains(&first[0]) && !left.contains(&first[1]),
        "{left:?}"
    );
    store.reap(removed).unwrap();
    assert_eq!(holders(&config, &object), Vec::<PathBuf>::new());
}

/// One that fails is as good as away; the others are opened.
#[test]
fn a_device_that_fails_keeps_nobody_from_the_others() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], b"a", "hdd");
    drop(store);
    let staging = appliance.devices()[0].join("staging");
    fs::remove_dir(&staging).unwrap();
    // What a damaged folder looks like: it cannot be listed.
    fs::write(&staging, b"not a folder").unwrap();
    let mut store = appliance.open();
    assert!(store.devices()[0].device.is_err());
    publish(&mut store, &["/b"], b"b", "hdd");
    let staged = content(&store, &bytes(5, MIB), "nvme");
    drop(staged);
}

fn filled() -> Appliance {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a", "/b"], &striped(), "nvme");
    publish(&mut store, &["/c"], b"c", "hdd");
    appliance
}

/// What is left of the state disk is not taken for a new appliance, and whatever it is, everything comes back from the devices.
#[test]
fn a_state_disk_that_is_lost_in_part_is_made_anew() {
    type Loss = fn(&PathBuf) -> std::io::Result<()>;
    let losses: [(&str, Loss); 7] = [
        ("all", |state| fs::remove_dir_all(state)),
        ("the catalog", |state| {
            fs::remove_dir_all(state.join("catalog"))
        }),
        ("its data", |state| {
            fs::remove_file(state.join("catalog/data.mdb"))
        }),
        ("every byte of it", |state| {
            fs::write(state.join("catalog/data.mdb"), b"")
        }),
        ("all but its heads", |state| {
            fs::File::options()
                .write(true)
                .open(state.join("catalog/data.mdb"))?
                .set_len(8192)
        }),
        ("all after a rebuild that was cut", |state| {
            fs::rename(state.join("catalog"), state.join("catalog.new"))
        }),
        ("all but an empty folder", |state| {
            fs::remove_dir_all(state)?;
            fs::create_dir_all(state.join("catalog"))
        }),
    ];
    for (lost, lose) in losses {
        let appliance = filled();
        let before = tree(&appliance.snapshot());
        lose(&appliance.state_dir()).unwrap();
        let refused = Store::open(appliance.config()).map(drop).unwrap_err();
        assert!(
            matches!(refused, StoreError::Catalog(_)),
            "{lost}: {refused}"
        );
        assert!(
            refused.to_string().contains("`ocactl catalog rebuild`"),
            "{lost}: {refused}"
        );
        rebuild(&appliance.config(), 0, |_| ()).unwrap();
        assert_eq!(tree(&appliance.snapshot()), before, "{lost}");
        publish(&mut appliance.open(), &["/new"], b"new", "hdd");
    }
}

/// What only coordinates processes is not missed.
#[test]
fn locks_that_are_lost_or_garbage_are_made_anew() {
    for lock in ["catalog/lock.mdb", "catalog.lock"] {
        for garbage in [None, Some(&b""[..]), Some(&[0xff; 9000])] {
            let appliance = filled();
            let before = tree(&appliance.snapshot());
            let lock = appliance.state_dir().join(lock);
            match garbage {
                None => fs::remove_file(&lock).unwrap(),
                Some(garbage) => fs::write(&lock, garbage).unwrap(),
            }
            assert_eq!(tree(&appliance.snapshot()), before, "{}", lock.display());
            publish(&mut appliance.open(), &["/new"], b"new", "hdd");
        }
    }
}

#[test]
fn a_catalog_that_is_missing_says_so() {
    let appliance = filled();
    fs::write(appliance.state_dir().join("catalog/data.mdb"), b"").unwrap();
    let refused = Store::open(appliance.config()).map(drop).unwrap_err();
    assert!(
        matches!(refused, StoreError::Catalog(CatalogProblem::Missing { .. })),
        "{refused}"
    );
}
