use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use platform::reactor::{Event, More, ReactorLimits, ReceiveBuffer, Token};
use platform::socket::raise_descriptor_limit;
use socket2::SockRef;

use super::harness::*;

fn few_buffers(receive_buffers: u16) -> ReactorLimits {
    ReactorLimits {
        receive_buffers,
        ..small_limits()
    }
}

/// Takes the next event, which must be bytes, and keeps their buffer.
fn hold(server: &mut Server) -> (Token, ReceiveBuffer) {
    match server.next() {
        Event::Received { token, buffer } => (token, buffer),
        other => panic!("instead of bytes: {other:?}"),
    }
}

#[test]
fn bytes_come_in_order_in_pieces_of_a_buffer() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        server.reactor.receive(token);
        let bytes = pattern(10_000);
        peer.write_all(&bytes).unwrap();
        assert_eq!(server.receive_exactly(token, bytes.len()), bytes);
        peer.write_all(b"more").unwrap();
        assert_eq!(server.receive_exactly(token, 4), b"more");
    });
}

#[test]
fn bytes_that_come_bit_by_bit_need_no_second_receive() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        server.reactor.receive(token);
        for byte in 0..50 {
            peer.write_all(&[byte]).unwrap();
            assert_eq!(server.received(), (token, vec![byte]));
            server.reactor.receive(token);
        }
        server.expect_silence();
    });
}

#[test]
fn nothing_is_received_before_it_is_asked_for() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        peer.write_all(b"early").unwrap();
        server.expect_silence();
        server.reactor.receive(token);
        assert_eq!(server.received(), (token, b"early".to_vec()));
    });
}

/// A peer that sends without end while its bytes are not wanted holds a bounded number of buffers, is slowed
/// down by the kernel, and loses nothing.
#[test]
fn a_flood_while_stopped_is_held_back_and_nothing_is_lost() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        let bytes = pattern(16 << 20);
        let sent = bytes.clone();
        let flood = std::thread::spawn(move || peer.write_all(&sent).map(|()| peer));

        server.reactor.receive(token);
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            received.extend(server.received().1);
            if received.len().is_multiple_of(64 * 1024) {
                received.extend(stop_and_collect(&mut server, token));
                server.reactor.receive(token);
            }
        }
        assert!(received == bytes, "bytes were lost or came out of order");
        flood.join().unwrap().unwrap();
    });
}

/// What still comes after `stop_receive`: at most what fits into the buffers, and then nothing.
fn stop_and_collect(server: &mut Server, token: Token) -> Vec<u8> {
    server.reactor.stop_receive(token);
    let mut late = Vec::new();
    let mut buffers = Vec::new();
    let mut silent_turns = 0;
    while silent_turns < 2 {
        server.reactor.turn(Some(TINY)).unwrap();
        silent_turns += 1;
        while let Some(event) = server.reactor.next_event() {
            let Event::Received { buffer, .. } = event else {
                panic!("instead of bytes: {event:?}");
            };
            late.extend(server.reactor.bytes(&buffer));
            buffers.push(buffer);
            silent_turns = 0;
        }
    }
    assert!(buffers.len() <= usize::from(small_limits().receive_buffers));
    for buffer in buffers {
        server.reactor.release(buffer);
    }
    server.expect_silence();
    late
}

#[test]
fn stop_and_receive_within_a_turn_change_nothing() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        for round in 0..20 {
            server.reactor.receive(token);
            server.reactor.stop_receive(token);
            server.reactor.receive(token);
            peer.write_all(&[round]).unwrap();
            assert_eq!(server.received(), (token, vec![round]));
            server.reactor.stop_receive(token);
            server.reactor.receive(token);
        }
        server.reactor.stop_receive(token);
        server.expect_silence();
    });
}

#[test]
fn those_who_found_no_buffer_are_served_in_order() {
    on_every_backend(|backend| {
        let mut server = Server::with_limits(backend, &few_buffers(4));
        let mut peers: Vec<_> = (0..10).map(|_| server.connect()).collect();
        let tokens: Vec<_> = peers.iter().map(|(_, token)| *token).collect();
        for &token in &tokens {
            server.reactor.receive(token);
        }
        server.expect_silence();
        let mut held = Vec::new();
        for (number, (peer, token)) in peers.iter_mut().enumerate() {
            peer.write_all(b"x").unwrap();
            if number < 4 {
                let (of, buffer) = hold(&mut server);
                assert_eq!(of, *token);
                held.push(buffer);
            } else {
                server.expect_silence();
            }
        }
        server.assert_sleeps();
        for &token in &tokens[4..] {
            server.reactor.release(held.remove(0));
            let (of, buffer) = hold(&mut server);
            assert_eq!(of, token);
            held.push(buffer);
        }
        server.expect_silence();
    });
}

#[test]
fn silent_connections_armed_without_buffers_are_not_forgotten() {
    on_every_backend(|backend| {
        let mut server = Server::with_limits(backend, &few_buffers(2));
        let (mut loud, token) = server.connect();
        server.reactor.receive(token);
        loud.write_all(&pattern(2 * 1024)).unwrap();
        let held = [hold(&mut server).1, hold(&mut server).1];
        let mut silent: Vec<_> = (0..9).map(|_| server.connect()).collect();
        for &(_, token) in &silent {
            server.reactor.receive(token);
        }
        server.expect_silence();
        for buffer in held {
            server.reactor.release(buffer);
        }
        server.expect_silence();
        for (peer, token) in silent.iter_mut().rev() {
            peer.write_all(b"now").unwrap();
            assert_eq!(server.received(), (*token, b"now".to_vec()));
        }
    });
}

#[test]
fn a_starved_connection_may_be_stopped_or_closed() {
    on_every_backend(|backend| {
        let mut server = Server::with_limits(backend, &few_buffers(1));
        let mut peers: Vec<_> = (0..4).map(|_| server.connect()).collect();
        let mut held = Vec::new();
        for (peer, token) in &mut peers {
            server.reactor.receive(*token);
            peer.write_all(b"x").unwrap();
            if held.is_empty() {
                held.push(hold(&mut server).1);
            }
            server.expect_silence();
        }
        server.reactor.stop_receive(peers[1].1);
        server.reactor.close(peers[2].1);
        server.reactor.release(held.remove(0));
        assert_eq!(server.received(), (peers[3].1, b"x".to_vec()));
        server.expect_silence();
        server.reactor.receive(peers[1].1);
        assert_eq!(server.received(), (peers[1].1, b"x".to_vec()));
    });
}

/// More connections than fit into any queue to the kernel at once, and hardly any buffers.
#[test]
fn thousands_share_a_few_buffers() {
    on_every_backend(|backend| {
        raise_descriptor_limit().unwrap();
        let count = 1500;
        let limits = ReactorLimits {
            connections: count,
            ..few_buffers(3)
        };
        let mut server = Server::with_limits(backend, &limits);
        let mut peers = Vec::new();
        for _ in 0..count {
            let (peer, token) = server.pair();
            server.reactor.receive(token);
            peers.push((peer, token));
        }
        for round in 0..2_u8 {
            for (peer, _) in &mut peers {
                peer.write_all(&[round]).unwrap();
            }
            let mut heard: Vec<_> = (0..count).map(|_| server.received().0.index()).collect();
            heard.sort_unstable();
            assert_eq!(heard, (0..count as usize).collect::<Vec<_>>());
        }
        server.expect_silence();
    });
}

#[test]
fn the_end_comes_once_after_the_last_bytes() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        peer.write_all(&pattern(5000)).unwrap();
        drop(peer);
        server.reactor.receive(token);
        assert_eq!(server.receive_exactly(token, 5000), pattern(5000));
        assert!(matches!(server.next(), Event::PeerClosed { token: of } if of == token));
        server.reactor.receive(token);
        server.assert_sleeps();
    });
}

#[test]
fn the_end_after_a_short_read_is_noticed() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        server.reactor.receive(token);
        peer.write_all(b"last words").unwrap();
        server.receive_exactly(token, 10);
        drop(peer);
        assert!(matches!(server.next(), Event::PeerClosed { token: of } if of == token));
    });
}

#[test]
fn a_peer_that_only_reads_is_still_answered() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        server.reactor.receive(token);
        peer.write_all(b"request").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        server.receive_exactly(token, 7);
        assert!(matches!(server.next(), Event::PeerClosed { .. }));
        assert_eq!(server.reactor.send(token, b"answer", More::No).unwrap(), 6);
        server.reactor.shutdown_write(token);
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
    });
}

#[test]
fn a_reset_is_told_once() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (peer, token) = server.connect();
        server.reactor.receive(token);
        server.expect_silence();
        reset(peer);
        match server.next() {
            Event::ReceiveFailed { token: of, error } => {
                assert_eq!(of, token);
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
            other => panic!("instead of a reset: {other:?}"),
        }
        server.reactor.receive(token);
        server.reactor.stop_receive(token);
        server.reactor.receive(token);
        server.assert_sleeps();
    });
}

fn reset(peer: TcpStream) {
    SockRef::from(&peer)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
}
