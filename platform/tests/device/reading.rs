//! A device that is well: right bytes, no page cache, shared reads, and every bound kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use platform::device::{DeviceOptions, DeviceService, ReadError, Refused, Verdict};
use platform::file::Directness;

use crate::harness::{Disk, KIB, Worker, holds, until, until_true};

/// How many pages of the file are in the page cache, `mincore(2)`.
fn cached_pages(path: &std::path::Path) -> usize {
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
    pages.iter().filter(|page| **page & 1 == 1).count()
}

#[test]
fn any_range_comes_widened_and_right() {
    let disk = Disk::new();
    let length = 3 * 256 * KIB + 12_345;
    let (file, _) = disk.file("column", length);
    let device = DeviceService::start(disk.options()).unwrap();
    let worker = Worker::new(1);
    let ranges = [
        (0, 1),
        (65_535, 2),
        (1, 65_535),
        (64 * KIB, 65_536),
        (256 * KIB, 262_144),
        (length - 1, 1),
        (length - 70_000, 70_000),
    ];
    for (offset, wanted) in ranges {
        let done = worker.read(&device, &file, (offset, wanted));
        let bytes = done.result.as_ref().unwrap();
        assert!(holds(&done, offset, wanted), "{offset}+{wanted}");
        assert!(bytes.offset().is_multiple_of(64 * KIB));
        let end = bytes.offset() + bytes.bytes().len() as u64;
        assert!(end == length || end.is_multiple_of(64 * KIB));
    }
    let snapshot = device.snapshot();
    assert_eq!(snapshot.reads, ranges.len() as u64);
    assert_eq!(snapshot.latency.buckets.iter().sum::<u64>(), snapshot.reads);
    assert_eq!(
        (snapshot.verdict, snapshot.open_files, snapshot.errors),
        (Verdict::Ok, 1, 0)
    );
}

#[test]
fn the_page_cache_is_not_touched() {
    let disk = Disk::new();
    let (file, _) = disk.file("column", 1024 * KIB);
    let device = DeviceService::start(disk.options()).unwrap();
    let worker = Worker::new(1);
    for offset in (0..1024 * KIB).step_by(256 * 1024) {
        assert!(holds(
            &worker.read(&device, &file, (offset, 262_144)),
            offset,
            262_144
        ));
    }
    let directness = until(&device, |now| now.directness.is_some()).directness;
    assert_eq!(
        directness,
        Some(Directness::Direct),
        "needs a target folder on a disk's file system"
    );
    assert_eq!(cached_pages(&disk.path("column")), 0);
}

#[test]
fn ranges_that_make_no_sense_are_refused() {
    let disk = Disk::new();
    let (file, _) = disk.file("column", 512 * KIB);
    let device = DeviceService::start(disk.options()).unwrap();
    let worker = Worker::new(1);
    for at in [
        (0, 0),
        (512 * KIB, 1),
        (511 * KIB, 2048),
        (u64::MAX, 1),
        (1, 262_144),
    ] {
        assert_eq!(
            worker.ask(&device, &file, at, 0),
            Err(Refused::OutOfRange),
            "{at:?}"
        );
    }
    assert_eq!(
        (worker.mailbox.outstanding(), device.snapshot().outstanding),
        (0, 0)
    );
}

#[test]
fn options_out_of_bounds_are_refused() {
    let disk = Disk::new();
    let wrong = [
        DeviceOptions {
            read_unit: 100_000,
            ..disk.options()
        },
        DeviceOptions {
            readers: 0,
            ..disk.options()
        },
        DeviceOptions {
            readers: 65,
            ..disk.options()
        },
        DeviceOptions {
            buffer_bytes: 262_143,
            ..disk.options()
        },
        DeviceOptions {
            queue_length: 0,
            ..disk.options()
        },
    ];
    for options in wrong {
        let refused = DeviceService::start(options).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn requests_for_a_range_in_flight_share_its_read_and_buffer() {
    let disk = Disk::new();
    let (file, faults) = disk.file("column", 512 * KIB);
    let device = DeviceService::start(disk.options()).unwrap();
    let worker = Worker::new(16);
    faults.gate.shut();
    // The same two blocks, asked for in different ways, before and while they are read.
    worker.ask(&device, &file, (0, 131_072), 0).unwrap();
    until_true(|| faults.gate.waiting() == 1);
    for token in 1..16 {
        worker.ask(&device, &file, (token, 100_000), token).unwrap();
    }
    faults.gate.open();
    let answers: Vec<_> = (0..16).map(|_| worker.answer()).collect();
    let first = answers[0].result.as_ref().unwrap().bytes().as_ptr();
    for done in &answers {
        assert!(holds(done, done.token, 100_000));
        assert_eq!(done.result.as_ref().unwrap().bytes().as_ptr(), first);
    }
    assert_eq!(faults.checks.load(Ordering::SeqCst), 1);
    let snapshot = until(&device, |now| now.merged == 15);
    assert_eq!((snapshot.reads, snapshot.buffers_in_use), (1, 1));
    drop(answers);
    until(&device, |now| now.buffers_in_use == 0);
}

#[test]
fn the_budget_of_buffers_is_kept_and_who_finds_none_waits() {
    let disk = Disk::new();
    let (file, _) = disk.file("column", 16 * 64 * KIB);
    let options = DeviceOptions {
        read_unit: 65_536,
        buffer_bytes: 3 * 64 * KIB,
        ..disk.options()
    };
    let device = DeviceService::start(options).unwrap();
    let worker = Worker::new(16);
    for token in 0..16 {
        worker
            .ask(&device, &file, (token * 64 * KIB, 65_536), token)
            .unwrap();
    }
    let mut held: Vec<_> = (0..3).map(|_| worker.answer()).collect();
    let snapshot = device.snapshot();
    assert_eq!(
        (
            snapshot.buffers,
            snapshot.buffers_in_use,
            snapshot.outstanding
        ),
        (3, 3, 13)
    );
    assert!(worker.mailbox.pop().is_none(), "no fourth buffer");
    for _ in 3..16 {
        held.pop();
        let done = worker.answer();
        assert!(holds(&done, done.token * 64 * KIB, 65_536));
        held.push(done);
    }
    assert_eq!(
        device.snapshot().verdict,
        Verdict::Ok,
        "waiting for a buffer is no stall"
    );
}

#[test]
fn queue_and_mailbox_are_bounded() {
    let disk = Disk::new();
    let (file, faults) = disk.file("column", 1024 * KIB);
    let options = DeviceOptions {
        readers: 1,
        queue_length: 3,
        ..disk.options()
    };
    let device = DeviceService::start(options).unwrap();
    let (small, large) = (Worker::new(1), Worker::new(10));
    faults.gate.shut();
    small.ask(&device, &file, (0, 1), 0).unwrap();
    assert_eq!(
        small.ask(&device, &file, (0, 1), 0),
        Err(Refused::MailboxFull)
    );
    large.ask(&device, &file, (64 * KIB, 1), 1).unwrap();
    large.ask(&device, &file, (128 * KIB, 1), 2).unwrap();
    assert_eq!(
        large.ask(&device, &file, (0, 1), 3),
        Err(Refused::QueueFull)
    );
    faults.gate.open();
    small.answer().result.unwrap();
    assert_eq!(
        (large.answer().token, large.answer().token),
        (1, 2),
        "first come, first served"
    );
    until(&device, |now| now.outstanding == 0);
    large.ask(&device, &file, (0, 1), 3).unwrap();
    large.answer().result.unwrap();
}

#[test]
fn stopping_answers_everyone_and_buffers_outlive_the_service() {
    let disk = Disk::new();
    let (file, faults) = disk.file("column", 1024 * KIB);
    let device = DeviceService::start(DeviceOptions {
        readers: 1,
        ..disk.options()
    })
    .unwrap();
    let worker = Worker::new(8);
    let kept = worker.read(&device, &file, (0, 65_536));
    faults.gate.shut();
    for token in 1..5 {
        worker
            .ask(&device, &file, (token * 64 * KIB, 1), token)
            .unwrap();
    }
    until_true(|| faults.gate.waiting() == 1);
    device.stop();
    for _ in 1..5 {
        assert_eq!(worker.answer().result.unwrap_err(), ReadError::Stopped);
    }
    assert_eq!(worker.ask(&device, &file, (0, 1), 5), Err(Refused::Stopped));
    drop(device);
    faults.gate.open();
    // The read that was under way ends, its thread goes, and with it the last reference but ours.
    until_true(|| Arc::strong_count(&file) == 1);
    assert!(holds(&kept, 0, 65_536));
}
