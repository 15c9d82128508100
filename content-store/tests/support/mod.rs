//! An appliance in a temporary folder: two hot devices, one of capacity.
#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]
#![allow(unreachable_pub, reason = "shared by several test files")]

use std::path::{Path, PathBuf};

use content_store::catalog::{CatalogReader, Snapshot};
use content_store::chunk_tree::ChunkTree;
use content_store::device::{self, InitOptions};
use content_store::index::Built;
use content_store::{
    Content, Generation, Index, IndexDevice, NewPath, ObjectId, Publication, Stage, StepHook,
    Store, StoreConfig, TierConfig, TierRole,
};

pub mod killed;
pub mod own_file_system;

pub const MIB: u64 = 1 << 20;

pub struct Appliance {
    pub folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Appliance {
    /// With three initialised devices.
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut appliance = Self::make_at(temporary.path());
        appliance._temporary = Some(temporary);
        appliance
    }

    /// The same in a folder of somebody else.
    pub fn make_at(folder: &Path) -> Self {
        let appliance = Self::at(folder);
        for root in appliance.devices() {
            std::fs::create_dir_all(&root).unwrap();
            let options = InitOptions {
                now_s: 1_800_000_000,
                tier: None,
                shared_fs: true,
            };
            device::initialise(&root, &options).unwrap();
        }
        appliance
    }

    /// One that another process made.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.into(),
            _temporary: None,
        }
    }

    pub fn devices(&self) -> [PathBuf; 3] {
        ["nvme0", "nvme1", "hdd0"].map(|name| self.folder.join(name))
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub fn config(&self) -> StoreConfig {
        let [nvme0, nvme1, hdd0] = self.devices();
        let tier = |name: &str, role, stripe_width, devices| TierConfig {
            name: name.into(),
            role,
            stripe_unit: MIB,
            read_unit: 256 << 10,
            stripe_width,
            devices,
        };
        StoreConfig {
            state_dir: self.state_dir(),
            tiers: vec![
                tier("nvme", TierRole::Hot, 2, vec![nvme0, nvme1]),
                tier("hdd", TierRole::Capacity, 1, vec![hdd0]),
            ],
            program: "test".into(),
        }
    }

    pub fn open(&self) -> Store {
        Store::open(self.config()).unwrap()
    }

    pub fn open_with(&self, hook: StepHook) -> Store {
        Store::open_with_hook(self.config(), Some(hook)).unwrap()
    }

    pub fn index(&self, devices: &[IndexDevice], previous: Option<&Index>) -> Built {
        let published = CatalogReader::open(&self.state_dir()).unwrap().published();
        Index::build(&published.unwrap(), devices, previous).unwrap()
    }

    pub fn snapshot(&self) -> Snapshot {
        sorted(
            CatalogReader::open(&self.state_dir())
                .unwrap()
                .load()
                .unwrap(),
        )
    }

    /// All files below the devices but the identity files, as paths relative to the appliance.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for root in self.devices() {
            collect(&root, &mut files);
        }
        files.retain(|file| !file.ends_with(device::IDENTITY_FILE));
        files.sort();
        files
    }
}

pub fn sorted(mut snapshot: Snapshot) -> Snapshot {
    snapshot.paths.sort();
    snapshot.objects.sort_by_key(|record| record.object);
    snapshot
}

fn collect(folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path.display().to_string());
        }
    }
}

/// Uses devices again that were away; how many columns they have lost.
pub fn readmit(store: &mut Store) -> u64 {
    let mut lost = 0;
    for mut comparison in store.returned().unwrap() {
        while !comparison.step().unwrap() {}
        lost += store.readmit(comparison).unwrap();
    }
    lost
}

/// Bytes that differ from place to place and from seed to seed.
pub fn bytes(seed: u64, length: u64) -> Vec<u8> {
    // By words: an optimiser would not need that, and these tests are built without one.
    let mut bytes = Vec::with_capacity(length as usize + 8);
    for number in 0..length.div_ceil(8) {
        let word = (number ^ seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bytes.extend_from_slice(&(word ^ word >> 32).to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}

pub fn path(path: &str) -> NewPath {
    NewPath {
        path: path.into(),
        content_type: "video/mp4".into(),
        cache_control: "max-age=31536000, immutable".into(),
        modified_s: 1_700_000_000,
    }
}

pub fn content(store: &Store, bytes: &[u8], tier: &str) -> Content {
    match store.stage(ChunkTree::of(bytes), tier).unwrap() {
        Stage::Stored(object) => Content::Stored(object),
        Stage::Write(mut staging) => {
            let rest = &bytes[staging.written() as usize..];
            staging.copy_from(rest, |_| ()).unwrap();
            Content::Sealed(staging.seal().unwrap())
        }
    }
}

pub fn publication(store: &Store, at: &[&str], bytes: &[u8], tier: &str) -> Publication {
    Publication {
        content: content(store, bytes, tier),
        paths: at.iter().map(|at| path(at)).collect(),
    }
}

pub fn publish(store: &mut Store, at: &[&str], bytes: &[u8], tier: &str) -> Generation {
    let publication = publication(store, at, bytes, tier);
    store.publish(vec![publication]).unwrap()
}

pub fn id(bytes: &[u8]) -> ObjectId {
    ChunkTree::of(bytes).object()
}

/// A sidecar becomes one of the format after the one that is written.
pub fn make_newer(sidecar: &Path) {
    let mut bytes = std::fs::read(sidecar).unwrap();
    bytes.truncate(bytes.len() - 4);
    bytes[8] += 1;
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    std::fs::write(sidecar, bytes).unwrap();
}

/// The paths of a snapshot with the objects that they lead to.
pub fn tree(snapshot: &Snapshot) -> Vec<(String, ObjectId)> {
    let mut tree: Vec<_> = snapshot
        .paths
        .iter()
        .map(|(object, entry)| (entry.path.to_string(), *object))
        .collect();
    tree.sort();
    tree
}
