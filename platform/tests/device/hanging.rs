//! A device that does not come back: everyone is answered, nobody else is hurt, and late results are thrown away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::device::{Deadlines, DeviceOptions, DeviceService, ReadError, Refused, Verdict};

use crate::harness::{Disk, KIB, Worker, holds, until, until_true};

#[test]
fn a_hung_open_answers_within_its_deadline_and_leaves_other_devices_alone() {
    let (ill, well) = (Disk::new(), Disk::new());
    let pipe = ill.pipe("pipe");
    let (file, _) = well.file("column", 512 * KIB);
    let options = DeviceOptions {
        deadlines: Deadlines::default(),
        ..ill.options()
    };
    let ill_device = DeviceService::start(options).unwrap();
    let well_device = DeviceService::start(well.options()).unwrap();
    let (worker, other) = (Worker::new(64), Worker::new(1));
    let asked = Instant::now();
    for token in 0..64 {
        worker.ask(&ill_device, &pipe, (0, 1), token).unwrap();
    }
    while ill_device.verdict() == Verdict::Ok {
        assert!(holds(
            &other.read(&well_device, &file, (64 * KIB, 65_536)),
            64 * KIB,
            65_536
        ));
    }
    for _ in 0..64 {
        assert_eq!(worker.answer().result.unwrap_err(), ReadError::Stalled);
    }
    assert!(
        asked.elapsed() < Duration::from_millis(2_000),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(
        worker.ask(&ill_device, &pipe, (0, 1), 0),
        Err(Refused::Stalled)
    );
    assert_eq!(well_device.verdict(), Verdict::Ok);
    let snapshot = ill_device.snapshot();
    assert!(snapshot.cause.contains("under way"), "{}", snapshot.cause);
    assert_eq!(
        (snapshot.given_up, snapshot.outstanding, snapshot.in_flight),
        (64, 0, 1)
    );
    ill.release("pipe");
    until(&ill_device, |now| now.verdict == Verdict::Ok);
}

#[test]
fn a_late_result_finds_nobody_and_the_device_comes_back() {
    let disk = Disk::new();
    let (file, faults) = disk.file("column", 1024 * KIB);
    let device = DeviceService::start(disk.hasty()).unwrap();
    let worker = Worker::new(16);
    assert!(holds(&worker.read(&device, &file, (0, 1)), 0, 1));

    faults.gate.shut();
    for token in 0..16 {
        worker
            .ask(&device, &file, (token % 8 * 128 * KIB, 1), token)
            .unwrap();
    }
    let mut tokens: Vec<_> = (0..16)
        .map(|_| {
            let done = worker.answer();
            assert_eq!(done.result.unwrap_err(), ReadError::Stalled);
            done.token
        })
        .collect();
    tokens.sort_unstable();
    assert!(tokens.iter().copied().eq(0..16), "each exactly once");
    assert_eq!(
        device.snapshot().buffers_in_use,
        4,
        "the hung readers hold theirs"
    );

    faults.gate.open();
    let snapshot = until(&device, |now| {
        now.verdict == Verdict::Ok && now.buffers_in_use == 0
    });
    assert_eq!(snapshot.cause, "");
    assert!(
        worker.mailbox.pop().is_none(),
        "late results are thrown away"
    );
    assert!(holds(
        &worker.read(&device, &file, (128 * KIB, 65_536)),
        128 * KIB,
        65_536
    ));
}

#[test]
fn a_reader_that_does_not_hang_goes_on_while_another_does() {
    let disk = Disk::new();
    let pipe = disk.pipe("pipe");
    let (file, faults) = disk.file("column", 512 * KIB);
    let options = DeviceOptions {
        deadlines: Deadlines {
            stall: Duration::from_millis(400),
            fail: Duration::from_secs(60),
            ..disk.hasty().deadlines
        },
        ..disk.options()
    };
    let device = DeviceService::start(options).unwrap();
    let worker = Worker::new(4);
    faults.gate.shut();
    worker.ask(&device, &pipe, (0, 1), 1).unwrap();
    until(&device, |now| now.in_flight == 1);
    let began = Instant::now();
    until_true(|| began.elapsed() > Duration::from_millis(250));
    worker.ask(&device, &file, (0, 1), 2).unwrap();
    // The pipe is given up; the other read is young yet and its answer is worth waiting for.
    let first = worker.answer();
    assert_eq!(
        (first.token, first.result.unwrap_err()),
        (1, ReadError::Stalled)
    );
    faults.gate.open();
    let second = worker.answer();
    assert_eq!(second.token, 2);
    assert!(holds(&second, 0, 1));
    disk.release("pipe");
}

#[test]
fn a_device_that_hangs_for_long_has_failed_until_it_proves_itself() {
    let disk = Disk::new();
    let (file, faults) = disk.file("column", 512 * KIB);
    let device = DeviceService::start(disk.hasty()).unwrap();
    let worker = Worker::new(1);
    faults.gate.shut();
    worker.ask(&device, &file, (0, 1), 1).unwrap();
    until(&device, |now| now.verdict == Verdict::Failed);
    let refused = Worker::new(1).ask(&device, &file, (0, 1), 2);
    assert_eq!(refused, Err(Refused::DeviceFailed));
    assert_eq!(worker.answer().result.unwrap_err(), ReadError::Stalled);
    faults.gate.open();
    until(&device, |now| now.verdict == Verdict::Ok);
    assert!(holds(&worker.read(&device, &file, (0, 1)), 0, 1));
}

#[test]
fn a_hung_probe_fails_the_device() {
    let disk = Disk::new();
    let gate = Arc::new(crate::harness::Gate::default());
    gate.shut();
    let probe = Arc::clone(&gate);
    let options = DeviceOptions {
        probe: Box::new(move || {
            probe.pass();
            Ok(())
        }),
        ..disk.hasty()
    };
    let device = DeviceService::start(options).unwrap();
    let snapshot = until(&device, |now| now.verdict == Verdict::Failed);
    assert!(
        snapshot.cause.starts_with("the probe has been under way"),
        "{}",
        snapshot.cause
    );
    gate.open();
    until(&device, |now| now.verdict == Verdict::Ok);
}
