use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use platform::reactor::{Event, Listening, Reactor, ReactorLimits, Token};
use platform::socket::ListenOptions;

use super::harness::*;

#[test]
fn accepts_many() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let peers: Vec<_> = (0..200)
            .map(|_| TcpStream::connect(server.address).unwrap())
            .collect();
        let mut ours = HashSet::new();
        for _ in &peers {
            let token = server.accepted();
            ours.insert(server.reactor.peer_address(token).unwrap());
        }
        let theirs = peers.iter().map(|peer| peer.local_addr().unwrap());
        assert_eq!(ours, theirs.collect());
    });
}

#[test]
fn a_paused_listener_leaves_connections_in_the_kernel() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let _first = server.connect();
        server.reactor.pause_accept(LISTENER);
        server.expect_silence();
        let peers: Vec<_> = (0..20)
            .map(|_| TcpStream::connect(server.address).unwrap())
            .collect();
        server.expect_silence();
        server.reactor.resume_accept(LISTENER);
        server.reactor.resume_accept(LISTENER);
        for _ in peers {
            server.accepted();
        }
        server.expect_silence();
    });
}

#[test]
fn pause_and_resume_within_a_turn_change_nothing() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        for _ in 0..5 {
            server.reactor.pause_accept(LISTENER);
            server.reactor.resume_accept(LISTENER);
            server.connect();
        }
        server.expect_silence();
    });
}

#[test]
fn the_connection_too_many_stops_accepting_once() {
    on_every_backend(|backend| {
        let limits = ReactorLimits {
            connections: 2,
            ..small_limits()
        };
        let mut server = Server::with_limits(backend, &limits);
        let (_peer, first) = server.connect();
        let (_peer, _second) = server.connect();
        let _third = TcpStream::connect(server.address).unwrap();
        match server.next() {
            Event::AcceptFailed { error, .. } => assert_eq!(error.kind(), ErrorKind::QuotaExceeded),
            other => panic!("instead of a refusal: {other:?}"),
        }
        server.expect_silence();
        server.reactor.close(first);
        server.reactor.resume_accept(LISTENER);
        let mut peer = TcpStream::connect(server.address).unwrap();
        let token = accept_from(&mut server, &peer);
        server.reactor.close(token);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    });
}

/// Our end of `peer`; others are closed. (Backends differ in whether the connection too many was closed or
/// is still waiting.)
fn accept_from(server: &mut Server, peer: &TcpStream) -> Token {
    loop {
        match server.next() {
            Event::Accepted { token, .. } => {
                let address = server.reactor.peer_address(token).unwrap();
                if address == peer.local_addr().unwrap() {
                    return token;
                }
                server.reactor.close(token);
            }
            Event::AcceptFailed { listener, .. } => server.reactor.resume_accept(listener),
            other => panic!("instead of a connection: {other:?}"),
        }
    }
}

#[test]
fn another_reactor_accepts_for_one_that_does_not_turn_and_gives_the_listener_back() {
    on_every_backend(|backend| {
        let listener = listener(&ListenOptions::default());
        let address = listener.local_addr().unwrap();
        let open = |listening: Listening| {
            let mut reactor = Reactor::new(backend, &small_limits()).unwrap();
            reactor.listen(LISTENER, listening).unwrap();
            reactor.turn(Some(TINY)).unwrap();
            Server { reactor, address }
        };
        let clone = listener.try_clone().unwrap();
        let mut stuck = open(Listening::Own(listener));
        let come = || -> Vec<_> {
            let peers = (0..50).map(|_| TcpStream::connect(address).unwrap());
            peers.collect()
        };
        let before = come();
        let mut other = open(Listening::Shared(clone));
        let later = come();
        for _ in before.iter().chain(&later) {
            other.accepted();
        }
        other.reactor.pause_accept(LISTENER);
        other.expect_silence();
        // Armed anew, it waits as before, although the other has made it non-blocking.
        stuck.expect_silence();
        stuck.reactor.pause_accept(LISTENER);
        stuck.expect_silence();
        stuck.reactor.resume_accept(LISTENER);
        stuck.expect_silence();
        for _ in come() {
            stuck.accepted();
        }
        stuck.expect_silence();
        other.expect_silence();
    });
}

#[test]
fn a_listener_id_is_taken_once() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let another = listener(&Default::default());
        let error = server.reactor.listen(LISTENER, another).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    });
}
