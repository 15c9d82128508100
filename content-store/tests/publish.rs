//! Publishing, replacing, removing, reaping: what is visible, and which files there are.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use content_store::catalog::{CatalogProblem, CatalogReader};
use content_store::chunk_tree::ChunkTree;
use content_store::sidecar::Sidecar;
use content_store::{
    Content, Fault, Generation, Publication, Stage, Step, StepHook, Store, StoreError, take_down,
};
use support::{Appliance, MIB, bytes, content, id, path, publication, publish, tree};

#[test]
fn an_object_is_cut_over_its_devices_and_comes_back_whole() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let original = bytes(1, 5 * MIB + 12345);
    publish(&mut store, &["/a.mp4"], &original, "nvme");
    let snapshot = appliance.snapshot();
    let record = &snapshot.objects[0];
    let copy = &record.copies[0];
    assert_eq!(
        (record.size, copy.layout.width()),
        (original.len() as u64, 2)
    );
    let columns: Vec<Vec<u8>> = copy
        .devices
        .iter()
        .map(|id| {
            let slot = store.devices().iter().find(|slot| slot.id() == Some(*id));
            let device = slot.unwrap().device.as_ref().unwrap();
            let column = std::fs::read(device.column_path(&record.object)).unwrap();
            let sidecar = Sidecar::read(&device.sidecar_path(&record.object)).unwrap();
            let crcs: Vec<_> = column.chunks(64 << 10).map(crc32fast::hash).collect();
            assert_eq!(crcs, &*sidecar.crcs);
            column
        })
        .collect();
    let mut whole = Vec::new();
    for piece in copy.layout.pieces(0..record.size) {
        let start = piece.offset as usize;
        whole.extend_from_slice(&columns[piece.column][start..start + piece.length as usize]);
    }
    assert_eq!(whole, original);
}

#[test]
fn paths_can_be_taken_away_while_others_are_being_published() {
    let appliance = Appliance::new();
    let lock = Store::lock(&appliance.config()).unwrap();
    let state_dir = appliance.state_dir();
    let (shared, is_meant) = (Arc::clone(&lock), Arc::new(AtomicBool::new(false)));
    let armed = Arc::clone(&is_meant);
    let (old, new) = (bytes(1, MIB), bytes(2, 2 * MIB));
    let gone = id(&old);
    let hook: StepHook = Arc::new(move |step| {
        if step == Step::FoldersSynced && armed.swap(false, SeqCst) {
            // What leads elsewhere is not meant.
            let pairs = [("/old", gone), ("/old", id(b"other")), ("/none", gone)];
            let done = take_down(&shared, &state_dir, pairs.into_iter()).unwrap();
            assert_eq!(done.unwrap().0, 1);
        }
    });
    let mut store = Store::open_with_lock(appliance.config(), Some(hook), lock).unwrap();
    publish(&mut store, &["/old"], &old, "nvme");
    is_meant.store(true, SeqCst);
    let overtaken = publication(&store, &["/new"], &new, "nvme");
    let overtaken = store.publish(vec![overtaken]);
    assert!(matches!(overtaken, Err(StoreError::Overtaken)));
    assert_eq!(tree(&appliance.snapshot()), []);
    // All of its bytes are in staging still.
    assert_eq!(store.resumable()[0].written, 2 * MIB);
    let generation = publish(&mut store, &["/new"], &new, "nvme");
    assert_eq!(tree(&appliance.snapshot()), [("/new".to_owned(), id(&new))]);
    store.reap(generation).unwrap();
    let mut files = appliance.files().into_iter();
    assert!(!files.any(|file| file.contains(&id(&old).to_string())));
    drop(store);
    appliance.open();
}

#[test]
fn empty_and_small_objects_are_objects() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    for (name, length) in [
        ("/0", 0),
        ("/1", 1),
        ("/4096", 4096),
        ("/m", MIB),
        ("/m1", MIB + 1),
    ] {
        publish(&mut store, &[name], &bytes(7, length), "nvme");
    }
    let lengths: Vec<_> = appliance
        .snapshot()
        .objects
        .iter()
        .map(|record| record.size)
        .collect();
    assert_eq!(lengths.len(), 5);
}

#[test]
fn the_same_bytes_are_stored_once() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let same = bytes(1, 3 * MIB);
    publish(&mut store, &["/a"], &same, "nvme");
    let files = appliance.files();
    assert!(matches!(
        store.stage(ChunkTree::of(&same), "hdd").unwrap(),
        Stage::Stored(_)
    ));
    publish(&mut store, &["/b", "/c"], &same, "hdd");
    assert_eq!(appliance.files(), files);
    let twice = vec![
        publication(&store, &["/d"], &bytes(2, MIB), "nvme"),
        publication(&store, &["/e"], &bytes(2, MIB), "nvme"),
    ];
    store.publish(twice).unwrap();
    assert_eq!(appliance.snapshot().objects.len(), 2);
    assert_eq!(
        appliance.files().len(),
        files.len() + 2,
        "nothing is left in staging"
    );
}

#[test]
fn a_path_is_replaced_and_the_old_object_reaped_when_nobody_uses_it() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let first = publish(&mut store, &["/live.m3u8"], &bytes(1, 100), "nvme");
    let second = publish(&mut store, &["/live.m3u8"], &bytes(2, 100), "nvme");
    assert!(second > first);
    assert_eq!(
        tree(&appliance.snapshot()),
        [("/live.m3u8".into(), id(&bytes(2, 100)))]
    );
    assert_eq!(appliance.files().len(), 4);
    let reaped = store.reap(first).unwrap();
    assert_eq!((reaped.objects, reaped.waiting), (0, 1));
    let reaped = store.reap(second).unwrap();
    assert_eq!((reaped.objects, reaped.waiting), (1, 0));
    assert!(reaped.bytes > 100);
    assert_eq!(appliance.files().len(), 2);
    assert_eq!(store.reap(second).unwrap().objects, 0);
}

#[test]
fn a_doomed_object_that_is_wanted_again_is_not_written_again() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(1, 2 * MIB), "nvme");
    let removed = store.remove(&["/a"]).unwrap();
    assert!(appliance.snapshot().objects.is_empty());
    let content = content(&store, &bytes(1, 2 * MIB), "hdd");
    assert!(matches!(content, Content::Stored(_)));
    let again = Publication {
        content,
        paths: vec![path("/b")],
    };
    let generation = store.publish(vec![again]).unwrap();
    assert!(generation > removed);
    assert_eq!(store.reap(generation).unwrap().objects, 0);
    assert_eq!(
        tree(&appliance.snapshot()),
        [("/b".into(), id(&bytes(1, 2 * MIB)))]
    );
}

#[test]
fn a_lost_column_is_written_again() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(1, 4 * MIB), "nvme");
    let lost = appliance
        .files()
        .into_iter()
        .find(|file| file.ends_with(".col"))
        .unwrap();
    std::fs::remove_file(&lost).unwrap();
    assert!(!store.is_stored(&id(&bytes(1, 4 * MIB))).unwrap());
    let generation = publish(&mut store, &["/b"], &bytes(1, 4 * MIB), "nvme");
    assert!(std::fs::exists(&lost).unwrap());
    store.reap(generation).unwrap();
    assert_eq!(appliance.files().len(), 4);
    assert_eq!(tree(&appliance.snapshot()).len(), 2);
    assert_eq!(
        appliance.snapshot().objects[0].copies[0].placed,
        generation.0
    );
}

#[test]
fn bytes_that_are_not_the_object_are_refused_after_one_group() {
    let appliance = Appliance::new();
    let store = appliance.open();
    let original = bytes(1, 3 * MIB);
    let Stage::Write(mut staging) = store.stage(ChunkTree::of(&original), "nvme").unwrap() else {
        panic!("it is not stored")
    };
    let mut changed = original.clone();
    changed[MIB as usize + 5] ^= 1;
    let refused = staging.copy_from(&changed[..], |_| ()).unwrap_err();
    assert!(
        matches!(refused, StoreError::WrongBytes { .. }),
        "{refused}"
    );
    assert_eq!(refused.fault(), Fault::Source);
    assert_eq!(staging.written(), MIB);
    // the same place again, from a better source
    staging
        .copy_from(&original[MIB as usize..], |_| ())
        .unwrap();
    staging.seal().unwrap().discard();
    for (wrong, what) in [
        (&original[..MIB as usize], "short"),
        (&[&original[..], b"x"].concat(), "long"),
    ] {
        let Stage::Write(mut staging) = store.stage(ChunkTree::of(&original), "nvme").unwrap()
        else {
            panic!("it is not stored")
        };
        let refused = staging.copy_from(wrong, |_| ()).unwrap_err();
        assert!(
            matches!(refused, StoreError::WrongLength { .. }),
            "{what}: {refused}"
        );
        staging.discard();
    }
    assert!(appliance.files().is_empty(), "staging is empty again");
}

#[test]
fn what_cannot_be_published_is_refused_and_leaves_nothing() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(1, 10), "nvme");
    let before = (appliance.snapshot(), appliance.files());
    let batch = vec![publication(&store, &["no-slash"], &bytes(2, 10), "nvme")];
    assert!(matches!(store.publish(batch), Err(StoreError::BadEntry(_))));
    let batch = vec![
        publication(&store, &["/x"], &bytes(2, 10), "nvme"),
        publication(&store, &["/x"], &bytes(3, 10), "nvme"),
    ];
    assert!(matches!(
        store.publish(batch),
        Err(StoreError::PathTwice(_))
    ));
    let batch = vec![publication(&store, &[], &bytes(2, 10), "nvme")];
    assert!(matches!(store.publish(batch), Err(StoreError::NoPath(_))));
    let unknown = Publication {
        content: Content::Stored(id(b"?")),
        paths: vec![path("/x")],
    };
    assert!(matches!(
        store.publish(vec![unknown]),
        Err(StoreError::UnknownObject(_))
    ));
    assert!(matches!(
        store.remove(&["/a", "/none"]),
        Err(StoreError::UnknownPath(_))
    ));
    assert!(matches!(
        store.stage(ChunkTree::of(b""), "tape"),
        Err(StoreError::UnknownTier { .. })
    ));
    for seed in [2, 3] {
        store.discard_staging(&id(&bytes(seed, 10))).unwrap();
    }
    assert_eq!((appliance.snapshot(), appliance.files()), before);
}

#[test]
fn an_object_without_room_is_refused_with_device_and_bytes() {
    let appliance = Appliance::new();
    let store = appliance.open();
    let tree = ChunkTree::of(&bytes(1, 10));
    std::fs::rename(
        appliance.devices()[2].join("oca-device.toml"),
        appliance.folder.join("x"),
    )
    .unwrap();
    let refused = store.stage(tree, "hdd").map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::NoRoom { .. }));
    let message = refused.to_string();
    assert!(
        message.contains("hdd0") && message.contains("10 bytes"),
        "{message}"
    );
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let appliance = Appliance::new();
    let store = appliance.open();
    let refused = Store::open(appliance.config()).map(drop).unwrap_err();
    let message = refused.to_string();
    assert!(matches!(
        refused,
        StoreError::Catalog(CatalogProblem::Locked { .. })
    ));
    assert!(
        message.contains(&format!("pid {} (test)", std::process::id())),
        "{message}"
    );
    drop(store);
    appliance.open();
}

#[test]
fn a_reader_sees_whole_commits_and_the_generation() {
    let appliance = Appliance::new();
    let missing = CatalogReader::open(&appliance.state_dir()).map(drop);
    assert!(matches!(missing, Err(CatalogProblem::Missing { .. })));
    let mut store = appliance.open();
    let mut reader = CatalogReader::open(&appliance.state_dir()).unwrap();
    assert_eq!(reader.generation().unwrap(), Generation(1));
    let batch = vec![
        publication(&store, &["/a"], &bytes(1, 10), "nvme"),
        publication(&store, &["/b"], &bytes(2, 10), "hdd"),
    ];
    let generation = store.publish(batch).unwrap();
    assert_eq!(reader.generation().unwrap(), generation);
    assert_eq!(reader.load().unwrap().generation, generation);
    assert_eq!(reader.load().unwrap().paths.len(), 2);
}
