//! A writer that is killed loses at most the group that it was writing, and nothing of what it had sealed. After a reboot its bytes
//! are verified before they count; a journal that was changed never leads to wrong bytes.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use content_store::chunk_tree::ChunkTree;
use content_store::staging::journal::Journal;
use content_store::verify::verify;
use content_store::{
    Content, ObjectId, Publication, Resumable, Stage, Staging, Store, open_devices,
};
use support::{Appliance, MIB, bytes, id, path, publication, publish};

const FOLDER: &str = "OCA_RESUME_FOLDER";
const STEP: &str = "OCA_RESUME_STEP";
const BOOT: Option<[u8; 16]> = Some([1; 16]);
const NEXT_BOOT: Option<[u8; 16]> = Some([2; 16]);
/// A group and a bit over two devices, one that is all buffered, and whole groups alone.
const SIZES: [u64; 4] = [5 * MIB + 70_000, 300, MIB, 2 * MIB];

fn object(number: usize) -> Vec<u8> {
    bytes(number as u64 + 1, SIZES[number])
}

fn staging(store: &Store, bytes: &[u8], tier: &str) -> Staging {
    match store.stage(ChunkTree::of(bytes), tier).unwrap() {
        Stage::Write(staging) => staging,
        Stage::Stored(object) => panic!("{object} is stored"),
    }
}

/// Writes up to `end`; how many bytes were missing.
fn write(staging: &mut Staging, bytes: &[u8], end: u64) -> u64 {
    let begun = staging.written();
    while staging.written() < end {
        let at = staging.written() as usize;
        let group = bytes.len().min(at + MIB as usize);
        staging.write_group(&bytes[at..group]).unwrap();
    }
    end - begun
}

/// Not a test of its own: the child of the tests below. It says what it has written, and stands still at a step.
#[test]
fn child_writer() {
    let (Ok(folder), Ok(step)) = (std::env::var(FOLDER), std::env::var(STEP)) else {
        return;
    };
    let (last, done): (u32, _) = (step.parse().unwrap(), AtomicU32::new(0));
    let appliance = Appliance::at(Path::new(&folder));
    let say = |words: String| writeln!(std::io::stdout(), "# {words}").unwrap();
    let hook = move |_| {
        if done.fetch_add(1, Ordering::Relaxed) + 1 == last {
            say("here".into());
            loop {
                std::thread::park();
            }
        }
    };
    let config = appliance.config();
    let mut store = Store::open_in_boot(config, Some(Arc::new(hook)), BOOT).unwrap();
    let mut batch = Vec::new();
    for (number, size) in SIZES.into_iter().enumerate() {
        let bytes = object(number);
        let mut staging = staging(&store, &bytes, "nvme");
        while staging.written() < size {
            let end = size.min(staging.written() + MIB);
            write(&mut staging, &bytes, end);
            if end % MIB == 0 {
                say(format!("{number} {end}"));
            }
        }
        let content = Content::Sealed(staging.seal().unwrap());
        say(format!("{number} {size}"));
        let paths = vec![path(&format!("/{number}"))];
        batch.push(Publication { content, paths });
    }
    store.publish(batch).unwrap();
    say("all".into());
}

/// Runs the child up to a step and kills it there with SIGKILL; what it said it had written, and whether it had done all.
fn kill_at(folder: &Path, step: u32) -> (BTreeMap<usize, u64>, bool) {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_writer", "--nocapture"])
        .env(FOLDER, folder)
        .env(STEP, step.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut said, mut all) = (BTreeMap::new(), false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, words)) = line.split_once("# ") else {
            continue;
        };
        match words.split_once(' ') {
            Some((number, written)) => {
                said.insert(number.parse().unwrap(), written.parse().unwrap());
            }
            None => {
                all = words == "all";
                break;
            }
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    (said, all)
}

/// Writes and publishes whatever is missing; how many bytes that took.
fn finish(appliance: &Appliance, boot: Option<[u8; 16]>) -> u64 {
    let mut store = Store::open_in_boot(appliance.config(), None, boot).unwrap();
    let (mut fetched, mut batch) = (0, Vec::new());
    for (number, size) in SIZES.into_iter().enumerate() {
        let bytes = object(number);
        let content = match store.stage(ChunkTree::of(&bytes), "nvme").unwrap() {
            Stage::Stored(object) => Content::Stored(object),
            Stage::Write(mut staging) => {
                fetched += write(&mut staging, &bytes, size);
                Content::Sealed(staging.seal().unwrap())
            }
        };
        let paths = vec![path(&format!("/{number}"))];
        batch.push(Publication { content, paths });
    }
    store.publish(batch).unwrap();
    drop(store);
    check(appliance, SIZES.len());
    fetched
}

/// As many objects are published, every byte of them right, and there is no other file.
fn check(appliance: &Appliance, objects: usize) {
    let snapshot = appliance.snapshot();
    assert_eq!(snapshot.objects.len(), objects);
    let slots = open_devices(&appliance.config()).unwrap();
    let mut columns = 0;
    for record in &snapshot.objects {
        let verified = verify(&slots, record, |_| ()).unwrap();
        assert!(verified.is_good(), "{verified:?}");
        columns += verified.columns.len();
    }
    let files = appliance.files();
    assert_eq!(files.len(), 2 * columns, "{files:?}");
}

/// At every step of the way, and in either boot.
#[test]
fn what_a_killed_writer_had_written_is_not_written_again() {
    for step in 1.. {
        let boot = if step % 3 == 0 { NEXT_BOOT } else { BOOT };
        let appliance = Appliance::new();
        let (said, all) = kill_at(&appliance.folder, step);
        let missing = SIZES.iter().sum::<u64>() - said.values().sum::<u64>();
        let fetched = finish(&appliance, boot);
        assert!(fetched <= missing, "step {step}: {fetched} of {missing}");
        if all {
            assert!(step > 40, "{step}");
            break;
        }
    }
}

fn partly_written(appliance: &Appliance, end: u64) {
    let store = Store::open_in_boot(appliance.config(), None, BOOT).unwrap();
    let bytes = object(0);
    let mut staging = staging(&store, &bytes, "nvme");
    write(&mut staging, &bytes, end);
}

fn resumable(appliance: &Appliance, boot: Option<[u8; 16]>) -> Vec<Resumable> {
    let store = Store::open_in_boot(appliance.config(), None, boot).unwrap();
    store.resumable()
}

fn staged(appliance: &Appliance, extension: &str) -> Vec<PathBuf> {
    let files = appliance.files().into_iter().map(PathBuf::from);
    files
        .filter(|file| file.extension().is_some_and(|found| found == extension))
        .collect()
}

#[test]
fn what_is_dropped_can_be_resumed_and_what_is_discarded_cannot() {
    let appliance = Appliance::new();
    partly_written(&appliance, 3 * MIB);
    let expected = Resumable {
        object: id(&object(0)),
        tier: "nvme".into(),
        written: 3 * MIB,
        size: SIZES[0],
    };
    assert_eq!(resumable(&appliance, BOOT), [expected]);
    let store = Store::open_in_boot(appliance.config(), None, BOOT).unwrap();
    let tree = store.resumable_tree(&id(&object(0))).unwrap();
    assert_eq!(tree, ChunkTree::of(&object(0)));
    let staging = staging(&store, &object(0), "nvme");
    assert_eq!(staging.written(), 3 * MIB);
    assert_eq!(staging.devices().len(), 2);
    assert!(staging.devices().any(|id| id == staging.next_device()));
    assert_eq!(store.resumable(), [], "it is in hand");
    store.discard_staging(&id(&object(0))).unwrap();
    assert!(!appliance.files().is_empty(), "it is in hand");
    staging.discard();
    assert_eq!(appliance.files(), Vec::<String>::new());
    partly_written_in(&store);
    store.discard_staging(&id(&object(0))).unwrap();
    assert_eq!(appliance.files(), Vec::<String>::new());
}

fn partly_written_in(store: &Store) {
    let bytes = object(0);
    write(&mut staging(store, &bytes, "nvme"), &bytes, 2 * MIB);
    assert_eq!(store.resumable()[0].written, 2 * MIB);
}

#[test]
fn a_second_staging_of_an_object_leaves_the_first_alone() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    let bytes = object(0);
    let mut first = staging(&store, &bytes, "nvme");
    write(&mut first, &bytes, 2 * MIB);
    let mut second = staging(&store, &bytes, "nvme");
    assert_eq!(second.written(), 0);
    write(&mut second, &bytes, SIZES[0]);
    let content = Content::Sealed(second.seal().unwrap());
    let paths = vec![path("/a")];
    store.publish(vec![Publication { content, paths }]).unwrap();
    write(&mut first, &bytes, SIZES[0]);
    first.seal().unwrap();
    drop(store);
    drop(appliance.open());
    check(&appliance, 1);
}

#[test]
fn another_tier_or_an_absent_device_begins_anew() {
    let appliance = Appliance::new();
    partly_written(&appliance, 3 * MIB);
    let store = Store::open_in_boot(appliance.config(), None, BOOT).unwrap();
    let elsewhere = staging(&store, &object(0), "hdd");
    assert_eq!(elsewhere.written(), 0);
    elsewhere.discard();
    assert_eq!(appliance.files(), Vec::<String>::new());
    drop(store);
    partly_written(&appliance, 3 * MIB);
    let identity = appliance.devices()[1].join("oca-device.toml");
    std::fs::rename(&identity, appliance.folder.join("aside")).unwrap();
    let store = Store::open_in_boot(appliance.config(), None, BOOT).unwrap();
    assert_eq!(store.resumable(), []);
    assert_eq!(staging(&store, &object(0), "nvme").written(), 0);
}

#[test]
fn what_was_stored_meanwhile_is_removed() {
    let appliance = Appliance::new();
    partly_written(&appliance, 3 * MIB);
    let mut store = appliance.open();
    let Stage::Write(mut anew) = store.stage_anew(ChunkTree::of(&object(0)), "nvme").unwrap()
    else {
        panic!("it is not stored")
    };
    assert_eq!(anew.written(), 0);
    write(&mut anew, &object(0), SIZES[0]);
    let content = Content::Sealed(anew.seal().unwrap());
    let paths = vec![path("/0")];
    store.publish(vec![Publication { content, paths }]).unwrap();
    assert_eq!(staged(&appliance, "journal").len(), 2);
    drop(store);
    drop(appliance.open());
    check(&appliance, 1);
}

/// A power cut takes what was not synced: here a byte of the third group. The same boot would not look.
#[test]
fn after_a_reboot_the_bytes_are_read_back() {
    let appliance = Appliance::new();
    partly_written(&appliance, 5 * MIB);
    for column in staged(&appliance, "col") {
        let mut file = std::fs::read(&column).unwrap();
        // Group 2 lies in the first column, after group 0; group 3 in the second one.
        let at = MIB as usize + 7;
        file[at] ^= 0x40;
        std::fs::write(&column, file).unwrap();
    }
    assert_eq!(resumable(&appliance, NEXT_BOOT)[0].written, 5 * MIB);
    let store = Store::open_in_boot(appliance.config(), None, NEXT_BOOT).unwrap();
    assert_eq!(staging(&store, &object(0), "nvme").written(), 2 * MIB);
    drop(store);
    // Once verified, they are not read again.
    let store = Store::open_in_boot(appliance.config(), None, NEXT_BOOT).unwrap();
    assert_eq!(store.resumable()[0].written, 2 * MIB);
    drop(store);
    assert_eq!(
        finish(&appliance, NEXT_BOOT),
        SIZES.iter().sum::<u64>() - 2 * MIB
    );
}

#[test]
fn where_the_boot_has_no_number_nothing_is_believed() {
    let appliance = Appliance::new();
    partly_written(&appliance, 4 * MIB);
    let store = Store::open_in_boot(appliance.config(), None, None).unwrap();
    assert_eq!(staging(&store, &object(0), "nvme").written(), 4 * MIB);
    let column = &staged(&appliance, "col")[0];
    let mut file = std::fs::read(column).unwrap();
    file[MIB as usize - 1] ^= 1;
    std::fs::write(column, file).unwrap();
    assert!(staging(&store, &object(0), "nvme").written() <= MIB);
}

/// Every byte of a journal, changed in one bit or cut off there.
#[test]
fn a_changed_journal_never_leads_to_wrong_bytes() {
    let appliance = Appliance::new();
    partly_written(&appliance, 4 * MIB);
    let journals = staged(&appliance, "journal");
    let whole: Vec<_> = journals
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    let original = Journal::decode(&whole[0]).unwrap();
    for at in 0..whole[0].len() {
        let mut flipped = whole[0].clone();
        flipped[at] ^= 1 << (at % 8);
        for bytes in [&flipped, &whole[0][..at]] {
            // What is left of it is its beginning, or nothing.
            let Ok(found) = Journal::decode(bytes) else {
                continue;
            };
            assert_eq!(found.head, original.head, "{at}");
            assert!(found.written < original.written, "{at}");
            assert!(original.crcs.starts_with(&found.crcs), "{at}");
        }
    }
    let files: Vec<(String, Vec<u8>)> = appliance
        .files()
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    for at in (0..whole[0].len()).step_by(37) {
        for (path, bytes) in &files {
            std::fs::write(path, bytes).unwrap();
        }
        let mut flipped = whole[0].clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&journals[0], &flipped).unwrap();
        let mut store = Store::open_in_boot(appliance.config(), None, BOOT).unwrap();
        let bytes = object(0);
        let mut staging = staging(&store, &bytes, "nvme");
        assert!(staging.written() <= 4 * MIB);
        write(&mut staging, &bytes, SIZES[0]);
        let content = Content::Sealed(staging.seal().unwrap());
        let paths = vec![path("/0")];
        store.publish(vec![Publication { content, paths }]).unwrap();
        check(&appliance, 1);
        let generation = store.remove(&["/0"]).unwrap();
        store.reap(generation).unwrap();
    }
}

#[test]
fn a_refused_publication_keeps_what_was_written() {
    let appliance = Appliance::new();
    let mut store = appliance.open();
    publish(&mut store, &["/a"], &bytes(9, 10), "nvme");
    let batch = vec![publication(&store, &["no-slash"], &object(0), "nvme")];
    store.publish(batch).unwrap_err();
    let found: Vec<(ObjectId, u64)> = store
        .resumable()
        .into_iter()
        .map(|found| (found.object, found.written))
        .collect();
    assert_eq!(found, [(id(&object(0)), SIZES[0])]);
    let staging = staging(&store, &object(0), "nvme");
    assert_eq!(staging.written(), SIZES[0]);
    let content = Content::Sealed(staging.seal().unwrap());
    let paths = vec![path("/0")];
    store.publish(vec![Publication { content, paths }]).unwrap();
    check(&appliance, 2);
}
