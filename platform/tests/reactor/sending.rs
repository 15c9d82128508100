use std::fs::File;
use std::io::{Error, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use platform::reactor::{Event, More, Progress, Reactor, Token};
use platform::socket::set_send_buffer;

use super::harness::*;

fn file_with(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn assert_writable(server: &mut Server, token: Token) {
    match server.next() {
        Event::Writable { token: of } => assert_eq!(of, token),
        other => panic!("instead of room: {other:?}"),
    }
}

#[test]
fn what_is_sent_arrives() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        assert_eq!(server.reactor.send(token, b"hel", More::Yes).unwrap(), 3);
        assert_eq!(server.reactor.send(token, b"lo", More::No).unwrap(), 2);
        let mut bytes = [0; 5];
        peer.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
    });
}

#[test]
fn room_that_is_there_is_told_once() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (_peer, token) = server.connect();
        for _ in 0..3 {
            server.reactor.wait_writable(token);
            server.reactor.wait_writable(token);
            assert_writable(&mut server, token);
            server.expect_silence();
        }
    });
}

#[test]
fn room_in_a_full_socket_is_told_when_the_peer_reads() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.pair();
        for _ in 0..3 {
            let queued = fill(&server, token);
            server.reactor.wait_writable(token);
            server.expect_silence();
            let mut bytes = vec![0; queued];
            peer.read_exact(&mut bytes).unwrap();
            assert_writable(&mut server, token);
            server.expect_silence();
        }
    });
}

/// Receiving and waiting for room do not get into each other's way.
#[test]
fn bytes_come_in_while_waiting_for_room() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.pair();
        server.reactor.receive(token);
        let queued = fill(&server, token);
        server.reactor.wait_writable(token);
        peer.write_all(b"still here").unwrap();
        assert_eq!(server.received().1, b"still here");
        server.expect_silence();
        peer.read_exact(&mut vec![0; queued]).unwrap();
        assert_writable(&mut server, token);
    });
}

#[test]
fn a_head_and_a_file_reach_a_slow_reader_exactly() {
    on_every_backend(|backend| {
        let (head, body) = (pattern(300), pattern(3_000_000));
        let file = file_with(&body);
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        set_send_buffer(server.reactor.descriptor(token), 16 * 1024).unwrap();

        let (offset, length) = (1234, 2_900_001);
        let mut expected = head.clone();
        expected.extend(&body[offset..offset + length]);
        let total = expected.len();
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; total];
            for piece in bytes.chunks_mut(50_000) {
                peer.read_exact(piece).unwrap();
                std::thread::yield_now();
            }
            bytes
        });
        let mut sent = Progress::default();
        while sent.body < length {
            let start = (offset + sent.body) as u64;
            let rest = (length - sent.body).min(256 * 1024);
            match send_piece(
                &server.reactor,
                token,
                &head[sent.head..],
                (&file, start, rest),
            ) {
                Some(progress) => {
                    assert!(progress.head + progress.body > 0);
                    sent.head += progress.head;
                    sent.body += progress.body;
                }
                None => {
                    server.reactor.wait_writable(token);
                    assert_writable(&mut server, token);
                }
            }
        }
        assert!(reader.join().unwrap() == expected, "other bytes arrived");
    });
}

/// `None` if there is no room.
fn send_piece(
    reactor: &Reactor,
    token: Token,
    head: &[u8],
    (file, offset, length): (&File, u64, usize),
) -> Option<Progress> {
    match reactor.sendfile(token, head, file.as_fd(), offset, length, More::No) {
        Ok(progress) => Some(progress),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("sendfile: {error}"),
    }
}

#[test]
fn a_head_that_does_not_fit_goes_in_parts_and_before_the_file() {
    on_every_backend(|backend| {
        let file = file_with(b"body");
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        set_send_buffer(server.reactor.descriptor(token), 4096).unwrap();
        let head = pattern(8 << 20);
        let progress = send_piece(&server.reactor, token, &head, (&file, 0, 4)).unwrap();
        assert!(progress.head > 0 && progress.head < head.len());
        assert_eq!(progress.body, 0);
        fill(&server, token);
        assert_eq!(
            send_piece(&server.reactor, token, &head, (&file, 0, 4)),
            None
        );
        let mut bytes = vec![0; progress.head];
        peer.read_exact(&mut bytes).unwrap();
        assert!(bytes == head[..progress.head]);
    });
}

#[test]
fn a_head_without_a_file_is_sent_alone() {
    on_every_backend(|backend| {
        let file = file_with(b"");
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        let progress = send_piece(&server.reactor, token, b"304", (&file, 0, 0));
        assert_eq!(progress, Some(Progress { head: 3, body: 0 }));
        let mut bytes = [0; 3];
        peer.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"304");
    });
}

#[test]
fn a_file_that_is_too_short_is_an_error() {
    on_every_backend(|backend| {
        let file = file_with(b"12345");
        let mut server = Server::new(backend);
        let (_peer, token) = server.connect();
        for head in [b"".as_slice(), b"head"] {
            let error = server
                .reactor
                .sendfile(token, head, file.as_fd(), 5, 1, More::No)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
    });
}

#[test]
fn a_broken_connection_counts_as_writable_so_that_sending_tells() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (peer, token) = server.connect();
        fill(&server, token);
        server.reactor.wait_writable(token);
        socket2::SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(peer);
        let error = send_until_it_fails(&mut server, token);
        assert!(matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ));
    });
}

fn send_until_it_fails(server: &mut Server, token: Token) -> Error {
    loop {
        assert_writable(server, token);
        match server.reactor.send(token, b"x", More::No) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return error,
            _ => server.reactor.wait_writable(token),
        }
    }
}
