//! Locked memory, really: what the kernel counts as locked, what it keeps resident when asked to drop it, and what it refuses.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test program uses its part of it")]
#[path = "device/harness.rs"]
mod harness;

use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use harness::{Disk, KIB, PATIENCE, Worker, content, until, until_true};
use platform::device::limits::{LOAD_PATIENCE, MAX_LOADS};
use platform::device::{DeviceOptions, DeviceService, Verdict};
use platform::lost_pages;
use platform::memory::{LoadError, LockedPiece};
use platform::stored_file::{PIECE_BYTES, StoredFile};

/// What is locked is counted for the whole process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `VmLck` of this process, in bytes.
fn locked_by_process() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmLck:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * KIB
}

/// Which pages of the file are in memory, `mincore(2)`.
fn resident(path: &Path) -> Vec<bool> {
    let file = std::fs::File::open(path).unwrap();
    // SAFETY: nobody changes the file while the test runs.
    let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
    let mut pages = vec![0u8; map.len().div_ceil(4096)];
    // SAFETY: the mapping is alive and `pages` has a byte for each of its pages.
    let result = unsafe {
        libc::mincore(
            map.as_ptr().cast_mut().cast(),
            map.len(),
            pages.as_mut_ptr().cast(),
        )
    };
    assert_eq!(result, 0);
    pages.iter().map(|page| page & 1 == 1).collect()
}

/// All bytes of a piece.
fn whole(piece: &LockedPiece) -> &[u8] {
    let bytes = piece.bytes(piece.range()).expect("its own range");
    assert!(piece.is_intact());
    bytes
}

/// Asks the kernel to drop every page of the file that it may.
fn drop_cache(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    // SAFETY: the descriptor is open across the call.
    let result = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(result, 0);
}

fn begin(
    device: &DeviceService,
    file: &Arc<StoredFile>,
    piece: u32,
) -> Receiver<Result<(), LoadError>> {
    let (tell, told) = channel();
    device.load(
        Arc::clone(file),
        piece,
        Box::new(move |outcome| tell.send(outcome).unwrap()),
    );
    told
}

fn load(device: &DeviceService, file: &Arc<StoredFile>, piece: u32) -> Result<(), LoadError> {
    begin(device, file, piece).recv_timeout(PATIENCE).unwrap()
}

#[test]
fn a_loaded_piece_is_locked_and_stays_when_the_cache_is_dropped() {
    let _alone = alone();
    let disk = Disk::new();
    let length = 2 * PIECE_BYTES + 10_000;
    let (file, _) = disk.file("column", length);
    let device = DeviceService::start(disk.options()).unwrap();
    let before = locked_by_process();
    assert!(file.locked(PIECE_BYTES).is_none());

    load(&device, &file, 1).unwrap();
    load(&device, &file, 2).unwrap();
    load(&device, &file, 2).unwrap();
    // The last piece is 10 000 bytes: three pages.
    assert_eq!(locked_by_process() - before, PIECE_BYTES + 3 * 4096);
    assert_eq!(device.snapshot().locked_bytes, PIECE_BYTES + 10_000);
    assert!(file.locked(PIECE_BYTES - 1).is_none() && file.locked(length).is_none());
    let piece = file.locked(PIECE_BYTES + 77).unwrap();
    assert_eq!(piece.range(), PIECE_BYTES..2 * PIECE_BYTES);
    assert!(whole(&piece) == content(PIECE_BYTES, PIECE_BYTES as usize));
    assert_eq!(
        file.locked(length - 1).unwrap().range(),
        2 * PIECE_BYTES..length
    );

    // Another way to the first piece's pages, so that there is something to drop.
    assert_eq!(
        std::fs::read(disk.path("column")).unwrap().len() as u64,
        length
    );
    drop_cache(&disk.path("column"));
    let pages = resident(&disk.path("column"));
    let (first, rest) = pages.split_at((PIECE_BYTES / 4096) as usize);
    assert!(rest.iter().all(|&here| here), "locked pages stay");
    assert!(
        first.iter().filter(|&&here| here).count() <= 64,
        "the others went"
    );
}

#[test]
fn a_piece_whose_file_was_cut_short_is_given_to_nobody_and_the_others_are() {
    let _alone = alone();
    lost_pages::survive().unwrap();
    let disk = Disk::new();
    let (cut, _) = disk.file("cut", PIECE_BYTES);
    let (other, _) = disk.file("other", PIECE_BYTES);
    let device = DeviceService::start(disk.options()).unwrap();
    load(&device, &cut, 0).unwrap();
    load(&device, &other, 0).unwrap();
    let held = cut.locked(0).unwrap();
    let file = std::fs::File::options().write(true).open(disk.path("cut"));
    file.unwrap().set_len(4096).unwrap();
    assert!(!cut.is_spoilt(0), "nobody has missed anything yet");
    let bytes = held.bytes(0..PIECE_BYTES).unwrap();
    assert_eq!(bytes[4095..4097], [content(4095, 1)[0], 0]);
    assert!(!held.is_intact() && cut.locked(0).is_none());
    assert!(cut.is_spoilt(0) && cut.is_locked(0));
    assert!(whole(&other.locked(0).unwrap()) == content(0, PIECE_BYTES as usize));
    assert!(!other.is_spoilt(0));
}

#[test]
fn a_withdrawn_piece_is_unlocked_when_its_last_user_lets_go() {
    let _alone = alone();
    let disk = Disk::new();
    let (file, _) = disk.file("column", PIECE_BYTES);
    let device = DeviceService::start(disk.options()).unwrap();
    let before = locked_by_process();
    load(&device, &file, 0).unwrap();
    let used = file.locked(0).unwrap();
    assert!(device.unload(&file, 0));
    assert!(!device.unload(&file, 0));
    assert!(file.locked(0).is_none(), "nobody gets it any more");
    device.stop();
    assert_eq!(
        locked_by_process() - before,
        PIECE_BYTES,
        "but whoever has it keeps it"
    );
    assert!(whole(&used) == content(0, PIECE_BYTES as usize));
    drop(used);
    until_true(|| locked_by_process() == before);
    until(&device, |now| now.locked_bytes == 0);
    let left = resident(&disk.path("column"))
        .iter()
        .filter(|&&here| here)
        .count();
    assert!(left <= 64, "its pages went too, but {left}");
}

#[test]
fn a_bad_block_is_never_locked() {
    let _alone = alone();
    let disk = Disk::new();
    let (file, faults) = disk.file("column", 2 * PIECE_BYTES);
    let device = DeviceService::start(disk.options()).unwrap();
    let before = locked_by_process();
    faults.bad.lock().unwrap().insert(PIECE_BYTES + 64 * KIB);
    load(&device, &file, 0).unwrap();
    let refused = load(&device, &file, 1).unwrap_err();
    assert!(
        matches!(refused, LoadError::Corrupt(bad) if bad.offset == PIECE_BYTES + 64 * KIB),
        "{refused}"
    );
    assert!(file.is_bad() && !file.is_locked(1));
    assert!(matches!(
        load(&device, &file, 2),
        Err(LoadError::NoSuchPiece(2))
    ));
    assert_eq!(locked_by_process() - before, PIECE_BYTES);
    let snapshot = device.snapshot();
    assert_eq!(
        (snapshot.loads, snapshot.load_failures, snapshot.corrupt),
        (1, 2, 1)
    );
}

/// Runs one test of this file again, alone, where only 1 MiB may be locked and nobody is privileged to lock more.
fn with_little_to_lock(test: &str) {
    // SAFETY: geteuid only returns a number.
    let drop_privilege = match unsafe { libc::geteuid() } {
        0 => "setpriv --inh-caps=-ipc_lock --bounding-set=-ipc_lock",
        _ => "",
    };
    let script = format!("ulimit -l 1024; exec {drop_privilege} \"$0\" --exact \"$1\" --nocapture");
    let output = Command::new("sh")
        .args(["-ec", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env("LITTLE_TO_LOCK", "yes")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
fn a_limit_on_locked_memory_is_an_answer_that_names_it() {
    if std::env::var_os("LITTLE_TO_LOCK").is_none() {
        return with_little_to_lock("a_limit_on_locked_memory_is_an_answer_that_names_it");
    }
    assert_eq!(platform::file::lockable_bytes(), 1024 * KIB);
    let disk = Disk::new();
    let (small, _) = disk.file("small", 300 * KIB);
    let (large, _) = disk.file("large", PIECE_BYTES);
    let device = DeviceService::start(disk.options()).unwrap();
    load(&device, &small, 0).unwrap();
    let refused = load(&device, &large, 0).unwrap_err();
    let LoadError::LockRefused {
        bytes,
        locked,
        limit,
        ..
    } = &refused
    else {
        panic!("{refused}");
    };
    assert_eq!(
        (*bytes, *locked, *limit),
        (PIECE_BYTES, 300 * KIB, 1024 * KIB)
    );
    assert!(refused.to_string().contains("LimitMEMLOCK"), "{refused}");
    assert!(!large.is_bad() && !large.is_locked(0));
    assert_eq!(
        (device.verdict(), locked_by_process()),
        (Verdict::Ok, 300 * KIB)
    );
}

#[test]
fn loads_give_way_to_viewers_but_not_forever() {
    let disk = Disk::new();
    let (viewed, faults) = disk.file("viewed", 512 * KIB);
    let (wanted, _) = disk.file("wanted", 256 * KIB);
    let device = DeviceService::start(DeviceOptions {
        readers: 1,
        ..disk.options()
    })
    .unwrap();
    let worker = Worker::new(4);
    faults.gate.shut();
    worker.ask(&device, &viewed, (0, 1), 0).unwrap();
    until_true(|| faults.gate.waiting() == 1);
    worker.ask(&device, &viewed, (128 * KIB, 1), 1).unwrap();
    // A viewer waits all the time: the one step of this load is held up as long as it may be, and then done.
    let asked = Instant::now();
    load(&device, &wanted, 0).unwrap();
    assert!(asked.elapsed() >= LOAD_PATIENCE);
    assert_eq!(device.snapshot().outstanding, 2, "the viewers still wait");
    faults.gate.open();
    for _ in 0..2 {
        worker.answer().result.unwrap();
    }
    let asked = Instant::now();
    let (other, _) = disk.file("other", 256 * KIB);
    load(&device, &other, 0).unwrap();
    assert!(asked.elapsed() < PATIENCE);
}

#[test]
fn loads_on_a_hung_device_are_turned_away_and_their_late_result_too() {
    let _alone = alone();
    let disk = Disk::new();
    let pipe = disk.pipe("pipe");
    let (file, faults) = disk.file("column", PIECE_BYTES);
    let device = DeviceService::start(disk.hasty()).unwrap();
    let before = locked_by_process();
    faults.gate.shut();
    let hung = begin(&device, &file, 0);
    until_true(|| faults.gate.waiting() == 1);
    let waiting = begin(&device, &pipe, 0);
    for told in [hung, waiting] {
        assert!(matches!(
            told.recv_timeout(PATIENCE).unwrap(),
            Err(LoadError::Stalled)
        ));
        assert!(told.recv_timeout(Duration::ZERO).is_err(), "once");
    }
    assert!(matches!(
        load(&device, &file, 0),
        Err(LoadError::Stalled | LoadError::DeviceFailed)
    ));
    faults.gate.open();
    until(&device, |now| now.verdict == Verdict::Ok);
    until_true(|| locked_by_process() == before);
    assert!(!file.is_locked(0), "nobody asked for it any more");
    load(&device, &file, 0).unwrap();
    assert!(file.is_locked(0));
}

#[test]
fn waiting_loads_are_bounded_and_end_with_the_service() {
    let disk = Disk::new();
    let (file, faults) = disk.file("column", 64 * KIB);
    let device = DeviceService::start(disk.options()).unwrap();
    faults.gate.shut();
    let under_way = begin(&device, &file, 0);
    until_true(|| faults.gate.waiting() == 1);
    let waiting: Vec<_> = (0..MAX_LOADS).map(|_| begin(&device, &file, 0)).collect();
    assert!(matches!(load(&device, &file, 0), Err(LoadError::QueueFull)));
    device.stop();
    for told in waiting.iter().chain([&under_way]) {
        assert!(matches!(
            told.recv_timeout(PATIENCE).unwrap(),
            Err(LoadError::Stopped)
        ));
    }
    assert!(matches!(load(&device, &file, 0), Err(LoadError::Stopped)));
    faults.gate.open();
}

#[test]
fn bytes_sent_are_counted_by_locked_piece_until_they_are_taken() {
    let _alone = alone();
    let disk = Disk::new();
    let (file, _) = disk.file("column", PIECE_BYTES + 1);
    let device = DeviceService::start(disk.options()).unwrap();
    assert_eq!(file.piece_count(), 2);
    assert_eq!(file.piece_range(1), PIECE_BYTES..PIECE_BYTES + 1);
    assert!(file.piece_range(2).is_empty());
    load(&device, &file, 0).unwrap();
    for bytes in [5, 7] {
        file.locked(PIECE_BYTES - 1).unwrap().count_sent(bytes);
    }
    assert_eq!(
        [0, 0, 1, 2].map(|piece| file.take_sent(piece)),
        [12, 0, 0, 0]
    );
}

/// Pieces are locked and given up as fast as it goes, under readers who take whatever is there and read all of it.
#[test]
fn giving_up_a_piece_never_takes_it_from_who_reads_it() {
    let _alone = alone();
    let disk = Disk::new();
    let (file, _) = disk.file("column", 3 * PIECE_BYTES);
    let device = DeviceService::start(disk.options()).unwrap();
    let before = locked_by_process();
    let expected: Vec<_> = (0..3)
        .map(|piece| content(piece * PIECE_BYTES, PIECE_BYTES as usize))
        .collect();
    let end = Instant::now() + Duration::from_secs(3);
    let (mut rounds, reads) = (0, AtomicU64::new(0));
    std::thread::scope(|scope| {
        for reader in 0..6 {
            let (file, reads, expected) = (&file, &reads, &expected);
            scope.spawn(move || {
                for turn in reader.. {
                    if Instant::now() >= end {
                        return;
                    }
                    let piece = turn % 3;
                    if let Some(locked) = file.locked(piece as u64 * PIECE_BYTES) {
                        assert!(
                            whole(&locked) == expected[piece],
                            "piece {piece} changed under its reader"
                        );
                        locked.count_sent(1);
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        while Instant::now() < end || rounds < 10 {
            (0..3).for_each(|piece| load(&device, &file, piece).unwrap());
            assert!((0..3).all(|piece| device.unload(&file, piece)));
            rounds += 1;
        }
    });
    assert!(reads.into_inner() > 0, "somebody read, in {rounds} rounds");
    until_true(|| locked_by_process() == before);
    until(&device, |now| now.locked_bytes == 0);
}
