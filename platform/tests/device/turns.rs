//! Whose read comes first: classes, requesters, and those who share a read.

use std::sync::Arc;

use platform::device::limits::LOWER_CLASS_EVERY;
use platform::device::{Class, DeviceOptions, DeviceService};
use platform::stored_file::StoredFile;

use crate::harness::{Disk, Faults, KIB, Worker, until};

/// A device that reads one thing at a time, in the hands of the test: nothing is begun until `go`.
struct Held {
    device: Arc<DeviceService>,
    file: Arc<StoredFile>,
    faults: Arc<Faults>,
    worker: Worker,
    _disk: Disk,
}

const FIRST: u64 = u64::MAX;

impl Held {
    fn new() -> Self {
        let disk = Disk::new();
        let (file, faults) = disk.file("column", 16 * 1024 * KIB);
        let device = DeviceService::start(DeviceOptions {
            readers: 1,
            ..disk.options()
        })
        .unwrap();
        let worker = Worker::new(1024);
        faults.gate.shut();
        let held = Self {
            device,
            file,
            faults,
            worker,
            _disk: disk,
        };
        held.ask(255, Class::Viewer, 0, FIRST);
        until(&held.device, |now| now.in_flight == 1);
        held
    }

    fn ask(&self, block: u64, class: Class, requester: u64, token: u64) {
        let at = (block * 64 * KIB, 65_536);
        let who = (class, requester);
        self.worker
            .ask_as(&self.device, &self.file, at, token, who)
            .unwrap();
    }

    /// The tokens in the order of their answers.
    fn go(self, answers: usize) -> Vec<u64> {
        self.faults.gate.open();
        assert_eq!(self.worker.answer().token, FIRST);
        (0..answers).map(|_| self.worker.answer().token).collect()
    }
}

#[test]
fn a_requester_with_many_reads_does_not_delay_another() {
    let held = Held::new();
    (0..100).for_each(|block| held.ask(block, Class::Viewer, 1, block));
    held.ask(100, Class::Viewer, 2, 1_000);
    held.ask(101, Class::Viewer, 2, 1_001);
    let order = held.go(102);
    assert_eq!(order[..5], [0, 1_000, 1, 1_001, 2]);
}

#[test]
fn viewers_come_first_and_the_others_have_their_share() {
    let held = Held::new();
    for block in 0..10 {
        held.ask(block, Class::Repair, 1, 2_000 + block);
        held.ask(10 + block, Class::FillSource, 1, 1_000 + block);
    }
    (20..120).for_each(|block| held.ask(block, Class::Viewer, 1, block));
    let order = held.go(120);
    let viewers = |upto: usize| order[..upto].iter().filter(|token| **token < 1_000).count();
    let every = LOWER_CLASS_EVERY as usize;
    assert_eq!(viewers(every - 1), every - 1);
    assert!(viewers(100) >= 100 - 2 * 100 / every - 1);
    assert!(order[..2 * every].contains(&1_000) && order[..2 * every].contains(&2_000));
    // When all viewers are served, seven of each class have been, and the three fills that are left come before the repairs.
    assert_eq!(order[114..], [1_007, 1_008, 1_009, 2_007, 2_008, 2_009]);
}

/// Who joins a read that waits behind others has it at his own turn.
#[test]
fn a_shared_read_comes_at_the_best_turn_of_those_who_wait_for_it() {
    let held = Held::new();
    (0..50).for_each(|block| held.ask(block, Class::Repair, 1, 2_000 + block));
    (50..60).for_each(|block| held.ask(block, Class::Viewer, 1, block));
    held.ask(49, Class::Viewer, 2, 7);
    let device = Arc::clone(&held.device);
    let order = held.go(61);
    let place = |token: u64| order.iter().position(|it| *it == token).unwrap();
    assert!(place(7) <= 3 && place(2_049) <= 3, "{order:?}");
    assert_eq!(device.snapshot().merged, 1);
    assert_eq!(device.snapshot().reads, 61);
}
