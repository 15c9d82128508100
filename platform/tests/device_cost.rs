//! What the device side costs a worker: no allocation, and a bounded number of descriptors for any number of files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test program uses its part of it")]
#[path = "device/harness.rs"]
mod harness;

use harness::{Disk, KIB, Worker, stored, until};
use platform::allocation::{CountingAllocator, allocations_on_this_thread};
use platform::device::DeviceService;
use platform::device::limits::MAX_OPEN_FILES;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn asking_taking_and_dropping_allocate_nothing() {
    let disk = Disk::new();
    let (file, _) = disk.file("column", 4096 * KIB);
    let device = DeviceService::start(disk.options()).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    device.load(
        file.clone(),
        1,
        Box::new(move |outcome| tell.send(outcome).unwrap()),
    );
    told.recv().unwrap().unwrap();
    let worker = Worker::new(8);
    let turn = |round: u64| {
        for token in 0..8 {
            worker
                .ask(
                    &device,
                    &file,
                    ((round + token) % 30 * 64 * KIB, 65_536),
                    token,
                )
                .unwrap();
        }
        for _ in 0..8 {
            let done = loop {
                match worker.mailbox.pop() {
                    Some(done) => break done,
                    None => std::hint::spin_loop(),
                }
            };
            drop(done.result.unwrap().clone());
        }
        file.locked(2048 * KIB).unwrap().count_sent(round);
        assert!(file.locked(0).is_none());
        assert!(!file.is_bad());
    };
    // The first guard of a thread makes its list of guards.
    turn(0);
    let before = allocations_on_this_thread();
    (1..200).for_each(turn);
    assert_eq!(allocations_on_this_thread() - before, 0);
}

#[test]
fn any_number_of_files_takes_a_bounded_number_of_descriptors() {
    let disk = Disk::new();
    let device = DeviceService::start(disk.options()).unwrap();
    let worker = Worker::new(1);
    let descriptors = || std::fs::read_dir("/dev/fd").unwrap().count();
    let before = descriptors();
    platform::socket::raise_descriptor_limit().unwrap();
    let files: Vec<_> = (0..MAX_OPEN_FILES + 200)
        .map(|number| {
            let path = disk.path(&number.to_string());
            std::fs::write(&path, [number as u8; 10]).unwrap();
            stored(path, 10).0
        })
        .collect();
    for _ in 0..2 {
        for (number, file) in files.iter().enumerate() {
            let done = worker.read(&device, file, (0, 10));
            assert_eq!(done.result.unwrap().bytes(), [number as u8; 10]);
        }
    }
    assert_eq!(device.snapshot().open_files, MAX_OPEN_FILES);
    // The one that a reader closes at this moment may still be there.
    assert!(descriptors() - before <= MAX_OPEN_FILES + 1);
    drop(files);
    until(&device, |_| descriptors() <= before + 1);
}
