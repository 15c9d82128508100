//! Many workers, few buffers, a device that hangs and comes back at random: exactly one answer for each request, whatever happens.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use platform::device::{Deadlines, DeviceOptions, DeviceService, ReadError, Refused};
use platform::stored_file::StoredFile;
use proptest::prelude::*;

use crate::harness::{Disk, KIB, Worker, holds, until};

const LENGTH: u64 = 2048 * KIB + 777;

/// A cheap, seeded order of things.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Asks for `requests` ranges, some at a time, holds some answers for a while, and checks each. Returns how many were given up.
fn work(device: &DeviceService, file: &Arc<StoredFile>, dice: &mut Dice, requests: u64) -> u64 {
    let worker = Worker::new(8);
    let mut open = HashSet::new();
    let (mut held, mut given_up) = (Vec::new(), 0);
    let mut asked = 0;
    while asked < requests || !open.is_empty() {
        let offset = dice.roll(LENGTH);
        let length = (1 + dice.roll(64 * KIB)).min(LENGTH - offset) as u32;
        // The token is the range, so that the answer can be checked by itself.
        let token = offset << 24 | u64::from(length);
        if asked < requests && open.len() < 8 && !open.contains(&token) {
            match worker.ask(device, file, (offset, length), token) {
                Ok(()) => {
                    open.insert(token);
                }
                Err(Refused::Stopped) => asked = requests,
                Err(_) => thread::yield_now(),
            }
            asked += u64::from(open.contains(&token));
        }
        // Most of the time with several requests out, and not asking while the device is refusing.
        if open.is_empty() || (open.len() < 8 && dice.roll(4) > 0) {
            continue;
        }
        held.truncate(dice.roll(3) as usize);
        let done = worker.mailbox.pop().unwrap_or_else(|| {
            // Whoever waits for a buffer holds none, or all could wait for each other.
            held.clear();
            worker.answer()
        });
        assert!(open.remove(&done.token), "one answer for each");
        match &done.result {
            Ok(_) => assert!(holds(
                &done,
                done.token >> 24,
                done.token as u32 & 0xff_ffff
            )),
            Err(error) => {
                assert!(
                    matches!(
                        error,
                        ReadError::Stalled | ReadError::DeviceFailed | ReadError::Stopped
                    ),
                    "{error}"
                );
                given_up += 1;
            }
        }
        held.push(done);
    }
    assert!(worker.mailbox.pop().is_none());
    given_up
}

fn storm(seed: u64, workers: u64, readers: u8, buffers: u64, stop: bool) {
    let disk = Disk::new();
    let (file, faults) = disk.file("column", LENGTH);
    let device = DeviceService::start(DeviceOptions {
        readers,
        read_unit: 128 << 10,
        buffer_bytes: buffers * 128 * KIB,
        queue_length: 64,
        deadlines: Deadlines {
            stall: Duration::from_millis(50),
            ..disk.hasty().deadlines
        },
        ..disk.options()
    })
    .unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let working: Vec<_> = (0..workers)
            .map(|at| {
                let (device, file) = (&device, &file);
                scope.spawn(move || work(device, file, &mut Dice(seed ^ at << 32), 60))
            })
            .collect();
        scope.spawn(|| {
            let mut dice = Dice(seed);
            while !over.load(Ordering::SeqCst) {
                faults.gate.shut();
                thread::park_timeout(Duration::from_millis(dice.roll(120)));
                faults.gate.open();
                thread::park_timeout(Duration::from_millis(dice.roll(200)));
            }
        });
        if stop {
            thread::park_timeout(Duration::from_millis(seed % 300));
            device.stop();
        }
        let worked: Vec<_> = working.into_iter().map(|worker| worker.join()).collect();
        over.store(true, Ordering::SeqCst);
        worked
            .into_iter()
            .for_each(|outcome| assert!(outcome.is_ok()));
    });
    let snapshot = until(&device, |now| now.in_flight == 0);
    assert_eq!(snapshot.outstanding, 0);
    assert!(u64::from(snapshot.in_flight_max) <= buffers.min(readers.into()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_one_answer_for_each_request(seed: u64, workers in 1u64..12, readers in 1u8..6, buffers in 4u64..9, stop: bool) {
        storm(seed, workers, readers, buffers, stop);
    }
}

/// Fewer buffers than workers hold is no deadlock either, as long as they let go.
#[test]
fn few_buffers_are_shared_by_many() {
    storm(42, 8, 4, 24, false);
}
