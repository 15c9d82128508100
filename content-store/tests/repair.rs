//! Repairing: only what is lost or bad is written, from what is good here first, and nothing of an interrupted repair is left.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use content_store::catalog::ObjectRecord;
use content_store::chunk_tree::ChunkTree;
use content_store::staging::journal::Journal;
use content_store::verify::verify;
use content_store::{
    BadColumn, Content, DeviceId, Generation, Publication, Repairing, Step, Store, StoreError,
    open_devices, rebuild,
};
use support::{Appliance, MIB, bytes, id, killed, publish};

const SIZE: u64 = 7 * MIB + 5;

fn film() -> Vec<u8> {
    bytes(1, SIZE)
}

fn record(appliance: &Appliance) -> ObjectRecord {
    appliance.snapshot().objects[0].clone()
}

/// An appliance with the film on both hot devices, and a third hot device.
struct World {
    appliance: Appliance,
    store: Store,
}

impl World {
    fn new() -> Self {
        let appliance = Appliance::new();
        let mut store = appliance.open();
        publish(&mut store, &["/film"], &film(), "nvme");
        Self { appliance, store }
    }

    fn record(&self) -> ObjectRecord {
        record(&self.appliance)
    }

    fn device(&self, column: usize) -> DeviceId {
        self.record().copies[0].devices[column]
    }

    fn file(&self, column: usize, end: &str) -> PathBuf {
        let id_of = self.device(column);
        let slots = self.store.devices().iter();
        let mut devices = slots.filter_map(|slot| slot.device.as_ref().ok());
        let device = devices.find(|device| device.id() == id_of).unwrap();
        device.column_path(&id(&film())).with_extension(end)
    }

    fn quarantine(&mut self, column: usize) {
        let bad = BadColumn {
            object: id(&film()),
            device: self.device(column),
            seen: self.appliance.snapshot().generation,
        };
        self.store.quarantine(&[bad]).unwrap().unwrap();
    }

    fn begin(&self) -> Repairing {
        let placed = self.record().copies[0].placed;
        let begun = self.store.repair(&id(&film()), placed, None);
        begun.unwrap().unwrap()
    }

    fn is_good(&self) -> bool {
        let slots = open_devices(&self.appliance.config()).unwrap();
        verify(&slots, &self.record(), |_| ()).unwrap().is_good()
    }
}

/// Repairs; says which bytes were to be fetched.
fn repair(repairing: &mut Repairing) -> u64 {
    let (film, mut fetched) = (film(), 0);
    while repairing.written() < SIZE {
        let here = repairing.holders();
        let group = here.into_iter().find_map(|id| repairing.read_here(id));
        let group = group.unwrap_or_else(|| {
            let start = repairing.written() as usize;
            let group = film[start..].chunks(MIB as usize).next().unwrap().to_vec();
            fetched += group.len() as u64;
            group
        });
        repairing.write_group(&group).unwrap();
    }
    fetched
}

fn flip(path: &std::path::Path, at: u64) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn of_a_flipped_column_one_group_is_fetched() {
    let mut world = World::new();
    flip(&world.file(1, "col"), 2 * MIB + 7);
    world.quarantine(1);
    assert!(!world.is_good());
    let mut repairing = world.begin();
    assert_eq!(
        repairing.missing(),
        [1, 3, 5, 7].map(|unit| unit * MIB..((unit + 1) * MIB).min(SIZE))
    );
    assert_eq!(repairing.rest(), 3 * MIB + 5);
    assert_eq!(repair(&mut repairing), MIB);
    let repaired = repairing.seal().unwrap();
    let generation = world.store.finish_repairs(vec![repaired]).unwrap();
    assert_eq!(generation, Some(world.appliance.snapshot().generation));
    let copy = world.record().copies.remove(0);
    assert!(copy.bad.is_empty() && copy.repaired == generation.unwrap().0);
    assert!(world.is_good() && world.store.is_stored(&id(&film())).unwrap());
    // What was seen before the repair is no news.
    let bad = BadColumn {
        object: id(&film()),
        device: world.device(1),
        seen: Generation(generation.unwrap().0 - 1),
    };
    assert_eq!(world.store.quarantine(&[bad]).unwrap(), None);
    assert_eq!(world.appliance.files().len(), 4);
}

#[test]
fn a_damaged_sidecar_is_written_anew_and_nothing_is_fetched() {
    let mut world = World::new();
    flip(&world.file(0, "meta"), 60);
    world.quarantine(0);
    let mut repairing = world.begin();
    assert_eq!(repair(&mut repairing), 0);
    let repaired = repairing.seal().unwrap();
    world.store.finish_repairs(vec![repaired]).unwrap().unwrap();
    assert!(world.is_good());
}

#[test]
fn what_another_copy_has_is_not_fetched() {
    let mut world = World::new();
    let mut staging = world.store.stage_copy(&id(&film()), "hdd").unwrap();
    staging.copy_from(&film()[..], |_| ()).unwrap();
    let content = Content::Copied(staging.seal().unwrap());
    let paths = Vec::new();
    let publication = vec![Publication { content, paths }];
    world.store.publish(publication).unwrap();
    fs::remove_file(world.file(0, "col")).unwrap();
    fs::remove_file(world.file(0, "meta")).unwrap();
    world.quarantine(0);
    let mut repairing = world.begin();
    assert_eq!(repair(&mut repairing), 0);
    let repaired = repairing.seal().unwrap();
    world.store.finish_repairs(vec![repaired]).unwrap().unwrap();
    assert!(world.is_good());
    assert_eq!(world.record().copies.len(), 2);
}

/// Takes a device away and adds an empty one to its tier.
fn with_a_device_lost(world: World) -> (World, DeviceId, Arc<AtomicU64>) {
    let World { appliance, store } = world;
    let lost = store.devices()[0].id().unwrap();
    let root = store.devices()[0].root.clone();
    drop(store);
    fs::rename(&root, root.with_extension("gone")).unwrap();
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let mut config = appliance.config();
    config.tiers[0].devices[0] = appliance.folder.join("nvme2");
    let fresh = &config.tiers[0].devices[0];
    fs::create_dir_all(fresh).unwrap();
    let options = content_store::device::InitOptions {
        now_s: 1,
        tier: None,
        shared_fs: true,
    };
    content_store::device::initialise(fresh, &options).unwrap();
    let hook = Arc::new(move |_: Step| {
        counted.fetch_add(1, Relaxed);
    });
    let store = Store::open_with_hook(config, Some(hook)).unwrap();
    (World { appliance, store }, lost, steps)
}

#[test]
fn a_lost_column_comes_to_another_device_and_survives_a_rebuild() {
    let (mut world, lost, _) = with_a_device_lost(World::new());
    let column = world.record().copies[0]
        .devices
        .iter()
        .position(|id| *id == lost)
        .unwrap();
    let mut repairing = world.begin();
    let fetched = repair(&mut repairing);
    assert_eq!(
        fetched,
        world.record().copies[0].layout.column_length(column)
    );
    let repaired = repairing.seal().unwrap();
    world.store.finish_repairs(vec![repaired]).unwrap().unwrap();
    let now = world.record();
    assert!(!now.copies[0].devices.contains(&lost));
    assert!(world.store.is_stored(&id(&film())).unwrap());
    let snapshot = world.appliance.snapshot();
    assert!(snapshot.doomed.is_empty());

    let mut config = world.appliance.config();
    config.tiers[0].devices[0] = world.appliance.folder.join("nvme2");
    drop(world.store);
    fs::remove_dir_all(world.appliance.state_dir()).unwrap();
    let rebuilt = rebuild(&config, 0, |_| ()).unwrap();
    assert_eq!((rebuilt.objects, rebuilt.incomplete), (1, Vec::new()));
    assert_eq!(
        record(&world.appliance).copies[0].devices,
        now.copies[0].devices
    );
}

#[test]
fn a_rebuild_in_the_midst_takes_the_newer_sidecar_and_passes_over_the_lost_column() {
    let (mut world, _, _) = with_a_device_lost(World::new());
    let here = world.store.devices()[1].id();
    let column = (0..2).find(|column| here == Some(world.device(*column)));
    let kept = world.file(column.unwrap(), "meta");
    let old = world.appliance.folder.join("old");
    fs::copy(&kept, &old).unwrap();
    let mut repairing = world.begin();
    repair(&mut repairing);
    let repaired = repairing.seal().unwrap();
    world.store.finish_repairs(vec![repaired]).unwrap().unwrap();
    let devices = world.record().copies[0].devices.clone();
    // As if the other column's sidecar had not been rewritten, and the lost device were back.
    fs::copy(&old, &kept).unwrap();
    drop(world.store);
    let gone = world.appliance.devices()[0].with_extension("gone");
    let mut config = world.appliance.config();
    config.tiers[0].devices[0] = world.appliance.folder.join("nvme2");
    config.tiers[0].devices.push(gone);
    fs::remove_dir_all(world.appliance.state_dir()).unwrap();
    let rebuilt = rebuild(&config, 0, |_| ()).unwrap();
    assert_eq!((rebuilt.objects, rebuilt.incomplete), (1, Vec::new()));
    assert_eq!(record(&world.appliance).copies[0].devices, devices);
}

/// Writes up to that offset of the film and stops there.
fn begin_until(world: &World, end: u64) {
    let mut repairing = world.begin();
    while repairing.written() < end {
        let start = repairing.written() as usize;
        let group = film()[start..]
            .chunks(MIB as usize)
            .next()
            .unwrap()
            .to_vec();
        repairing.write_group(&group).unwrap();
    }
}

fn reopened(world: World, boot: u8) -> World {
    let World { appliance, store } = world;
    drop(store);
    let store = Store::open_in_boot(appliance.config(), None, Some([boot; 16])).unwrap();
    World { appliance, store }
}

/// Names of what is in `staging/`.
fn staged(world: &World) -> Vec<PathBuf> {
    let files = world.appliance.files().into_iter().map(PathBuf::from);
    files
        .filter(|file| file.parent().unwrap().ends_with("staging"))
        .collect()
}

#[test]
fn what_was_written_of_a_column_is_not_fetched_again() {
    let mut world = reopened(World::new(), 1);
    fs::remove_file(world.file(1, "col")).unwrap();
    world.quarantine(1);
    begin_until(&world, 5 * MIB);
    assert_eq!(staged(&world).len(), 2);
    // By the same writer, by the next one, and after a reboot.
    for boot in [None, Some(1), Some(2)] {
        if let Some(boot) = boot {
            world = reopened(world, boot);
        }
        assert_eq!(world.begin().missing(), [5 * MIB..6 * MIB, 7 * MIB..SIZE]);
    }
    // A power cut took a byte of the second group: it does not count after a reboot.
    let is_column = |file: &PathBuf| file.extension().is_some_and(|end| end == "col");
    flip(
        &staged(&world).into_iter().find(is_column).unwrap(),
        MIB + 9,
    );
    world = reopened(world, 3);
    let mut repairing = world.begin();
    assert_eq!(repairing.rest(), 2 * MIB + 5);
    assert_eq!(repair(&mut repairing), 2 * MIB + 5);
    let repaired = repairing.seal().unwrap();
    // Sealed, and not put into its place.
    drop(repaired);
    world = reopened(world, 3);
    let repairing = world.begin();
    assert_eq!((repairing.rest(), repairing.written()), (0, SIZE));
    let repaired = repairing.seal().unwrap();
    world.store.finish_repairs(vec![repaired]).unwrap().unwrap();
    assert!(world.is_good());
    assert_eq!(world.appliance.files().len(), 4);
}

/// Not a test of its own: the child of the next one.
#[test]
fn child_writer() {
    killed::child_writer(|store| {
        let placed = store.generation().unwrap().0 - 1;
        let begun = store.repair(&id(&film()), placed, None).unwrap();
        let mut repairing = begun.unwrap();
        repair(&mut repairing);
        let repaired = repairing.seal().unwrap();
        store.finish_repairs(vec![repaired]).unwrap().unwrap();
    });
}

/// Bytes of the second column that journals tell of.
fn noted(world: &World) -> u64 {
    let journals = staged(world).into_iter();
    let journals = journals.filter(|file| file.extension().is_some_and(|end| end == "journal"));
    let journals = journals.map(|file| Journal::read(&file).unwrap());
    journals
        .map(|journal| (journal.written * MIB).min(journal.head.column_length()))
        .sum()
}

#[test]
fn killed_at_any_step_it_fetches_nothing_twice() {
    for step in 1.. {
        let mut world = World::new();
        fs::remove_file(world.file(1, "col")).unwrap();
        world.quarantine(1);
        let World { appliance, store } = world;
        drop(store);
        let status = killed::run(&appliance.folder, step);
        let all = status.success();
        let before = World {
            store: appliance.open(),
            appliance,
        };
        let copy = &before.record().copies[0];
        if copy.bad.is_empty() {
            assert!(before.is_good(), "{step}");
        } else {
            let noted = noted(&before);
            let mut repairing = before.begin();
            let fetched = repair(&mut repairing);
            assert!(
                fetched + noted <= 3 * MIB + 5,
                "step {step}: {fetched} {noted}"
            );
            let repaired = repairing.seal().unwrap();
            world = before;
            world.store.finish_repairs(vec![repaired]).unwrap().unwrap();
            assert!(world.is_good(), "{step}");
            drop(world.store);
            drop(world.appliance.open());
            assert_eq!(world.appliance.files().len(), 4, "{step}");
        }
        if all {
            assert!(step > 12, "{step}");
            break;
        }
    }
}

#[test]
fn what_is_not_wrong_any_more_is_removed() {
    let mut world = World::new();
    world.quarantine(1);
    begin_until(&world, 3 * MIB);
    assert_eq!(world.appliance.files().len(), 6);
    let generation = world.store.remove(&["/film"]).unwrap();
    world.store.reap(generation).unwrap();
    let world = reopened(world, 1);
    assert_eq!(world.appliance.files(), Vec::<String>::new());
}

#[test]
fn a_lost_column_is_gone_on_with_on_the_device_where_it_was_begun() {
    let (world, lost, _) = with_a_device_lost(World::new());
    let mut repairing = world.begin();
    let needed = repairing.rest();
    let start = repairing.written() as usize;
    repairing
        .write_group(&film()[start..start + MIB as usize])
        .unwrap();
    let device = repairing.next_device();
    drop(repairing);
    let mut repairing = world.begin();
    assert_eq!(repairing.rest(), needed - MIB);
    assert_eq!(repairing.next_device(), device);
    repair(&mut repairing);
    let mut world = world;
    let repaired = repairing.seal().unwrap();
    world.store.finish_repairs(vec![repaired]).unwrap().unwrap();
    assert!(!world.record().copies[0].devices.contains(&lost));
    assert!(world.store.is_stored(&id(&film())).unwrap());
    let staging = world.appliance.folder.join("nvme2/staging");
    assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
}

#[test]
fn what_was_removed_meanwhile_is_discarded() {
    let mut world = World::new();
    world.quarantine(1);
    let mut repairing = world.begin();
    repair(&mut repairing);
    let repaired = repairing.seal().unwrap();
    let generation = world.store.remove(&["/film"]).unwrap();
    assert_eq!(world.store.finish_repairs(vec![repaired]).unwrap(), None);
    world.store.reap(generation).unwrap();
    assert_eq!(world.appliance.files(), Vec::<String>::new());
}

#[test]
fn without_a_tree_it_is_said_and_wrong_bytes_are_refused() {
    let mut world = World::new();
    for column in [0, 1] {
        flip(&world.file(column, "meta"), 60);
        world.quarantine(column);
    }
    let placed = world.record().copies[0].placed;
    let begun = world.store.repair(&id(&film()), placed, None).map(drop);
    assert!(matches!(begun, Err(StoreError::NoTree(_))));
    let tree = Some(ChunkTree::of(&film()));
    let begun = world.store.repair(&id(&film()), placed, tree);
    let mut repairing = begun.unwrap().unwrap();
    assert!(matches!(
        repairing.write_group(&vec![0; MIB as usize]),
        Err(StoreError::WrongBytes { .. })
    ));
    assert_eq!(repair(&mut repairing), 0);
    let repaired = repairing.seal().unwrap();
    world.store.finish_repairs(vec![repaired]).unwrap().unwrap();
    assert!(world.is_good());
    // Nothing is left to repair.
    assert!(
        world
            .store
            .repair(&id(&film()), placed, None)
            .unwrap()
            .is_none()
    );
}
