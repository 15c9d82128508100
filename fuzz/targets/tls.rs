//! What a peer sends during a handshake and after it, cut anywhere: it ends in data, in a wish for more, or in a fault; never in a panic. And
//! what was sealed with the right keys is opened as it was.
//!
//! The first byte says which of the three, and which suite; what follows is a tape.
#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;

use oca_daemon::tls::handshake::Progress;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;

#[path = "../../oca-daemon/tests/support/pair.rs"]
mod pair;

use pair::{Bench, Pair};

thread_local! {
    /// One for each suite; a second connection resumes, which costs less.
    static BENCHES: RefCell<HashMap<usize, Bench>> = RefCell::default();
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [what, cut, rest @ ..] = data else {
        return;
    };
    let suite = usize::from(what / 3) % ALL_CIPHER_SUITES.len();
    let cut = usize::from(*cut) + 1;
    BENCHES.with_borrow_mut(|benches| {
        let bench = benches
            .entry(suite)
            .or_insert_with(|| Bench::new(ALL_CIPHER_SUITES[suite]));
        match what % 3 {
            0 => handshake(bench, rest, cut),
            1 => anything(&mut bench.pair(usize::MAX), rest, cut),
            _ => sealed(&mut bench.pair(usize::MAX), rest, cut),
        }
    });
});

/// A hello with some bytes changed, and whatever follows.
fn handshake(bench: &Bench, tape: &[u8], cut: usize) {
    let mut said = Vec::new();
    bench.client().write_tls(&mut said).expect("into a vector");
    let (changes, more) = tape.split_at(tape.len().min(12));
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % said.len();
        said[at] ^= change[2];
    }
    said.extend_from_slice(more);
    let mut server = bench.handshake();
    let mut output = Vec::new();
    for piece in said.chunks(cut * 8) {
        server.received(piece);
        server = match server.advance(&mut output) {
            Progress::Pending(server) => server,
            Progress::Done(..) | Progress::Failed(_) => return,
        };
    }
}

/// Bytes that nobody sealed.
fn anything(pair: &mut Pair, tape: &[u8], cut: usize) {
    let mut opened = Vec::new();
    for piece in tape.chunks(cut) {
        if pair.hear(piece, &mut opened).is_err() {
            break;
        }
    }
    assert!(opened.is_empty(), "what was opened was not sealed");
}

/// Application data in pieces of all sizes, with key updates, one byte of it changed perhaps.
fn sealed(pair: &mut Pair, tape: &[u8], cut: usize) {
    let [spoil, at @ .., _, _] = tape.get(..5).unwrap_or(&[0; 5]) else {
        return;
    };
    let (mut wire, mut plain) = (Vec::new(), Vec::new());
    for step in tape.chunks(3).take(40) {
        let length = step
            .iter()
            .fold(0, |sum, byte| sum * 13 + usize::from(*byte));
        if step[0] % 16 == 0 && length > 0 {
            // Only TLS 1.3 has it.
            let _ = pair.client.refresh_traffic_keys();
        }
        let bytes = vec![step[0]; length];
        wire.extend(pair.sealed_by_client(&bytes));
        plain.extend(bytes);
    }
    let is_spoilt = *spoil > 127 && !wire.is_empty();
    if is_spoilt {
        let place = usize::from(u16::from_be_bytes([at[0], at[1]])) % wire.len();
        wire[place] ^= spoil & 0x7f | 1;
    }
    let mut opened = Vec::new();
    let ended = wire
        .chunks(cut * 64)
        .any(|piece| pair.hear(piece, &mut opened).is_err());
    if is_spoilt {
        assert!(plain.starts_with(&opened), "only what was sealed is opened");
    } else {
        assert!(!ended && opened == plain, "what was sealed is opened");
    }
}
