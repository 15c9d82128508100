use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use platform::allocation::allocations_on_this_thread;
use platform::reactor::{Event, More, Token};

use super::harness::*;

#[test]
fn a_wake_from_another_thread_comes_out() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let waker = server.reactor.waker();
        let thread = std::thread::spawn(move || waker.wake());
        assert!(matches!(server.next(), Event::Wake));
        thread.join().unwrap();
        server.expect_silence();
    });
}

#[test]
fn wakes_between_two_turns_are_one() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let waker = server.reactor.waker();
        for _ in 0..10 {
            for _ in 0..100 {
                waker.clone().wake();
            }
            assert!(matches!(server.next(), Event::Wake));
            server.expect_silence();
        }
    });
}

/// Each letter is written before its wake, so whoever handles the wake sees it. One that was lost would leave
/// the reactor asleep, with the writer waiting for its answer.
#[test]
fn no_wake_is_lost() {
    const WRITERS: u64 = 4;
    const LETTERS: u64 = 2000;
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let written = Arc::new(AtomicU64::new(0));
        let seen = Arc::new(AtomicU64::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (waker, written) = (server.reactor.waker(), Arc::clone(&written));
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || {
                    for _ in 0..LETTERS {
                        let number = written.fetch_add(1, Ordering::Relaxed) + 1;
                        waker.wake();
                        while seen.load(Ordering::Relaxed) < number {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        while seen.load(Ordering::Relaxed) < WRITERS * LETTERS {
            assert!(matches!(server.next(), Event::Wake));
            seen.store(written.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

#[test]
fn without_events_the_reactor_sleeps() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        server.assert_sleeps();
        let start = Instant::now();
        server.reactor.turn(Some(Duration::ZERO)).unwrap();
        assert!(start.elapsed() < PATIENCE);
        server.reactor.waker().wake();
        server.reactor.turn(Some(Duration::MAX)).unwrap();
        server.reactor.waker().wake();
        server.reactor.turn(None).unwrap();
    });
}

#[test]
fn once_warm_nothing_is_allocated() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&pattern(2000)).unwrap();
        let waker = server.reactor.waker();
        let (mut peer, token) = server.connect();
        server.reactor.receive(token);
        let mut round = |server: &mut Server| {
            peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            waker.wake();
            let answered = answer(server, token, &file);
            peer.read_exact(&mut [0; 2012]).unwrap();
            // Also the way of a socket that is full, and of one whose bytes are not wanted for a while.
            server.reactor.wait_writable(answered);
            server.reactor.stop_receive(answered);
            server.reactor.turn(Some(TINY)).unwrap();
            while server.reactor.next_event().is_some() {}
            server.reactor.receive(answered);
        };
        for _ in 0..20 {
            round(&mut server);
        }
        let before = allocations_on_this_thread();
        for _ in 0..200 {
            round(&mut server);
        }
        assert_eq!(allocations_on_this_thread() - before, 0);
    });
}

/// Waits for a request of `token` and answers it.
fn answer(server: &mut Server, token: Token, file: &std::fs::File) -> Token {
    loop {
        if let Event::Received { token: of, buffer } = server.next() {
            assert_eq!(of, token);
            server.reactor.release(buffer);
            let sent = server
                .reactor
                .sendfile(token, b"HTTP/1.1 200", file.as_fd(), 0, 2000, More::No)
                .unwrap();
            assert_eq!(sent.head + sent.body, 2012);
            return token;
        }
    }
}
