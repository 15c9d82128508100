//! A device that answers with errors, or with something else than what was written.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use platform::device::{DeviceOptions, DeviceService, ReadError, Refused, Verdict};
use platform::stored_file::BadBlock;

use crate::harness::{Disk, KIB, Worker, holds, stored, until};

#[test]
fn a_bad_block_is_never_served_and_told_once() {
    let disk = Disk::new();
    let (file, faults) = disk.file("column", 1024 * KIB);
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&told);
    let options = DeviceOptions {
        on_bad_block: Box::new(move |file, block| {
            hook.lock().unwrap().push((file.path().to_owned(), block))
        }),
        ..disk.options()
    };
    let device = DeviceService::start(options).unwrap();
    let worker = Worker::new(4);
    faults.bad.lock().unwrap().insert(128 * KIB);
    assert!(holds(
        &worker.read(&device, &file, (0, 131_072)),
        0,
        131_072
    ));

    // Two at once, before the first one's verdict on the file.
    faults.gate.shut();
    worker.ask(&device, &file, (100 * KIB, 65_536), 1).unwrap();
    worker.ask(&device, &file, (128 * KIB, 1), 2).unwrap();
    faults.gate.open();
    for _ in 0..2 {
        let error = worker.answer().result.unwrap_err();
        assert_eq!(error, ReadError::Corrupt { offset: 128 * KIB });
    }
    assert!(file.is_bad());
    assert_eq!(worker.ask(&device, &file, (0, 1), 3), Err(Refused::BadFile));
    let expected = (disk.path("column"), BadBlock { offset: 128 * KIB });
    assert_eq!(*told.lock().unwrap(), [expected]);
    assert_eq!(
        (device.snapshot().corrupt, device.verdict()),
        (2, Verdict::Ok)
    );
}

#[test]
fn a_file_that_became_shorter_is_bad() {
    let disk = Disk::new();
    let (file, _) = disk.file("column", 512 * KIB);
    std::fs::File::options()
        .write(true)
        .open(disk.path("column"))
        .unwrap()
        .set_len(200 * KIB)
        .unwrap();
    let device = DeviceService::start(disk.options()).unwrap();
    let worker = Worker::new(1);
    assert!(holds(
        &worker.read(&device, &file, (0, 131_072)),
        0,
        131_072
    ));
    let error = worker
        .read(&device, &file, (128 * KIB, 131_072))
        .result
        .unwrap_err();
    assert_eq!(error, ReadError::Corrupt { offset: 192 * KIB });
    assert!(file.is_bad());
}

#[test]
fn a_missing_file_is_an_error_of_that_file_alone() {
    let disk = Disk::new();
    let device = DeviceService::start(disk.options()).unwrap();
    let worker = Worker::new(1);
    for name in ["a", "b", "c", "d"] {
        let (missing, _) = stored(disk.path(name), 64 * KIB);
        let error = worker.read(&device, &missing, (0, 1)).result.unwrap_err();
        assert!(
            matches!(
                error,
                ReadError::Io {
                    kind: ErrorKind::NotFound,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(!missing.is_bad());
    }
    until(&device, |now| now.errors == 4);
    assert_eq!(device.verdict(), Verdict::Ok);
}

#[test]
fn a_device_that_is_not_there_fails_and_comes_back() {
    let disk = Disk::new();
    let (file, _) = disk.file("column", 64 * KIB);
    let there = Arc::new(AtomicBool::new(false));
    let probe = Arc::clone(&there);
    let options = DeviceOptions {
        probe: Box::new(move || match probe.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err("no identity file".into()),
        }),
        ..disk.options()
    };
    let device = DeviceService::start(options).unwrap();
    let worker = Worker::new(1);
    let snapshot = until(&device, |now| now.verdict == Verdict::Failed);
    assert_eq!(snapshot.cause, "no identity file");
    assert_eq!(
        worker.ask(&device, &file, (0, 1), 0),
        Err(Refused::DeviceFailed)
    );
    there.store(true, Ordering::SeqCst);
    let snapshot = until(&device, |now| now.verdict == Verdict::Ok);
    assert!(snapshot.space.is_some_and(|space| space.total_bytes > 0));
    assert!(holds(&worker.read(&device, &file, (0, 1)), 0, 1));
}
