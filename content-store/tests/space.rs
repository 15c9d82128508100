//! What the store accounts for is what the file system has given: after thousands of operations in random order, on every device.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use content_store::chunk_tree::ChunkTree;
use content_store::limits::MAX_BATCH_OBJECTS;
use content_store::space::{account, footprint};
use content_store::{Content, ObjectId, Publication, Stage, Store};
use support::own_file_system::{given, in_memory};
use support::{Appliance, MIB, bytes, path};

const OPERATIONS: u32 = 10_000;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31) % bound
    }
}

/// A store that is written to at random.
struct Churn {
    store: Store,
    random: Random,
    live: Vec<Live>,
    batch: Vec<Publication>,
    /// The bytes of all objects, but for the first ones.
    bytes: Vec<u8>,
    next: u64,
}

struct Live {
    object: ObjectId,
    paths: Vec<String>,
}

impl Churn {
    /// One operation: an object or a path comes, or something goes.
    fn turn(&mut self) {
        match self.random.below(20) {
            0..=8 => self.publish(),
            9 => self.another_path(),
            10 => self.copy(),
            11 => self.fewer_copies(),
            12 => self.give_up_half_way(),
            13 => self.reap(),
            _ => self.remove(),
        }
    }

    /// So many bytes that no other object has.
    fn fresh(&mut self, length: u64) -> Vec<u8> {
        self.next += 1;
        let mut bytes = self.bytes[..length as usize].to_vec();
        bytes[..8].copy_from_slice(&self.next.to_le_bytes());
        bytes
    }

    fn publish(&mut self) {
        let length = self.length();
        let bytes = self.fresh(length);
        let tier = ["nvme", "hdd"][self.random.below(2) as usize];
        let at = format!("/{}", self.next);
        let publication = support::publication(&self.store, &[&at], &bytes, tier);
        let Content::Sealed(sealed) = &publication.content else {
            panic!("it was there before");
        };
        self.live.push(Live {
            object: sealed.object(),
            paths: vec![at],
        });
        self.batch.push(publication);
        if self.batch.len() == MAX_BATCH_OBJECTS {
            self.flush();
        }
    }

    /// Mostly small, since each costs two files; some of several stripe units.
    fn length(&mut self) -> u64 {
        match self.random.below(50) {
            0 => 8 + self.random.below(4 * MIB),
            _ => 8 + self.random.below(60_000),
        }
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.store.publish(batch).unwrap();
        }
    }

    /// One of those that are published, by its place.
    fn some(&mut self) -> Option<usize> {
        self.flush();
        let count = self.live.len() as u64;
        (count > 0).then(|| self.random.below(count) as usize)
    }

    fn another_path(&mut self) {
        let Some(chosen) = self.some() else {
            return;
        };
        self.next += 1;
        let long = "x".repeat(self.random.below(900) as usize);
        let at = format!("/{}/{long}", self.next);
        let live = &mut self.live[chosen];
        let content = Content::Stored(live.object);
        let paths = vec![path(&at)];
        live.paths.push(at);
        self.store
            .publish(vec![Publication { content, paths }])
            .unwrap();
    }

    fn copy(&mut self) {
        let Some(chosen) = self.some() else {
            return;
        };
        let object = self.live[chosen].object;
        let tier = ["nvme", "hdd"][self.random.below(2) as usize];
        // There may be no device without a column of it.
        if let Ok(mut staging) = self.store.stage_copy(&object, tier) {
            let reader = self.store.reader(&object).unwrap();
            staging.copy_from(reader, |_| ()).unwrap();
            let content = Content::Copied(staging.seal().unwrap());
            let paths = Vec::new();
            self.store
                .publish(vec![Publication { content, paths }])
                .unwrap();
        }
    }

    fn fewer_copies(&mut self) {
        if let Some(chosen) = self.some() {
            let keep = [(self.live[chosen].object, 1)];
            self.store.keep_copies(&keep).unwrap();
        }
    }

    /// What was written stays for the next one, or goes.
    fn give_up_half_way(&mut self) {
        let all = self.fresh(MIB + 8);
        let tree = ChunkTree::of(&all);
        if let Stage::Write(mut staging) = self.store.stage(tree, "hdd").unwrap() {
            staging.write_group(&all[..MIB as usize]).unwrap();
            if self.random.below(8) > 0 {
                staging.discard();
            }
        }
    }

    fn remove(&mut self) {
        if let Some(chosen) = self.some() {
            let live = self.live.swap_remove(chosen);
            let paths: Vec<&str> = live.paths.iter().map(String::as_str).collect();
            self.store.remove(&paths).unwrap();
        }
    }

    fn reap(&mut self) {
        let generation = self.store.generation().unwrap();
        self.store.reap(generation).unwrap();
    }
}

/// Bytes that a folder takes with all that is below it, as `du` says.
fn taken(folder: &Path) -> u64 {
    let below = std::fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let own = if metadata.is_dir() {
            0
        } else {
            metadata.blocks() * 512
        };
        own + if metadata.is_dir() {
            taken(&entry.path())
        } else {
            0
        }
    });
    std::fs::metadata(folder).unwrap().blocks() * 512 + below.sum::<u64>()
}

/// The difference in percent.
fn apart(one: u64, other: u64) -> f64 {
    one.abs_diff(other) as f64 * 100.0 / other as f64
}

#[test]
fn accounts_are_those_of_the_file_system_after_ten_thousand_operations() {
    let said = in_memory("accounts_driver", "size=2g");
    let last = format!("{OPERATIONS}: all of it");
    assert!(said.contains(&last), "{said}");
    println!("{said}");
}

/// In the child, on a file system that nobody else uses; anywhere else it does nothing.
#[test]
fn accounts_driver() {
    let Some(folder) = given() else { return };
    let empty = available(&folder);
    let appliance = Appliance::make_at(&folder);
    let store = appliance.open();
    let mut churn = Churn {
        store,
        random: Random(23),
        live: Vec::new(),
        batch: Vec::new(),
        bytes: bytes(1, 5 * MIB),
        next: 0,
    };
    for operation in 1..=OPERATIONS {
        churn.turn();
        if operation % (OPERATIONS / 4) == 0 {
            churn.flush();
            check(&appliance, &churn.store, operation, empty);
        }
    }
}

/// Bytes of a file system that statvfs(3) says can be written.
fn available(folder: &Path) -> u64 {
    platform::file::space(folder).unwrap().available_bytes
}

/// `empty` is what could be written before.
fn check(appliance: &Appliance, store: &Store, operation: u32, empty: u64) {
    let accounts = account(&appliance.snapshot());
    let mut all = taken(&appliance.state_dir());
    for device in store.devices() {
        let (root, of) = (&device.root, accounts[&device.id().unwrap()]);
        // Beside what the catalog knows: folders, the identity, and what is being written.
        let beside = taken_beside(root);
        let (used, taken) = (of.used_bytes + beside, taken(root));
        let apart = apart(used, taken);
        println!(
            "{operation}: {} has {} objects: {used} of {taken} B, {apart:.3} %, {beside} B of them beside",
            root.display(),
            of.objects
        );
        assert!(
            of.objects > 50 && apart < 1.0,
            "{apart} % apart after {operation} operations"
        );
        all += used;
    }
    let taken = empty - available(&appliance.folder);
    let apart = apart(all, taken);
    println!("{operation}: all of it, {all} B, and {taken} B by statvfs: {apart:.3} % apart");
    assert!(apart < 1.0, "{apart} % apart after {operation} operations");
}

/// Bytes that the folders of objects take themselves, and all the rest with what is in it.
fn taken_beside(root: &Path) -> u64 {
    let (objects, own) = (
        root.join("objects"),
        taken(root) - taken(&root.join("objects")),
    );
    let mut level = vec![objects];
    let mut folders = 0;
    for _ in 0..3 {
        folders += level.iter().map(|folder| blocks(folder)).sum::<u64>();
        let below = |folder: &std::path::PathBuf| {
            let entries = std::fs::read_dir(folder).unwrap();
            entries
                .map(|entry| entry.unwrap().path())
                .collect::<Vec<_>>()
        };
        level = level.iter().flat_map(below).collect();
    }
    own + folders
}

fn blocks(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

/// What the planner reckons with, for sizes of media.
#[test]
fn a_footprint_is_what_an_object_takes() {
    for (seed, length) in [(1, 0), (2, 1), (3, 70_000), (4, MIB), (5, 3 * MIB + 1)] {
        let appliance = Appliance::new();
        let mut store = appliance.open();
        support::publish(&mut store, &["/a"], &bytes(seed, length), "hdd");
        let files = appliance.files().into_iter();
        let taken: u64 = files
            .map(|file| std::fs::metadata(file).unwrap().blocks() * 512)
            .sum();
        assert_eq!(footprint(length), taken, "{length} bytes");
    }
}
