//! A bad column is known to the catalog: nobody reads it, other copies serve, and what was seen before a newer placement is no news.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use content_store::{
    BadColumn, Column, Content, Generation, Index, IndexDevice, Publication, Store,
};
use support::{Appliance, MIB, bytes, id, publish};

fn index(appliance: &Appliance, store: &Store, before: Option<&Index>) -> Index {
    let devices: Vec<IndexDevice> = store.devices().iter().map(IndexDevice::from).collect();
    appliance.index(&devices, before).index
}

/// A column of the first copy, as it is seen now.
fn column(appliance: &Appliance, column: usize) -> BadColumn {
    let snapshot = appliance.snapshot();
    let record = &snapshot.objects[0];
    BadColumn {
        object: record.object,
        device: record.copies[0].devices[column],
        seen: snapshot.generation,
    }
}

fn are_bad(index: &Index) -> Vec<bool> {
    let film = index.lookup(b"/film").unwrap();
    let columns = film.object().first.columns.iter();
    columns.map(Column::is_bad).collect()
}

#[test]
fn a_bad_column_is_not_read_by_anybody_and_stays_so() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let film = bytes(1, 3 * MIB + 5);
    publish(&mut store, &["/film"], &film, "nvme");
    let before = index(&appliance, &store, None);
    let bad = column(&appliance, 1);

    let generation = store.quarantine(&[bad]).unwrap();
    assert_eq!(generation, Some(appliance.snapshot().generation));
    assert_eq!(store.quarantine(&[bad]).unwrap(), None, "it is known");
    let copy = &appliance.snapshot().objects[0].copies[0];
    assert!(copy.bad.contains(1) && !copy.bad.contains(0));

    let now = index(&appliance, &store, Some(&before));
    assert_eq!(are_bad(&now), [false, true]);
    assert!(!now.lookup(b"/film").unwrap().object().is_whole());
    assert!(!store.is_stored(&id(&film)).unwrap());
    assert!(store.reader(&id(&film)).is_err());

    // Over a restart, and without the index of before.
    drop(store);
    let store = appliance.open();
    assert_eq!(are_bad(&index(&appliance, &store, None)), [false, true]);
}

#[test]
fn another_copy_serves_and_is_read() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let film = bytes(1, 3 * MIB + 5);
    publish(&mut store, &["/film"], &film, "nvme");
    let mut staging = store.stage_copy(&id(&film), "hdd").unwrap();
    let reader = store.reader(&id(&film)).unwrap();
    staging.copy_from(reader, |_| ()).unwrap();
    let content = Content::Copied(staging.seal().unwrap());
    let paths = Vec::new();
    store.publish(vec![Publication { content, paths }]).unwrap();

    store.quarantine(&[column(&appliance, 0)]).unwrap();
    let now = index(&appliance, &store, None);
    assert!(now.lookup(b"/film").unwrap().object().is_whole());
    assert_eq!(are_bad(&now), [true, false]);
    let mut read = Vec::new();
    let mut reader = store.reader(&id(&film)).unwrap();
    std::io::Read::read_to_end(&mut reader, &mut read).unwrap();
    assert_eq!(read, film);
}

#[test]
fn what_was_seen_of_an_earlier_placement_is_no_news() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let film = bytes(1, 3 * MIB + 5);
    publish(&mut store, &["/film"], &film, "nvme");
    let bad = column(&appliance, 0);
    let early = Generation(bad.seen.0 - 1);
    for passed_over in [
        BadColumn { seen: early, ..bad },
        BadColumn {
            object: id(b"another"),
            ..bad
        },
        BadColumn {
            device: content_store::DeviceId([9; 16]),
            ..bad
        },
    ] {
        assert_eq!(store.quarantine(&[passed_over]).unwrap(), None);
    }
    assert!(store.is_stored(&id(&film)).unwrap());
    assert!(store.quarantine(&[bad]).unwrap().is_some());
}
