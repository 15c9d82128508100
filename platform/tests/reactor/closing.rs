use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use platform::reactor::{More, ReactorLimits};

use super::harness::*;

#[test]
fn a_closed_token_is_dead() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        server.reactor.close(token);
        server.expect_silence();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        let error = server.reactor.send(token, b"x", More::No).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(server.reactor.peer_address(token).is_err());
        server.reactor.receive(token);
        server.reactor.stop_receive(token);
        server.reactor.wait_writable(token);
        server.reactor.shutdown_write(token);
        server.reactor.close(token);
        server.expect_silence();
    });
}

#[test]
fn close_ends_whatever_was_under_way() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.pair();
        fill(&server, token);
        server.reactor.receive(token);
        server.reactor.wait_writable(token);
        server.expect_silence();
        server.reactor.close(token);
        server.expect_silence();
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        server.expect_silence();
    });
}

/// The slot, and nearly always the number of the descriptor, go to the next connection at once.
#[test]
fn the_next_connection_hears_nothing_of_the_last() {
    on_every_backend(|backend| {
        let limits = ReactorLimits {
            connections: 1,
            ..small_limits()
        };
        let mut server = Server::with_limits(backend, &limits);
        let mut last = None;
        for round in 0..100_u8 {
            let (mut peer, token) = server.connect();
            assert_ne!(last, Some(token));
            assert_eq!(token.index(), 0);
            server.reactor.receive(token);
            server.reactor.wait_writable(token);
            if round % 2 == 0 {
                server.reactor.turn(Some(TINY)).unwrap();
            }
            peer.write_all(&[round; 3000]).unwrap();
            server.reactor.close(token);
            last = Some(token);
        }
        let (mut peer, token) = server.connect();
        server.reactor.receive(token);
        peer.write_all(b"mine").unwrap();
        assert_eq!(server.receive_exactly(token, 4), b"mine");
        server.expect_silence();
    });
}

/// An operation may wait to be handed to the kernel while its socket is closed and the number of the
/// descriptor is given to another socket.
#[test]
fn an_operation_never_lands_on_another_socket() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (_peer, first) = server.connect();
        server.reactor.receive(first);
        server.reactor.close(first);
        let (mut peer, ours) = UnixStream::pair().unwrap();
        peer.write_all(b"for the second").unwrap();
        let second = server.reactor.adopt(ours.into()).unwrap();
        server.expect_silence();
        server.reactor.receive(second);
        assert_eq!(server.received(), (second, b"for the second".to_vec()));
    });
}

#[test]
fn events_of_a_closed_connection_are_swallowed_and_their_buffers_come_back() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        for _ in 0..10 {
            let (mut peer, token) = server.connect();
            server.reactor.receive(token);
            server.reactor.wait_writable(token);
            peer.write_all(&pattern(8 * 1024)).unwrap();
            for _ in 0..4 {
                server.reactor.turn(Some(TINY)).unwrap();
            }
            server.reactor.close(token);
            server.expect_silence();
        }
    });
}

#[test]
fn a_reactor_ends_with_everything_under_way() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let mut peers: Vec<_> = (0..20).map(|_| server.connect()).collect();
        for (peer, token) in &mut peers {
            server.reactor.receive(*token);
            server.reactor.wait_writable(*token);
            peer.write_all(&pattern(3000)).unwrap();
        }
        server.reactor.turn(Some(TINY)).unwrap();
        let waker = server.reactor.waker();
        drop(server);
        waker.wake();
        for (mut peer, _) in peers {
            // Unread bytes make the kernel send a reset instead of the end.
            let end = peer.read(&mut [0]);
            assert!(matches!(end, Ok(0)) || end.unwrap_err().kind() == ErrorKind::ConnectionReset);
        }
    });
}
