//! What is kept back on every device: publications fill a file system down to it and not beyond, so there is always room for what is no
//! object.

use std::path::Path;

use content_store::chunk_tree::ChunkTree;
use content_store::limits::{DEVICE_RESERVE_BYTES, DEVICE_RESERVE_INODES, INODES_PER_COLUMN};
use content_store::space::room_columns;
use content_store::{Content, Publication, Stage, Staging, Store, StoreError};
use platform::file::{Space, space};

use crate::check::is_sound;
use crate::plan::{Bytes, Deed, Tree, perform};
use crate::support::own_file_system::{given, in_memory};
use crate::support::{Appliance, MIB, bytes, id, path};

/// What comes beside columns: sidecars, journals, folders and the catalog.
const BESIDE_BYTES: u64 = 2 * MIB;

/// The body of the test `reserve_driver`: in the child it fills the file system of the folder, anywhere else it does nothing.
pub fn run() {
    let Some(folder) = given() else { return };
    let appliance = Appliance::make_at(&folder.join("box"));
    let mut store = appliance.open();
    let staged = stage_all(&store, &folder);
    let kept = space(&folder).unwrap();
    assert!(
        kept.available_bytes < DEVICE_RESERVE_BYTES + MIB || room_columns(&kept) == 0,
        "refused with room: {kept:?}"
    );
    // All of it can be written, sealed and published, and then have further paths: nothing else has had its room.
    let mut tree = Tree::new();
    let mut batch = Vec::new();
    for (staging, of) in staged {
        batch.push(write(staging, of, &mut tree));
    }
    store.publish(batch).unwrap();
    let paths: Vec<_> = tree.clone().into_iter().collect();
    for (at, object) in paths {
        let further = format!("{at}/{}", "further".repeat(100));
        let publication = Publication {
            content: Content::Stored(object),
            paths: vec![path(&further)],
        };
        store.publish(vec![publication]).unwrap();
        tree.insert(further, object);
        keeps_reserve(&folder);
    }
    a_repair_waits_for_room(&mut store, &appliance, &mut tree);
    drop(store);
    is_sound(&appliance, &tree).unwrap();
    println!(
        "{}: {} objects, then refused with {} B and {} files kept",
        folder.display(),
        tree.len() / 2,
        kept.available_bytes,
        kept.available_inodes
    );
}

/// The body of the test `files_driver`: in the child it uses up the files of the folder's file system, anywhere else it does nothing.
pub fn run_short_of_files() {
    let Some(folder) = given() else { return };
    let appliance = Appliance::make_at(&folder.join("box"));
    let mut store = appliance.open();
    let mut tree = Tree::new();
    loop {
        let of = Bytes(tree.len() as u64, 10);
        match store.stage(ChunkTree::of(&of.bytes()), "hdd") {
            Ok(Stage::Write(staging)) => {
                let publication = write(staging, of, &mut tree);
                store.publish(vec![publication]).unwrap();
            }
            Ok(Stage::Stored(object)) => panic!("{object} was never published"),
            Err(StoreError::NoRoom { .. }) => break,
            Err(error) => panic!("{error}"),
        }
        keeps_reserve(&folder);
    }
    let kept = space(&folder).unwrap();
    assert!(
        kept.available_bytes > 2 * DEVICE_RESERVE_BYTES,
        "{kept:?}: bytes ran out first"
    );
    assert!(
        kept.available_inodes < DEVICE_RESERVE_INODES + INODES_PER_COLUMN,
        "refused with files for more: {kept:?}"
    );
    println!(
        "{}: {} objects, then refused with {} B and {} files kept",
        folder.display(),
        tree.len(),
        kept.available_bytes,
        kept.available_inodes
    );
    // The way out.
    let state_dir = appliance.state_dir();
    for number in 0..4 {
        let gone = format!("/{number}");
        perform(&mut store, &state_dir, &Deed::Remove(gone.clone())).unwrap();
        tree.remove(&gone);
    }
    perform(&mut store, &state_dir, &Deed::Reap).unwrap();
    drop(store);
    is_sound(&appliance, &tree).unwrap();
}

/// As much as there is room for, all at once: what is staged has its room before its first byte is written.
fn stage_all(store: &Store, folder: &Path) -> Vec<(Staging, Bytes)> {
    let mut staged = Vec::new();
    for size in [8 * MIB, MIB, 64 << 10] {
        loop {
            let number = staged.len() as u64;
            let of = Bytes(number, size);
            let tier = ["nvme", "hdd"][number as usize % 2];
            match store.stage(ChunkTree::of(&of.bytes()), tier) {
                Ok(Stage::Write(staging)) => staged.push((staging, of)),
                Ok(Stage::Stored(object)) => panic!("{object} was never published"),
                Err(StoreError::NoRoom { .. }) => break,
                Err(error) => panic!("{error}"),
            }
            keeps_reserve(folder);
        }
    }
    assert!(staged.len() > 4, "{}", staged.len());
    staged
}

fn write(mut staging: Staging, of: Bytes, tree: &mut Tree) -> Publication {
    let all = of.bytes();
    staging.copy_from(&*all, |_| ()).unwrap();
    let at = format!("/{}", of.0);
    let paths = vec![path(&at)];
    tree.insert(at, id(&all));
    Publication {
        content: Content::Sealed(staging.seal().unwrap()),
        paths,
    }
}

/// A column is not written anew at the cost of what is kept back; once something has gone, it is.
fn a_repair_waits_for_room(store: &mut Store, appliance: &Appliance, tree: &mut Tree) {
    let state_dir = appliance.state_dir();
    let (bad, gone) = (Bytes(0, 8 * MIB), Bytes(2, 8 * MIB));
    perform(store, &state_dir, &Deed::Quarantine(bad)).unwrap();
    let refused = perform(store, &state_dir, &Deed::Repair(bad)).unwrap_err();
    assert!(matches!(refused, StoreError::NoRoom { .. }), "{refused}");
    keeps_reserve(&appliance.folder);
    let gone = id(&bytes(gone.0, gone.1));
    let removed: Vec<String> = tree
        .iter()
        .filter(|(_, object)| **object == gone)
        .map(|(at, _)| at.clone())
        .collect();
    for at in removed {
        perform(store, &state_dir, &Deed::Remove(at.clone())).unwrap();
        tree.remove(&at);
    }
    perform(store, &state_dir, &Deed::Reap).unwrap();
    perform(store, &state_dir, &Deed::Repair(bad)).unwrap();
    keeps_reserve(&appliance.folder);
}

fn keeps_reserve(folder: &Path) {
    let Space {
        available_bytes,
        available_inodes,
        ..
    } = space(folder).unwrap();
    assert!(
        available_bytes + BESIDE_BYTES >= DEVICE_RESERVE_BYTES,
        "{available_bytes} B are left"
    );
    assert!(
        available_inodes >= DEVICE_RESERVE_INODES,
        "{available_inodes} files are left"
    );
}

/// With files enough for the bytes to run out first.
#[test]
fn publications_never_take_what_is_kept_back() {
    let said = in_memory("reserve_driver", "size=96m,nr_inodes=600");
    assert!(said.contains("refused"), "{said}");
    println!("{said}");
}

/// With bytes enough for the files to run out first.
#[test]
fn publications_never_take_the_files_that_are_kept_back() {
    let said = in_memory("files_driver", "size=96m,nr_inodes=200");
    assert!(said.contains("refused"), "{said}");
    println!("{said}");
}
