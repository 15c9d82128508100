//! Bytes read and not yet sent: however many wait and however slowly they let go, never more than the budget.

use std::collections::VecDeque;

use platform::device::{Class, DeviceOptions, DeviceService};

use crate::harness::{Disk, KIB, Worker, until};

const READERS: u64 = 2_000;
const BUFFERS: u64 = 16;

#[test]
fn two_thousand_slow_readers_never_hold_more_than_the_budget() {
    let disk = Disk::new();
    let (file, _) = disk.file("column", 32 * 1024 * KIB);
    let device = DeviceService::start(DeviceOptions {
        readers: 8,
        buffer_bytes: BUFFERS * 256 * KIB,
        queue_length: 4_096,
        ..disk.options()
    })
    .unwrap();
    let worker = Worker::new(4_096);
    for reader in 0..READERS {
        // No two the same, so that none is shared.
        let at = (reader / 4 * 64 * KIB, (reader as u32 % 4 + 1) * 65_536);
        let who = (Class::Viewer, reader);
        worker.ask_as(&device, &file, at, reader, who).unwrap();
    }
    // Everyone keeps what he has until no more can come; then the one who has held longest lets go.
    let mut held = VecDeque::new();
    for _ in 0..READERS {
        if held.len() as u64 == BUFFERS {
            let now = device.snapshot();
            assert_eq!(now.buffers_in_use as u64, BUFFERS);
            assert!(device.waiting_for_each_buffer() > 0 || now.outstanding == 0);
            held.pop_front();
        }
        held.push_back(worker.answer());
        assert!(device.snapshot().buffers_in_use as u64 <= BUFFERS);
    }
    let snapshot = until(&device, |now| now.in_flight == 0);
    assert_eq!((snapshot.reads, snapshot.outstanding), (READERS, 0));
    held.clear();
    until(&device, |now| now.buffers_in_use == 0);
    assert_eq!(device.waiting_for_each_buffer(), 0);
}
