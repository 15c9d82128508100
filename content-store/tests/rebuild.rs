//! The catalog comes back from the devices alone.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use content_store::catalog::{CatalogProblem, CatalogReader, Snapshot};
use content_store::{Generation, Rebuilt, Store, StoreError, rebuild};
use support::{Appliance, MIB, bytes, id, make_newer, publish, tree};

const NOW_MS: u64 = 1_800_000_000_000;

fn rebuilt(appliance: &Appliance) -> Rebuilt {
    rebuilt_at(appliance, NOW_MS)
}

fn rebuilt_at(appliance: &Appliance, now_ms: u64) -> Rebuilt {
    rebuild(&appliance.config(), now_ms, |_| ()).unwrap()
}

/// What is published, without the number of the commit and what is to be unlinked.
fn published(snapshot: Snapshot) -> Snapshot {
    Snapshot {
        generation: Generation(0),
        doomed: Vec::new(),
        ..snapshot
    }
}

/// Objects on both tiers, replaced, shared, gained and removed paths.
fn fill(store: &mut Store) {
    publish(store, &["/a", "/also-a"], &bytes(1, 5 * MIB + 7), "nvme");
    publish(store, &["/b"], &bytes(2, 10), "nvme");
    publish(store, &["/c"], &bytes(3, 2 * MIB), "hdd");
    publish(store, &["/empty"], &[], "hdd");
    publish(store, &["/b"], &bytes(4, 10), "nvme"); // replaced
    publish(store, &["/also-a"], &bytes(5, 10), "hdd"); // taken from an object that stays
    publish(store, &["/c2"], &bytes(3, 2 * MIB), "hdd"); // gained
    publish(store, &["/gone"], &bytes(6, 10), "hdd");
    store.remove(&["/gone", "/c"]).unwrap();
}

#[test]
fn a_rebuilt_catalog_is_the_one_that_was_lost() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    fill(&mut store);
    let before = appliance.snapshot();
    drop(store);
    std::fs::remove_dir_all(appliance.state_dir()).unwrap();
    let report = rebuilt(&appliance);
    assert_eq!(published(appliance.snapshot()), published(before.clone()));
    assert_eq!((report.objects, report.paths), (5, 5));
    assert!(report.incomplete.is_empty() && report.unusable.is_empty() && report.absent.is_empty());
    assert_eq!(report.moved_aside, None);
    assert!(report.generation > before.generation);
    // what was doomed is doomed again, and nothing else
    let mut store = appliance.open();
    assert_eq!(report.unreferenced, 2);
    assert_eq!(store.reap(report.generation).unwrap().objects, 2);
    assert_eq!(published(appliance.snapshot()), published(before));
    drop(store);
    let again = rebuilt(&appliance);
    assert_eq!((again.objects, again.unreferenced), (5, 0));
}

#[test]
fn the_catalog_that_was_there_is_kept() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    fill(&mut store);
    drop(store);
    let data = std::fs::read(appliance.state_dir().join("catalog/data.mdb")).unwrap();
    let first = rebuilt(&appliance).moved_aside.unwrap();
    let second = rebuilt(&appliance).moved_aside.unwrap();
    assert_eq!(
        first,
        appliance
            .state_dir()
            .join(format!("catalog.broken-{}", NOW_MS / 1000))
    );
    assert_ne!(first, second);
    assert_eq!(std::fs::read(first.join("data.mdb")).unwrap(), data);
}

#[test]
fn a_reader_goes_over_to_the_rebuilt_catalog() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    fill(&mut store);
    let mut reader = CatalogReader::open(&appliance.state_dir()).unwrap();
    let before = reader.generation().unwrap();
    drop(store);
    let report = rebuilt(&appliance);
    assert_eq!(reader.generation().unwrap(), report.generation);
    assert!(report.generation > before);
    assert_eq!(reader.load().unwrap().paths.len(), 5);
}

#[test]
fn what_is_new_after_a_rebuild_wins() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    fill(&mut store);
    drop(store);
    rebuilt(&appliance);
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(9, 10), "hdd");
    drop(store);
    rebuilt(&appliance);
    let snapshot = appliance.snapshot();
    assert!(tree(&snapshot).contains(&("/a".into(), id(&bytes(9, 10)))));
}

#[test]
fn objects_of_a_missing_device_are_listed_and_come_back_with_it() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    fill(&mut store);
    let before = appliance.snapshot();
    drop(store);
    let nvme1 = &appliance.devices()[1];
    let away = appliance.folder.join("away");
    std::fs::rename(nvme1, &away).unwrap();
    let report = rebuilt(&appliance);
    assert_eq!(report.absent.len(), 1);
    assert_eq!(report.absent[0].path, *nvme1);
    let striped = report
        .incomplete
        .iter()
        .find(|object| object.object == id(&bytes(1, 5 * MIB + 7)));
    let striped = striped.unwrap();
    assert_eq!((striped.paths.len(), striped.missing.len()), (1, 1));
    assert!(
        !tree(&appliance.snapshot())
            .iter()
            .any(|(path, _)| path == "/a")
    );
    std::fs::rename(&away, nvme1).unwrap();
    let without_it = report.generation;
    let report = rebuilt(&appliance);
    assert!(report.incomplete.is_empty() && report.absent.is_empty());
    assert!(report.generation > without_it, "who follows it looks again");
    assert_eq!(published(appliance.snapshot()), published(before));
}

fn lose_state(appliance: &Appliance) {
    std::fs::remove_dir_all(appliance.state_dir()).unwrap();
}

/// Nothing is left of the first rebuild when the second begins, and no sidecar tells of it.
#[test]
fn a_generation_is_never_that_of_a_catalog_that_was_lost() {
    let appliance = Appliance::new();
    let [_, nvme1, _] = appliance.devices();
    let away = appliance.folder.join("away");
    let mut store = appliance.open();
    fill(&mut store);
    drop(store);
    std::fs::rename(&nvme1, &away).unwrap();
    lose_state(&appliance);
    let first = rebuilt_at(&appliance, NOW_MS).generation;
    std::fs::rename(&away, &nvme1).unwrap();
    lose_state(&appliance);
    let second = rebuilt_at(&appliance, NOW_MS + 1).generation;
    assert!(second > first, "who follows it looks again");
}

/// The device that knows how far the catalog had come is away when it is lost, and comes back after more was published.
#[test]
fn what_is_published_after_a_loss_is_newer_than_what_a_returned_device_claims() {
    let appliance = Appliance::new();
    let [_, _, hdd0] = appliance.devices();
    let away = appliance.folder.join("away");
    let mut store = appliance.open();
    fill(&mut store);
    drop(store);
    lose_state(&appliance);
    rebuilt_at(&appliance, NOW_MS);
    let mut store = appliance.open();
    publish(&mut store, &["/other"], &bytes(8, 10), "hdd");
    publish(&mut store, &["/new"], &bytes(9, 10), "hdd");
    drop(store);
    std::fs::rename(&hdd0, &away).unwrap();
    lose_state(&appliance);
    rebuilt_at(&appliance, NOW_MS + 1000);
    let mut store = appliance.open();
    publish(&mut store, &["/new"], &bytes(10, 2 * MIB), "nvme");
    drop(store);
    std::fs::rename(&away, &hdd0).unwrap();
    lose_state(&appliance);
    rebuilt_at(&appliance, NOW_MS + 2000);
    let newest = ("/new".into(), id(&bytes(10, 2 * MIB)));
    assert!(tree(&appliance.snapshot()).contains(&newest));
}

/// A clock that is slow must not lead below what the sidecars say.
#[test]
fn without_a_clock_a_generation_lies_above_those_of_the_sidecars() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    fill(&mut store);
    let before = store.generation().unwrap();
    drop(store);
    for now_ms in [NOW_MS, 0, NOW_MS - 9_000] {
        lose_state(&appliance);
        let rebuilt = rebuilt_at(&appliance, now_ms).generation;
        assert!(rebuilt > before, "{now_ms}: {rebuilt} after {before}");
    }
}

/// A path went over to another object while the device of its former one was away, whose sidecar claims it still.
#[test]
fn of_all_claims_to_a_path_the_newest_wins_also_if_its_object_is_incomplete() {
    // Whichever of the two has the lower name.
    for (former, latter) in [(1, 2), (2, 1)] {
        let (former, latter) = (bytes(former, 10), bytes(latter, 2 * MIB));
        let appliance = Appliance::new();
        let [_, nvme1, hdd0] = appliance.devices();
        let away = appliance.folder.join("away");
        let mut store = appliance.open();
        publish(&mut store, &["/a"], &former, "hdd");
        drop(store);
        std::fs::rename(&hdd0, &away).unwrap();
        let mut store = appliance.open();
        publish(&mut store, &["/a"], &latter, "nvme");
        drop(store);
        std::fs::rename(&away, &hdd0).unwrap();
        rebuilt(&appliance);
        let newest = [("/a".into(), id(&latter))];
        assert_eq!(tree(&appliance.snapshot()), newest);

        std::fs::rename(&nvme1, &away).unwrap();
        let report = rebuilt(&appliance);
        assert_eq!(tree(&appliance.snapshot()), []);
        let waits: Vec<_> = report.incomplete.iter().map(|one| one.object).collect();
        assert_eq!((waits, report.unreferenced), (vec![id(&latter)], 1));
        std::fs::rename(&away, &nvme1).unwrap();
        rebuilt(&appliance);
        assert_eq!(tree(&appliance.snapshot()), newest);
    }
}

#[test]
fn sidecars_of_a_release_to_come_are_named_with_the_way_out_and_left_alone() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(1, 10), "hdd");
    publish(&mut store, &["/b"], &bytes(2, 10), "hdd");
    let device = store.devices()[2].device.as_ref().unwrap().clone();
    drop(store);
    let sidecar = device.sidecar_path(&id(&bytes(1, 10)));
    make_newer(&sidecar);
    let newer = std::fs::read(&sidecar).unwrap();
    let report = rebuilt(&appliance);
    assert_eq!((report.objects, report.unusable.len()), (1, 1));
    let named = &report.unusable[0];
    assert_eq!(named.path, sidecar);
    assert!(named.cause.contains("format 2 is newer"), "{}", named.cause);
    assert!(
        named.cause.contains("install a newer version"),
        "{}",
        named.cause
    );
    let mut store = appliance.open();
    store.reap(report.generation).unwrap();
    assert_eq!(std::fs::read(&sidecar).unwrap(), newer);
    assert!(device.column_path(&id(&bytes(1, 10))).exists());
}

#[test]
fn damaged_and_strange_files_are_listed_and_left_alone() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(1, 10), "hdd");
    publish(&mut store, &["/b"], &bytes(2, 10), "hdd");
    publish(&mut store, &["/c"], &bytes(3, 10), "hdd");
    let device = store.devices()[2].device.as_ref().unwrap().clone();
    drop(store);
    let sidecar = device.sidecar_path(&id(&bytes(1, 10)));
    let mut flipped = std::fs::read(&sidecar).unwrap();
    flipped[60] ^= 4;
    std::fs::write(&sidecar, &flipped).unwrap();
    let column = device.column_path(&id(&bytes(2, 10)));
    std::fs::write(&column, b"short").unwrap();
    let stray = device.folder(&id(&bytes(3, 10))).join("stray");
    std::fs::write(&stray, b"?").unwrap();
    let files = appliance.files();
    let report = rebuilt(&appliance);
    assert_eq!(
        (report.objects, report.unusable.len()),
        (1, 3),
        "{:?}",
        report.unusable
    );
    assert!(
        report
            .unusable
            .iter()
            .any(|file| file.path == sidecar && file.cause.contains("checksum"))
    );
    assert_eq!(appliance.files(), files);
}

#[test]
fn a_lost_catalog_is_not_taken_for_a_new_appliance() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    fill(&mut store);
    drop(store);
    std::fs::remove_dir_all(appliance.state_dir()).unwrap();
    let refused = Store::open(appliance.config()).map(drop).unwrap_err();
    assert!(matches!(
        refused,
        StoreError::Catalog(CatalogProblem::Missing { .. })
    ));
    assert!(refused.to_string().contains("ocactl catalog rebuild"));
}

#[test]
fn a_rebuild_waits_for_the_writer() {
    let appliance = Appliance::new();
    let _store = appliance.open();
    let refused = rebuild(&appliance.config(), NOW_MS, |_| ()).unwrap_err();
    assert!(matches!(
        refused,
        StoreError::Catalog(CatalogProblem::Locked { .. })
    ));
}
