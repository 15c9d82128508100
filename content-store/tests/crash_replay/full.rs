//! File systems that are really full, of bytes or of files, and small enough to be filled.
//!
//! The box lies wholly on one: its devices and its state. What is sealed is published while so much is left and no more; it succeeds, or it
//! fails and says where. Then room is made, and all goes on.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use content_store::{Publication, StoreError};

use crate::check::{is_sound, published};
use crate::plan::Tree;
use crate::support::own_file_system::{given, in_memory};
use crate::support::{Appliance, MIB, bytes, content, id, path, publish};

/// The body of the test `full_driver`: in the child it fills the file system of the folder, anywhere else it does nothing.
pub fn run() {
    let Some(folder) = given() else { return };
    let folder = &*folder;
    let bytes = [0, 1, 4, 8, 16, 24, 32, 64, 128, 512];
    let (mut refused, mut done) = (0, 0);
    for left in bytes
        .map(|kib| Left::Bytes(kib << 10))
        .into_iter()
        .chain((0..10).map(Left::Files))
    {
        match publish_with(folder, left) {
            true => done += 1,
            false => refused += 1,
        }
    }
    println!(
        "{}: {refused} publications refused for want of room, {done} done",
        folder.display()
    );
    assert!(refused > 2 && done > 2);
}

/// What of the file system is left.
#[derive(Clone, Copy, Debug)]
enum Left {
    Bytes(u64),
    Files(u64),
}

/// Whether the publication was done at once.
fn publish_with(folder: &Path, left: Left) -> bool {
    let appliance = Appliance::make_at(&folder.join("box"));
    let mut store = appliance.open();
    publish(&mut store, &["/old"], &bytes(1, 3000), "nvme");
    publish(&mut store, &["/other"], &bytes(2, MIB), "hdd");
    let sealed = content(&store, &bytes(3, 2 * MIB + 5), "nvme");
    let mut ballast = Ballast::fill(&folder.join("ballast"), left);
    let batch = vec![Publication {
        content: sealed,
        paths: vec![path("/old"), path("/new")],
    }];
    let published_now = store.publish(batch);
    if let Err(error) = &published_now {
        says_where(error, folder);
    }
    // Opened by somebody else, nothing is lost, and it can be read.
    let (found, _) = published(&appliance).unwrap_or_else(|words| panic!("{left:?}: {words}"));
    let before: Tree = [
        ("/old".into(), id(&bytes(1, 3000))),
        ("/other".into(), id(&bytes(2, MIB))),
    ]
    .into();
    let mut after = before.clone();
    after.insert("/old".into(), id(&bytes(3, 2 * MIB + 5)));
    after.insert("/new".into(), id(&bytes(3, 2 * MIB + 5)));
    assert_eq!(
        found,
        if published_now.is_ok() {
            after.clone()
        } else {
            before
        },
        "{left:?}"
    );
    // What can be had back without room for more: the way out of a full disk.
    match store.remove(&["/other"]) {
        Ok(generation) => drop(
            store
                .reap(generation)
                .map_err(|error| says_where(&error, folder)),
        ),
        Err(error) => says_where(&error, folder),
    }
    drop(store);
    ballast.remove();
    let mut store = appliance.open();
    if published_now.is_err() {
        let sealed = content(&store, &bytes(3, 2 * MIB + 5), "nvme");
        let batch = vec![Publication {
            content: sealed,
            paths: vec![path("/old"), path("/new")],
        }];
        store.publish(batch).unwrap();
    }
    match store.remove(&["/other"]) {
        Ok(_) | Err(StoreError::UnknownPath(_)) => {}
        Err(error) => panic!("{left:?}: {error}"),
    }
    drop(store);
    after.remove("/other");
    is_sound(&appliance, &after).unwrap_or_else(|words| panic!("{left:?}: {words}"));
    fs::remove_dir_all(&appliance.folder).unwrap();
    published_now.is_ok()
}

fn says_where(error: &StoreError, folder: &Path) {
    let words = error.to_string();
    assert!(words.contains(&folder.display().to_string()), "{words}");
}

/// Files of nobody.
struct Ballast {
    folder: PathBuf,
}

impl Ballast {
    fn fill(folder: &Path, left: Left) -> Self {
        fs::create_dir(folder).unwrap();
        let ballast = Self {
            folder: folder.into(),
        };
        match left {
            Left::Bytes(bytes) => {
                ballast.write("last", bytes);
                ballast.write("most", u64::MAX);
                fs::remove_file(folder.join("last")).unwrap();
            }
            Left::Files(count) => {
                let made = (0..)
                    .take_while(|number| File::create(folder.join(number.to_string())).is_ok());
                let made = made.count() as u64;
                (made.saturating_sub(count)..made)
                    .for_each(|number| fs::remove_file(folder.join(number.to_string())).unwrap());
            }
        }
        ballast
    }

    /// So many bytes, or as many as there is room for.
    fn write(&self, name: &str, bytes: u64) {
        let mut file = File::create(self.folder.join(name)).unwrap();
        for piece in [1 << 20, 4096] {
            let buffer = vec![1; piece];
            loop {
                let written = file.metadata().unwrap().len();
                if written + piece as u64 > bytes {
                    break;
                }
                match file.write(&buffer) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        file.sync_all().unwrap();
    }

    fn remove(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// Of 96 MiB and 160 files.
#[test]
fn a_full_file_system_loses_nothing() {
    let said = in_memory("full_driver", "size=96m,nr_inodes=160");
    assert!(said.contains("refused"), "{said}");
    println!("{said}");
}
