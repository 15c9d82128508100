//! What a router sends, cut anywhere, with time passing between: messages of any type with a right header, or bytes as they are.
//! The routes that are counted are those that are there; a session that ends has a reason.
//!
//! The first byte says whether a session is established before, of which form, and how the rest is cut.
#![no_main]

use std::time::{Duration, Instant};

use steering::bgp::learned::Import;
use steering::bgp::packet::open::{Capabilities, GracefulRestart, Open};
use steering::bgp::packet::{HEADER_BYTES, keepalive};
use steering::bgp::{ConnectionId, Event, Family, Neighbor, Role, Settings, State};

const CONNECTION: ConnectionId = ConnectionId(1);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [how, cut, tape @ ..] = data else {
        return;
    };
    let mut now = Instant::now();
    let mut neighbor = neighbor(now, how & 1 == 1);
    let local = [192, 0, 2, 2].into();
    neighbor.handle(
        now,
        Event::Connected {
            connection: CONNECTION,
            local,
        },
    );
    if how & 2 == 0 {
        for bytes in [open(how & 4 == 0).encode(), keepalive()] {
            neighbor.handle(
                now,
                Event::Received {
                    connection: CONNECTION,
                    bytes: &bytes,
                },
            );
        }
        assert_eq!(neighbor.state(), State::Established);
    }
    let sent = if how & 8 == 0 {
        framed(tape)
    } else {
        tape.to_vec()
    };
    for bytes in sent.chunks(usize::from(*cut) + 1) {
        neighbor.handle(
            now,
            Event::Received {
                connection: CONNECTION,
                bytes,
            },
        );
        now += Duration::from_millis(100);
        neighbor.tick(now);
        while neighbor.poll().is_some() {}
    }
    let learned = neighbor.learned().expect("it is listened to");
    let counts = learned.counts();
    let stale = learned
        .routes_after(None)
        .filter(|(_, route)| learned.is_stale(route));
    assert_eq!(counts.stale, stale.count() as u64);
    assert_eq!(
        counts.ipv4 + counts.ipv6,
        learned.routes_after(None).count() as u64
    );
    assert!(counts.ipv4 + counts.ipv6 <= 2 * u64::from(learned.maximum()));
    assert!(neighbor.state() >= State::OpenSent || neighbor.ending().is_some());
});

fn neighbor(now: Instant, is_internal: bool) -> Neighbor {
    let settings = Settings {
        local_as: if is_internal { 64496 } else { 64512 },
        remote_as: 64496,
        identifier: [192, 0, 2, 2].into(),
        hold_time: Duration::from_secs(30),
        is_passive: false,
        seed: 1,
    };
    let import = Import {
        accept: Vec::new(),
        local_as: settings.local_as,
        maximum: 8,
        stale_time: Duration::from_secs(3600),
    };
    Neighbor::new(now, settings, Role::listen(import))
}

fn open(four_octet_as: bool) -> Open {
    Open {
        autonomous_system: 64496,
        hold_time: 30,
        identifier: [192, 0, 2, 1].into(),
        capabilities: Capabilities {
            families: Family::ALL.to_vec(),
            four_octet_as,
            route_refresh: true,
            graceful_restart: Some(GracefulRestart::default()),
        },
    }
}

/// Bodies with their headers: two bytes of the tape say the type and the length of the next one.
fn framed(mut tape: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    while let [kind, length, rest @ ..] = tape {
        let (body, rest) = rest.split_at(rest.len().min((*length).into()));
        sent.extend([0xff; 16]);
        sent.extend(((HEADER_BYTES + body.len()) as u16).to_be_bytes());
        sent.push(kind % 6);
        sent.extend(body);
        tape = rest;
    }
    sent
}
