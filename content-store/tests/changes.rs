//! The log of changes: an index that follows the catalog commit by commit is the one that is made of all that is published, and
//! who is too far behind is told so.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::sync::Arc;

use content_store::catalog::CatalogReader;
use content_store::index::Built;
use content_store::limits::LOGGED_GENERATIONS;
use content_store::{BadColumn, Content, Generation, Index, IndexDevice, Publication, Store};
use support::{Appliance, MIB, bytes, id, path, publish};

/// What can be seen of an index, in order.
fn seen(index: &Index) -> (Vec<String>, Vec<String>) {
    let mut paths: Vec<String> = index
        .paths()
        .map(|entry| {
            let found = index.lookup(entry.path().as_bytes()).unwrap();
            assert_eq!(found.path(), entry.path());
            assert!(Arc::ptr_eq(found.object(), entry.object()));
            let known = index.object(&entry.object().id).unwrap();
            assert!(
                Arc::ptr_eq(known, entry.object()),
                "a path to an old object"
            );
            format!(
                "{} {} {}",
                entry.path(),
                entry.modified_s(),
                entry.object().id
            )
        })
        .collect();
    paths.sort();
    let objects = index.objects().map(|object| {
        let columns = object.columns();
        let columns = columns.map(|column| (object.device_of(column), column.is_bad()));
        format!(
            "{} {} {:?}",
            object.id,
            object.size(),
            columns.collect::<Vec<_>>()
        )
    });
    let objects: Vec<_> = objects.collect();
    assert_eq!(
        (paths.len(), objects.len()),
        (index.len(), index.object_count())
    );
    (paths, objects)
}

struct Follower {
    reader: CatalogReader,
    devices: Vec<IndexDevice>,
    index: Index,
}

impl Follower {
    fn new(appliance: &Appliance, store: &Store) -> Self {
        let devices: Vec<_> = store.devices().iter().map(IndexDevice::from).collect();
        Self {
            index: appliance.index(&devices, None).index,
            reader: CatalogReader::open(&appliance.state_dir()).unwrap(),
            devices,
        }
    }

    /// Follows by the log alone, and compares.
    fn follow(&mut self, appliance: &Appliance) -> Built {
        let changes = self.reader.changes_since(self.index.generation()).unwrap();
        let mut built = self.index.changed(&changes.expect("the log says it"));
        let whole = appliance.index(&self.devices, None).index;
        assert_eq!(seen(&built.index), seen(&whole));
        assert_eq!(built.index.bytes(), whole.bytes());
        assert_eq!(built.index.generation(), whole.generation());
        std::mem::swap(&mut self.index, &mut built.index);
        built
    }
}

fn copy_to(store: &mut Store, content: &[u8], tier: &str) {
    let mut staging = store.stage_copy(&id(content), tier).unwrap();
    let reader = store.reader(&id(content)).unwrap();
    staging.copy_from(reader, |_| ()).unwrap();
    let content = Content::Copied(staging.seal().unwrap());
    let paths = Vec::new();
    store.publish(vec![Publication { content, paths }]).unwrap();
}

#[test]
fn commit_by_commit_it_is_the_index_of_the_whole() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let mut follower = Follower::new(&appliance, &store);
    let film = bytes(1, 3 * MIB + 5);
    publish(&mut store, &["/film", "/other/name"], &film, "nvme");
    let built = follower.follow(&appliance);
    assert_eq!((built.fresh.len(), built.fallen.len()), (1, 0));

    // A path that is there leads to another object, one is added, one is taken away.
    publish(&mut store, &["/live"], &bytes(2, 10), "hdd");
    follower.follow(&appliance);
    let stays = Arc::clone(follower.index.object(&id(&film)).unwrap());
    publish(&mut store, &["/live"], &bytes(3, 10), "hdd");
    let built = follower.follow(&appliance);
    assert_eq!((built.fresh.len(), built.fallen.len()), (1, 1));
    assert!(Arc::ptr_eq(
        &stays,
        follower.index.object(&id(&film)).unwrap()
    ));
    let content = Content::Stored(id(&film));
    let paths = vec![path("/third")];
    store.publish(vec![Publication { content, paths }]).unwrap();
    let built = follower.follow(&appliance);
    assert!(built.fresh.is_empty() && built.fallen.is_empty());
    store.remove(&["/other/name", "/live"]).unwrap();
    follower.follow(&appliance);

    // The object changes, its paths do not: they lead to what it is now, which has the files that were read.
    let read = follower.index.lookup(b"/film").unwrap();
    let read = read.object().file(0, 1).unwrap().stored();
    copy_to(&mut store, &film, "hdd");
    follower.follow(&appliance);
    let now = follower.index.lookup(b"/film").unwrap();
    assert_eq!(now.object().copies().count(), 2);
    assert!(Arc::ptr_eq(
        &now.object().file(0, 1).unwrap().stored(),
        &read
    ));
    let device = now.object().device_of(&now.object().first.columns[1]);
    let bad = BadColumn {
        object: id(&film),
        device: device.unwrap(),
        seen: follower.index.generation(),
    };
    store.quarantine(&[bad]).unwrap();
    follower.follow(&appliance);
    assert!(read.is_bad(), "nobody reads it any more");

    // Several commits at once, and nothing at all.
    publish(&mut store, &["/a"], &bytes(4, 10), "hdd");
    store.remove(&["/a"]).unwrap();
    publish(&mut store, &["/b", "/film"], &bytes(5, 10), "hdd");
    follower.follow(&appliance);
    let built = follower.follow(&appliance);
    assert!(built.fresh.is_empty() && built.fallen_pages.is_empty());
}

#[test]
fn a_new_index_shares_what_a_commit_did_not_touch() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    for number in 0..40 {
        let path = format!("/{number}");
        publish(&mut store, &[&path], &bytes(number, 10), "hdd");
    }
    let mut follower = Follower::new(&appliance, &store);
    publish(&mut store, &["/0"], &bytes(100, 10), "hdd");
    let built = follower.follow(&appliance);
    assert_eq!(built.fallen_pages.len(), 1);
    assert_eq!((built.fresh.len(), built.fallen.len()), (1, 1));
}

#[test]
fn who_is_too_far_behind_reads_all() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let first = publish(&mut store, &["/a"], &bytes(1, 10), "hdd");
    let mut reader = CatalogReader::open(&appliance.state_dir()).unwrap();
    let mut is_logged = |from| reader.changes_since(from).unwrap().is_some();
    for number in 0..LOGGED_GENERATIONS {
        assert!(is_logged(first), "{number} commits behind");
        let content = Content::Stored(id(&bytes(1, 10)));
        let paths = vec![path(&format!("/{number}"))];
        store.publish(vec![Publication { content, paths }]).unwrap();
    }
    let next = Generation(first.0 + 1);
    assert!(is_logged(first) && is_logged(next));
    publish(&mut store, &["/b"], &bytes(2, 10), "hdd");
    assert!(!is_logged(first) && is_logged(next));
    let ahead = Generation(store.generation().unwrap().0 + 1);
    assert!(!is_logged(ahead), "of another catalog");
    assert!(!is_logged(Generation(0)));
}

#[test]
fn a_commit_that_changes_too_much_is_not_logged_and_the_next_one_is() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let film = bytes(1, 10);
    let before = publish(&mut store, &["/a"], &film, "hdd");
    let long = "x".repeat(1000);
    let paths = (0..300).map(|number| path(&format!("/{long}{number}")));
    let content = Content::Stored(id(&film));
    let large = Publication {
        content,
        paths: paths.collect(),
    };
    let large = store.publish(vec![large]).unwrap();
    let mut reader = CatalogReader::open(&appliance.state_dir()).unwrap();
    assert!(reader.changes_since(before).unwrap().is_none());
    publish(&mut store, &["/b"], &bytes(2, 10), "hdd");
    assert!(reader.changes_since(before).unwrap().is_none(), "a gap");
    let changes = reader.changes_since(large).unwrap().unwrap();
    assert_eq!((changes.objects.len(), changes.paths.len()), (1, 1));
    assert!(reader.contradictions().unwrap().is_empty());
}
