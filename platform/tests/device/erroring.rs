//! A device whose reads fail, one place after another: `/proc/self/mem` answers EIO where nothing is mapped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use platform::device::{DeviceOptions, DeviceService, ReadError, Refused, Verdict};

use crate::harness::{Disk, Gate, KIB, Worker, holds, stored, until, until_true};

/// Reading the first pages of one's own memory is an EIO that the kernel makes, at any offset nobody mapped.
#[test]
fn errors_of_many_places_fail_the_device_and_of_one_place_do_not() {
    let disk = Disk::new();
    let (file, _) = disk.file("column", 64 * KIB);
    let (broken, _) = stored("/proc/self/mem", 1024 * KIB);
    let gate = Arc::new(Gate::default());
    let probe = Arc::clone(&gate);
    let options = DeviceOptions {
        probe: Box::new(move || {
            probe.pass();
            Ok(())
        }),
        // One reader, so that what it finds is heard in that order.
        readers: 1,
        ..disk.options()
    };
    let device = DeviceService::start(options).unwrap();
    let worker = Worker::new(1);
    let eio = |at| {
        let error = worker.read(&device, &broken, (at, 1)).result.unwrap_err();
        assert!(
            matches!(
                error,
                ReadError::Io {
                    code: Some(libc::EIO),
                    ..
                }
            ),
            "{error:?}"
        );
    };
    (0..8).for_each(|_| eio(0));
    eio(64 * KIB);
    assert!(holds(&worker.read(&device, &file, (0, 1)), 0, 1));
    eio(0);
    eio(64 * KIB);
    assert_eq!(device.verdict(), Verdict::Ok);
    // No round of the probe ends now, so the verdict stays to be seen.
    gate.shut();
    until_true(|| gate.waiting() == 1);
    eio(128 * KIB);
    let snapshot = until(&device, |now| now.verdict == Verdict::Failed);
    assert!(snapshot.cause.starts_with("3 reads in a row failed"));
    gate.open();
    until(&device, |now| now.verdict == Verdict::Ok);
    assert!(holds(&worker.read(&device, &file, (0, 1)), 0, 1));
}

#[test]
fn a_device_where_nothing_can_be_read_stays_failed() {
    let disk = Disk::new();
    let (broken, _) = stored("/proc/self/mem", 1024 * KIB);
    let rounds = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&rounds);
    let options = DeviceOptions {
        probe: Box::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }),
        ..disk.options()
    };
    let device = DeviceService::start(options).unwrap();
    let worker = Worker::new(1);
    for at in 0..3 {
        worker
            .read(&device, &broken, (at * 64 * KIB, 1))
            .result
            .unwrap_err();
    }
    let snapshot = until(&device, |now| now.verdict == Verdict::Failed);
    assert!(
        snapshot.cause.starts_with("3 reads in a row failed"),
        "{}",
        snapshot.cause
    );
    let since = rounds.load(Ordering::SeqCst);
    until(&device, |_| rounds.load(Ordering::SeqCst) > since + 6);
    assert_eq!(
        device.verdict(),
        Verdict::Failed,
        "a probe alone proves nothing"
    );
    assert_eq!(
        worker.ask(&device, &broken, (0, 1), 0),
        Err(Refused::DeviceFailed)
    );
}
