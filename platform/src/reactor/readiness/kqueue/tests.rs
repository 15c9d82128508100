//! The bookkeeping, with the fake kernel.
#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::fake::{EV_EOF, EVFILT_READ, EVFILT_WRITE, closed, happen};
use super::{Poller, timespec};
use crate::reactor::event::Token;
use crate::reactor::limits::{MAX_CONNECTIONS, READINESS_BATCH};
use crate::reactor::tag::Tag;

/// A kqueue and a socket that it watches, as the highest token that there is.
fn watching() -> (Poller, UnixStream, usize, u64) {
    let poller = Poller::new().unwrap();
    let (socket, _) = UnixStream::pair().unwrap();
    let key = Tag::Receive(Token {
        index: MAX_CONNECTIONS - 1,
        generation: u32::MAX,
    });
    poller.register(socket.as_raw_fd(), key.to_bits()).unwrap();
    let identifier = socket.as_raw_fd() as usize;
    (poller, socket, identifier, key.to_bits())
}

/// All that is told now: key, readable, writable, ending.
fn told(poller: &mut Poller) -> Vec<(u64, bool, bool, bool)> {
    let count = poller.wait(Some(Duration::ZERO)).unwrap();
    let all = (0..count).map(|number| poller.readiness(number));
    all.map(|it| (it.key, it.readable, it.writable, it.ending))
        .collect()
}

#[test]
fn both_directions_come_back_with_the_key_and_only_once() {
    let (mut poller, _socket, identifier, key) = watching();
    assert_eq!(told(&mut poller), []);
    assert!(happen(poller.queue(), identifier, EVFILT_READ, 0));
    assert!(happen(poller.queue(), identifier, EVFILT_WRITE, 0));
    assert_eq!(
        told(&mut poller),
        [(key, false, true, false), (key, true, false, false)]
    );
    assert_eq!(told(&mut poller), [], "edges, not levels");
    assert!(happen(poller.queue(), identifier, EVFILT_READ, EV_EOF));
    assert_eq!(told(&mut poller), [(key, true, false, true)]);
}

#[test]
fn a_number_that_is_used_again_is_registered_anew() {
    let (mut poller, socket, identifier, key) = watching();
    assert!(happen(poller.queue(), identifier, EVFILT_READ, 0));
    closed(poller.queue(), identifier);
    assert!(!happen(poller.queue(), identifier, EVFILT_READ, 0));
    assert_eq!(told(&mut poller), [], "nothing of the one before is told");
    poller.register(socket.as_raw_fd(), key + 1).unwrap();
    assert!(happen(poller.queue(), identifier, EVFILT_READ, 0));
    assert_eq!(told(&mut poller), [(key + 1, true, false, false)]);
}

#[test]
fn a_bell_wakes_whoever_holds_it_and_is_known_by_its_filter() {
    let (mut poller, _socket, identifier, key) = watching();
    let bell = poller.bell().unwrap();
    poller.watch_bell(&bell).unwrap();
    assert_eq!(told(&mut poller), []);
    for _ in 0..3 {
        bell.ring();
    }
    assert!(happen(poller.queue(), identifier, EVFILT_READ, 0));
    let rung = (Tag::Bell.to_bits(), false, false, false);
    let mut both = told(&mut poller);
    both.sort_unstable();
    let mut expected = [rung, (key, true, false, false)];
    expected.sort_unstable();
    assert_eq!(both, expected, "rung three times, heard once");
    assert_eq!(told(&mut poller), []);
    drop(poller);
    bell.ring();
}

#[test]
fn more_than_a_wait_can_tell_is_told_by_the_next() {
    let (mut poller, socket, ..) = watching();
    let more: Vec<_> = (0..READINESS_BATCH / 2)
        .map(|_| socket.try_clone().unwrap())
        .collect();
    for socket in more.iter().chain([&socket]) {
        poller.register(socket.as_raw_fd(), 0).unwrap();
        for filter in [EVFILT_READ, EVFILT_WRITE] {
            let identifier = socket.as_raw_fd() as usize;
            assert!(happen(poller.queue(), identifier, filter, 0));
        }
    }
    assert_eq!(told(&mut poller).len(), READINESS_BATCH);
    assert_eq!(told(&mut poller).len(), 2);
    assert_eq!(poller.wait_exactly(Duration::from_nanos(1)).unwrap(), 0);
}

#[test]
fn a_descriptor_that_is_not_open_is_refused() {
    let poller = Poller::new().unwrap();
    let refusal = poller.register(i32::MAX, 0).unwrap_err();
    assert_eq!(refusal.raw_os_error(), Some(libc::EBADF));
}

#[test]
fn a_time_keeps_its_nanoseconds() {
    let time = timespec(Duration::new(3, 7));
    assert_eq!((time.tv_sec, time.tv_nsec), (3, 7));
    assert_eq!(timespec(Duration::MAX).tv_sec, libc::time_t::MAX);
}
