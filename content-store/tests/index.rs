//! The index: what is found, what is taken over from the one before, what falls out.

mod support;

use std::path::Path;
use std::sync::Arc;

use content_store::column::ColumnSource;
use content_store::index::Built;
use content_store::{Index, IndexDevice, Object, Store, StripeLayout};
use platform::stored_file::Source;
use support::{Appliance, MIB, bytes, id, publish};

fn devices(store: &Store) -> Vec<IndexDevice> {
    store.devices().iter().map(IndexDevice::from).collect()
}

fn built(appliance: &Appliance, devices: &[IndexDevice], previous: Option<&Index>) -> Built {
    appliance.index(devices, previous)
}

fn object(index: &Index, path: &str) -> Arc<Object> {
    Arc::clone(index.lookup(path.as_bytes()).expect("published").object())
}

#[test]
fn paths_are_found_and_others_are_not() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(
        &mut store,
        &["/a/1.mp4", "/a/2.mp4"],
        &bytes(1, 3 * MIB),
        "nvme",
    );
    publish(&mut store, &["/ü"], &bytes(2, 5), "hdd");
    let index = built(&appliance, &devices(&store), None).index;
    assert_eq!(
        (index.len(), index.object_count(), index.bytes()),
        (3, 2, 3 * MIB + 5)
    );
    assert_eq!(index.generation(), store.generation().unwrap());
    let entry = index.lookup(b"/a/1.mp4").unwrap();
    assert_eq!(
        (entry.path(), entry.content_type()),
        ("/a/1.mp4", "video/mp4")
    );
    assert_eq!(entry.object().etag(), id(&bytes(1, 3 * MIB)).etag());
    assert!(Arc::ptr_eq(
        &object(&index, "/a/1.mp4"),
        &object(&index, "/a/2.mp4")
    ));
    assert!(index.lookup("/ü".as_bytes()).is_some());
    for path in [&b"/a"[..], b"", b"/a/1.mp4/", b"\xff\xfe"] {
        assert!(index.lookup(path).is_none());
    }
}

#[test]
fn columns_name_files_that_are_there() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(1, 3 * MIB), "nvme");
    let index = built(&appliance, &devices(&store), None).index;
    let object = object(&index, "/a");
    assert_eq!(object.first.columns.len(), 2);
    for (number, column) in object.first.columns.iter().enumerate() {
        let known = object.file(0, number).unwrap();
        let file = known.stored();
        assert_eq!(Some(file.device()), column.device());
        assert_eq!(
            (known.device(), known.length()),
            (file.device(), file.length())
        );
        assert_eq!(std::fs::metadata(file.path()).unwrap().len(), file.length());
        assert!(
            file.path()
                .starts_with(&store.devices()[file.device()].root)
        );
        assert!(Arc::ptr_eq(&file, &known.stored()), "it is made once");
    }
    assert!(object.file(0, 2).is_none() && object.file(1, 0).is_none());
}

#[test]
fn what_did_not_change_is_taken_over_and_the_rest_falls_out() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/stays"], &bytes(1, 3 * MIB), "nvme");
    publish(&mut store, &["/live"], &bytes(2, 10), "nvme");
    publish(&mut store, &["/goes"], &bytes(3, 10), "hdd");
    let devices = devices(&store);
    let first = built(&appliance, &devices, None);
    assert!(first.fallen.is_empty());
    publish(&mut store, &["/live"], &bytes(4, 10), "nvme");
    store.remove(&["/goes"]).unwrap();
    let second = built(&appliance, &devices, Some(&first.index));
    let same = |path| Arc::ptr_eq(&object(&first.index, path), &object(&second.index, path));
    assert!(same("/stays") && !same("/live"));
    let mut fallen: Vec<_> = second.fallen.iter().map(|object| object.id).collect();
    fallen.sort();
    let mut expected = [id(&bytes(2, 10)), id(&bytes(3, 10))];
    expected.sort();
    assert_eq!(fallen, expected);
    assert!(second.index.lookup(b"/goes").is_none());
    // whoever owns the index can see when nobody else uses what fell out
    let (index, pages) = (second.index, second.fallen_pages);
    drop((first, pages));
    assert_eq!(index.len(), 2);
    assert!(
        second
            .fallen
            .iter()
            .all(|object| Arc::strong_count(object) == 1)
    );
}

#[test]
fn an_absent_device_is_not_a_missing_object() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(1, 3 * MIB), "nvme");
    let all = devices(&store);
    let mut some = all.clone();
    some[1].id = None;
    let without = built(&appliance, &some, None).index;
    let before = object(&without, "/a");
    let mut absent = before.columns().filter(|column| column.device().is_none());
    assert_eq!(before.device_of(absent.next().unwrap()), all[1].id);
    assert!(absent.next().is_none() && !before.is_whole());
    let read = [0, 1].map(|column| Some(before.file(0, column)?.stored()));
    // the device comes back: its column is new, the other one is taken over
    let with = built(&appliance, &all, Some(&without));
    let back = object(&with.index, "/a");
    assert!(back.is_whole());
    assert_eq!(with.fallen.len(), 1);
    for (column, read) in read.iter().enumerate() {
        let now = back.file(0, column).unwrap().stored();
        assert!(read.as_ref().is_none_or(|read| Arc::ptr_eq(read, &now)));
    }
}

#[test]
fn a_column_that_was_written_again_is_a_new_file() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(1, 100), "hdd");
    let devices = devices(&store);
    let first = built(&appliance, &devices, None).index;
    let file = object(&first, "/a").file(0, 0).unwrap().stored();
    std::fs::remove_file(file.path()).unwrap();
    publish(&mut store, &["/a"], &bytes(1, 100), "hdd");
    let second = built(&appliance, &devices, Some(&first));
    assert!(!Arc::ptr_eq(
        &object(&first, "/a"),
        &object(&second.index, "/a")
    ));
    assert_eq!(second.fallen.len(), 1);
}

#[test]
fn the_check_of_a_column_comes_from_its_sidecar() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(1, 3 * MIB), "nvme");
    let index = built(&appliance, &devices(&store), None).index;
    let object = object(&index, "/a");
    for (number, column) in object.first.columns.iter().enumerate() {
        let file = object.file(0, number).unwrap().stored();
        assert_eq!(column.device(), Some(file.device()));
        let root: Arc<Path> = store.devices()[file.device()].root.as_path().into();
        let source =
            |column, layout| ColumnSource::new(Arc::clone(&root), object.id, column, layout);
        let layout = object.first.layout;
        let check = source(number as u8, layout).load_check().unwrap();
        let mut bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(check.check(0, &bytes), Ok(()));
        bytes[70_000] ^= 1;
        assert_eq!(check.check(0, &bytes).unwrap_err().offset, 64 << 10);
        assert!(
            source(1 - number as u8, layout).load_check().is_err(),
            "the sidecar of another column"
        );
        let other = StripeLayout::new(layout.size(), 2 * MIB, 2).unwrap();
        assert!(
            source(number as u8, other).load_check().is_err(),
            "of columns that are cut otherwise"
        );
    }
}
