//! The index: what is found, what is taken over from the one before, what falls out.

mod support;

use std::path::Path;
use std::sync::Arc;

use content_store::column::ColumnSource;
use content_store::index::Built;
use content_store::{Column, Index, IndexDevice, Object, Store, StripeLayout};
use platform::stored_file::Source;
use support::{Appliance, MIB, bytes, id, publish};

fn devices(store: &Store) -> Vec<IndexDevice> {
    store.devices().iter().map(IndexDevice::from).collect()
}

fn built(appliance: &Appliance, devices: &[IndexDevice], previous: Option<&Index>) -> Built {
    Index::build(appliance.snapshot(), devices, previous)
}

fn object(index: &Index, path: &str) -> Arc<Object> {
    Arc::clone(&index.lookup(path.as_bytes()).expect("published").object)
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
    assert_eq!(&*entry.content_type, "video/mp4");
    assert_eq!(entry.object.etag, id(&bytes(1, 3 * MIB)).etag());
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
    for column in &object.first.columns {
        let Column::Here { device, file } = column else {
            panic!("all devices are here")
        };
        assert_eq!(file.device(), *device);
        assert_eq!(std::fs::metadata(file.path()).unwrap().len(), file.length());
        assert!(file.path().starts_with(&store.devices()[*device].root));
    }
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
    let entries = [&first.index, &second.index].map(|index| index.lookup(b"/stays").unwrap());
    assert!(Arc::ptr_eq(entries[0], entries[1]));
    let mut fallen: Vec<_> = second.fallen.iter().map(|object| object.id).collect();
    fallen.sort();
    let mut expected = [id(&bytes(2, 10)), id(&bytes(3, 10))];
    expected.sort();
    assert_eq!(fallen, expected);
    assert!(second.index.lookup(b"/goes").is_none());
    // whoever owns the index can see when nobody else uses what fell out
    drop(first);
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
    let columns = &object(&without, "/a").first.columns;
    let absent = |column: &&Column| matches!(column, Column::Absent { device } if Some(*device) == all[1].id);
    assert_eq!(columns.iter().filter(absent).count(), 1);
    assert!(!object(&without, "/a").is_whole());
    // the device comes back: its column is new, the other one is taken over
    let with = built(&appliance, &all, Some(&without));
    let back = object(&with.index, "/a");
    assert!(back.is_whole());
    assert_eq!(with.fallen.len(), 1);
    for (before, now) in columns.iter().zip(&back.first.columns) {
        if let (Column::Here { file: before, .. }, Column::Here { file: now, .. }) = (before, now) {
            assert!(Arc::ptr_eq(before, now));
        }
    }
}

#[test]
fn a_column_that_was_written_again_is_a_new_file() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(1, 100), "hdd");
    let devices = devices(&store);
    let first = built(&appliance, &devices, None).index;
    let Column::Here { file, .. } = &object(&first, "/a").first.columns[0] else {
        panic!("it is here")
    };
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
        let Column::Here { device, file } = column else {
            panic!("all devices are here")
        };
        let root: Arc<Path> = store.devices()[*device].root.as_path().into();
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
