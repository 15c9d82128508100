//! What the store is asked to do, and what must be published afterwards.

use std::collections::BTreeMap;
use std::path::Path;

use content_store::catalog::{CopyRecord, Snapshot};
use content_store::chunk_tree::ChunkTree;
use content_store::{BadColumn, Content, ObjectId, Publication, Stage, Store, StoreError};

use crate::random::Random;
use crate::support::{self, MIB};

/// Bytes of an object: the seed that they come from, and how many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bytes(pub u64, pub u64);

/// An object, its path, and the tier that it is to lie on.
pub type Item = (String, Bytes, &'static str);

/// One thing that is done, with one commit of what is published at most.
#[derive(Clone, Debug)]
pub enum Deed {
    Publish(Vec<Item>),
    Remove(String),
    Reap,
    Move(Bytes, &'static str),
    Copy(Bytes, &'static str),
    /// Stages the first MiB, and lets go.
    Begin(Bytes, &'static str),
    Reopen,
    /// A publication by somebody who dies when its first sidecar has come to its place.
    Killed(Vec<Item>),
    /// Marks a column of its first copy as bad.
    Quarantine(Bytes),
    Repair(Bytes),
    /// Moves the first column of its first copy to another device of its tier.
    Relieve(Bytes),
}

/// The paths, each with the object that it leads to.
pub type Tree = BTreeMap<String, ObjectId>;

/// What is done before, and what is done while somebody watches.
pub struct Plan {
    pub before: Vec<Deed>,
    pub deeds: Vec<Deed>,
}

const LARGE: u64 = 2 * MIB + 70_001;

fn item(path: &str, seed: u64, length: u64, tier: &'static str) -> Item {
    (path.into(), Bytes(seed, length), tier)
}

impl Plan {
    /// By its name, or `random-SEED`.
    pub fn of(name: &str) -> Self {
        let before = vec![Deed::Publish(vec![
            item("/kept", 1, 3000, "nvme"),
            item("/old", 2, LARGE, "nvme"),
            item("/removed", 3, MIB + 5, "hdd"),
        ])];
        let deeds = match name {
            "publish" => vec![Deed::Publish(vec![item("/new", 4, LARGE, "nvme")])],
            "batch" => vec![Deed::Publish(vec![
                item("/new", 4, MIB + 1, "nvme"),
                item("/old", 5, 5000, "hdd"),
                item("/empty", 6, 0, "hdd"),
                item("/kept too", 1, 3000, "nvme"),
            ])],
            "evict" => vec![
                Deed::Remove("/removed".into()),
                Deed::Reap,
                Deed::Remove("/old".into()),
                Deed::Reap,
            ],
            "move" => vec![
                Deed::Move(Bytes(2, LARGE), "hdd"),
                Deed::Reap,
                Deed::Move(Bytes(3, MIB + 5), "nvme"),
                Deed::Reap,
            ],
            "copy" => vec![
                Deed::Copy(Bytes(2, LARGE), "hdd"),
                Deed::Copy(Bytes(1, 3000), "hdd"),
            ],
            "killed" => vec![
                Deed::Killed(vec![item("/new", 4, LARGE, "nvme")]),
                Deed::Publish(vec![item("/new", 4, LARGE, "nvme")]),
            ],
            "repair" => vec![
                Deed::Quarantine(Bytes(2, LARGE)),
                Deed::Repair(Bytes(2, LARGE)),
                Deed::Quarantine(Bytes(1, 3000)),
                Deed::Repair(Bytes(1, 3000)),
            ],
            "relieve" => vec![
                Deed::Relieve(Bytes(1, 3000)),
                Deed::Reap,
                Deed::Relieve(Bytes(1, 3000)),
            ],
            "resume" => vec![
                Deed::Begin(Bytes(7, LARGE), "nvme"),
                Deed::Reopen,
                Deed::Publish(vec![item("/resumed", 7, LARGE, "nvme")]),
                Deed::Reopen,
            ],
            random => {
                return Self::random(
                    before,
                    random.strip_prefix("random-").unwrap().parse().unwrap(),
                );
            }
        };
        Self { before, deeds }
    }

    fn random(before: Vec<Deed>, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut paths: BTreeMap<String, Bytes> = BTreeMap::new();
        before.iter().for_each(|deed| note(&mut paths, deed));
        let mut deeds = Vec::new();
        for _ in 0..3 + random.below(5) {
            let deed = random_deed(&mut random, &paths);
            note(&mut paths, &deed);
            deeds.push(deed);
        }
        Self { before, deeds }
    }

    /// What is published before the first deed, after it, and so on.
    pub fn states(&self) -> Vec<Tree> {
        let mut paths = BTreeMap::new();
        self.before.iter().for_each(|deed| note(&mut paths, deed));
        let mut ids: BTreeMap<Bytes, ObjectId> = BTreeMap::new();
        let mut tree = |paths: &BTreeMap<String, Bytes>| -> Tree {
            let mut id = |bytes: &Bytes| {
                *ids.entry(*bytes)
                    .or_insert_with(|| support::id(&bytes.bytes()))
            };
            paths
                .iter()
                .map(|(path, bytes)| (path.clone(), id(bytes)))
                .collect()
        };
        let mut states = vec![tree(&paths)];
        for deed in &self.deeds {
            note(&mut paths, deed);
            states.push(tree(&paths));
        }
        states
    }
}

fn random_bytes(random: &mut Random) -> Bytes {
    // Few seeds, so that objects come again.
    let length = random.one_of(&[0, 1, 65_536, MIB, MIB + 1, LARGE]);
    Bytes(10 + random.below(4), length)
}

fn random_deed(random: &mut Random, paths: &BTreeMap<String, Bytes>) -> Deed {
    let known: Vec<_> = paths.iter().collect();
    let tier = random.one_of(&["nvme", "hdd"]);
    let pick = |random: &mut Random| known[random.below(known.len() as u64) as usize];
    match random.below(if known.is_empty() { 5 } else { 12 }) {
        0..3 => {
            let names = random.one_of(&[&["/a"][..], &["/b", "/old"], &["/c", "/d", "/kept"]]);
            let items = names
                .iter()
                .map(|path| (path.to_string(), random_bytes(random), tier));
            Deed::Publish(items.collect())
        }
        3 => Deed::Begin(random_bytes(random), tier),
        4 if random.below(2) == 0 => Deed::Killed(vec![item("/e", 50, LARGE, tier)]),
        4 => Deed::Reopen,
        5 => Deed::Remove(pick(random).0.clone()),
        6 => Deed::Reap,
        7 => Deed::Move(*pick(random).1, tier),
        8 => Deed::Quarantine(*pick(random).1),
        9 => Deed::Repair(*pick(random).1),
        10 => Deed::Copy(*pick(random).1, tier),
        _ => Deed::Relieve(*pick(random).1),
    }
}

fn note(paths: &mut BTreeMap<String, Bytes>, deed: &Deed) {
    match deed {
        Deed::Publish(items) => {
            for (path, bytes, _) in items {
                paths.insert(path.clone(), *bytes);
            }
        }
        Deed::Remove(path) => drop(paths.remove(path)),
        _ => {}
    }
}

impl Bytes {
    pub fn bytes(self) -> Vec<u8> {
        support::bytes(self.0, self.1)
    }

    fn id(self) -> ObjectId {
        support::id(&self.bytes())
    }
}

/// Does it. A deed that was done before is done.
pub fn perform(store: &mut Store, state_dir: &Path, deed: &Deed) -> Result<(), StoreError> {
    match deed {
        Deed::Publish(items) => publish(store, items),
        Deed::Remove(path) => match store.remove(&[path]) {
            Ok(_) | Err(StoreError::UnknownPath(_)) => Ok(()),
            Err(error) => Err(error),
        },
        Deed::Reap => {
            let generation = store.generation()?;
            store.reap(generation).map(drop)
        }
        Deed::Move(bytes, tier) => match store.restage(&bytes.id(), tier) {
            // Refused: there is no room, or no copy that is whole.
            Ok(Stage::Stored(_))
            | Err(StoreError::NoRoom { .. } | StoreError::UnknownObject(_)) => Ok(()),
            Ok(Stage::Write(mut staging)) => {
                let source = store.reader(&bytes.id())?.starting_at(staging.written());
                staging.copy_from(source, |_| ())?;
                settle(store, Content::Moved(staging.seal()?))
            }
            Err(error) => Err(error),
        },
        Deed::Copy(bytes, tier) => match store.stage_copy(&bytes.id(), tier) {
            Err(StoreError::NoRoom { .. } | StoreError::UnknownObject(_)) => Ok(()),
            Ok(mut staging) => {
                staging.copy_from(store.reader(&bytes.id())?, |_| ())?;
                settle(store, Content::Copied(staging.seal()?))
            }
            Err(error) => Err(error),
        },
        Deed::Begin(bytes, tier) => {
            let all = bytes.bytes();
            if let Stage::Write(mut staging) = store.stage(ChunkTree::of(&all), tier)?
                && staging.rest() > MIB
            {
                let at = staging.written() as usize;
                staging.write_group(&all[at..at + MIB as usize])?;
            }
            Ok(())
        }
        Deed::Quarantine(bytes) => quarantine(store, state_dir, *bytes),
        Deed::Repair(bytes) => repair(store, state_dir, *bytes),
        Deed::Relieve(bytes) => relieve(store, state_dir, *bytes),
        // By whoever has the store.
        Deed::Reopen | Deed::Killed(_) => Ok(()),
    }
}

fn first_copy(state_dir: &Path, bytes: Bytes) -> Result<Option<CopyRecord>, StoreError> {
    let mut objects = Snapshot::read_or_empty(state_dir)?.objects.into_iter();
    let record = objects.find(|record| record.object == bytes.id());
    Ok(record.map(|mut record| record.copies.remove(0)))
}

fn quarantine(store: &mut Store, state_dir: &Path, bytes: Bytes) -> Result<(), StoreError> {
    let Some(copy) = first_copy(state_dir, bytes)? else {
        return Ok(());
    };
    let bad = BadColumn {
        object: bytes.id(),
        device: copy.devices[0],
        seen: store.generation()?,
    };
    store.quarantine(&[bad]).map(drop)
}

fn repair(store: &mut Store, state_dir: &Path, bytes: Bytes) -> Result<(), StoreError> {
    let Some(copy) = first_copy(state_dir, bytes)? else {
        return Ok(());
    };
    let Some(mut repairing) = store.repair(&bytes.id(), copy.placed, None)? else {
        return Ok(());
    };
    let all = bytes.bytes();
    while repairing.rest() > 0 {
        let here = repairing.holders();
        let group = here.into_iter().find_map(|id| repairing.read_here(id));
        let group = group.unwrap_or_else(|| {
            let mut groups = all[repairing.written() as usize..].chunks(MIB as usize);
            groups.next().unwrap_or_default().to_vec()
        });
        repairing.write_group(&group)?;
    }
    let repaired = repairing.seal()?;
    store.finish_repairs(vec![repaired]).map(drop)
}

fn relieve(store: &mut Store, state_dir: &Path, bytes: Bytes) -> Result<(), StoreError> {
    let Some(copy) = first_copy(state_dir, bytes)? else {
        return Ok(());
    };
    let mut moving = match store.relieve(&bytes.id(), &copy.devices[0]) {
        Ok(Some(moving)) => moving,
        Ok(None) | Err(StoreError::NoRoom { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    if moving.copy_here()? {
        store.finish_repairs(vec![moving.seal()?])?;
    }
    Ok(())
}

fn settle(store: &mut Store, content: Content) -> Result<(), StoreError> {
    let paths = Vec::new();
    store
        .publish(vec![Publication { content, paths }])
        .map(drop)
}

pub fn publish(store: &mut Store, items: &[Item]) -> Result<(), StoreError> {
    let mut batch = Vec::new();
    for (path, bytes, tier) in items {
        let bytes = bytes.bytes();
        let content = match store.stage(ChunkTree::of(&bytes), tier)? {
            Stage::Stored(object) => Content::Stored(object),
            Stage::Write(mut staging) => {
                let rest = &bytes[staging.written() as usize..];
                staging.copy_from(rest, |_| ())?;
                Content::Sealed(staging.seal()?)
            }
        };
        let paths = vec![support::path(path)];
        batch.push(Publication { content, paths });
    }
    store.publish(batch).map(drop)
}
