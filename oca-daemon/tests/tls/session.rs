//! The session without a socket: what a client of rustls sends comes out, and what is sealed it can read, however it is cut.

use proptest::prelude::*;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;

use crate::pair::{Bench, shake};
use crate::support::content;

/// Every suite, both ways, one byte at a time and in one piece.
#[test]
fn every_suite_is_spoken_both_ways() {
    let bytes = content(3, 40_000);
    for suite in ALL_CIPHER_SUITES {
        let bench = Bench::new(*suite);
        for cut in [1, usize::MAX] {
            let mut pair = bench.pair(cut);
            let rustls_name = format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
            assert_eq!(pair.agreed.suite.name(), rustls_name);
            for length in [1, 2, 16_383, 16_384, 16_385, 32_768, 40_000] {
                let sealed = pair.seal(&bytes[..length]);
                assert_eq!(pair.read_by_client(&sealed, 777), &bytes[..length]);
                let sealed = pair.sealed_by_client(&bytes[..length]);
                let opened: Vec<u8> = sealed
                    .chunks(cut)
                    .flat_map(|piece| pair.open(piece))
                    .collect();
                assert_eq!(opened, &bytes[..length], "{suite:?}");
            }
        }
    }
}

/// The second connection goes on from the first one, by its ticket.
#[test]
fn a_client_that_comes_back_resumes() {
    for suite in ALL_CIPHER_SUITES {
        let bench = Bench::new(*suite);
        assert!(!bench.pair(usize::MAX).agreed.is_resumed);
        let mut second = bench.pair(usize::MAX);
        assert!(second.agreed.is_resumed, "{suite:?}");
        let sealed = second.seal(b"again");
        assert_eq!(second.read_by_client(&sealed, 1), b"again");
    }
}

/// A request that comes with the client's last words is not lost.
#[test]
fn what_follows_the_handshake_in_one_segment_is_heard() {
    let requests = content(9, 50_000);
    for suite in ALL_CIPHER_SUITES {
        let bench = Bench::new(*suite);
        // In TLS 1.2 the last word is the client's only if it resumes.
        bench.pair(usize::MAX);
        for (cut, early) in [
            (usize::MAX, &requests[..]),
            (usize::MAX, b"x"),
            (50_000, b"GET"),
        ] {
            let mut pair = shake(bench.client(), bench.handshake(), cut, early);
            assert_eq!(pair.open(&[]), early, "{suite:?}");
        }
    }
}

/// Keys are replaced from either side, and bytes go on.
#[test]
fn keys_are_replaced_from_either_side() {
    let bytes = content(4, 20_000);
    for suite in ALL_CIPHER_SUITES
        .iter()
        .filter(|suite| suite.tls13().is_some())
    {
        let mut pair = Bench::new(*suite).pair(usize::MAX);
        for _ in 0..20 {
            pair.client.refresh_traffic_keys().unwrap();
            let sealed = pair.sealed_by_client(&bytes);
            assert_eq!(pair.open(&sealed), bytes);
            let mut out = [0; 64];
            let length = pair.session.update_key(&mut out).unwrap();
            assert_eq!(pair.read_by_client(&out[..length], 1), b"");
            let sealed = pair.seal(&bytes);
            assert_eq!(pair.read_by_client(&sealed, 5000), bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the sizes and cuts: bytes are equal, both ways at once.
    #[test]
    fn bytes_are_equal_whatever_the_pieces(
        suite in prop::sample::select(ALL_CIPHER_SUITES),
        steps in prop::collection::vec((0usize..70_000, 1usize..40_000, any::<bool>()), 1..8),
    ) {
        let mut pair = Bench::new(suite).pair(usize::MAX);
        for (length, cut, up) in steps {
            let bytes = content(length as u64, length);
            let got = if up {
                let sealed = pair.sealed_by_client(&bytes);
                sealed.chunks(cut).flat_map(|piece| pair.open(piece)).collect()
            } else {
                let sealed = pair.seal(&bytes);
                pair.read_by_client(&sealed, cut)
            };
            prop_assert!(got == bytes, "{length} bytes in pieces of {cut}, up {up}");
        }
    }
}
