//! The cap on the line, on a clock that the test turns.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fill_agent::limits::PIECE_BYTES;
use fill_agent::rate::{Bucket, Limiter, effective_rate};
use proptest::prelude::*;
use protocol::manifest::SiteRate;

const SECOND: Duration = Duration::from_secs(1);
const RATES: [u64; 5] = [64_000, 333_333, 10_000_000, 100_000_000, 1_200_000_000];

/// What came when, and at which rate.
struct Arrival {
    at: Instant,
    bytes: u64,
    rate: u64,
}

/// A taker waits until it may, is woken a little late, takes, and rests at times.
#[derive(Debug, Clone)]
struct Taker {
    wants: u64,
    late: Duration,
    rest: Duration,
}

fn takers() -> impl Strategy<Value = Vec<Taker>> {
    let taker = (
        1..300_000_u64,
        0..20_u64,
        prop_oneof![Just(0_u64), 0..5_u64, 200..3_000_u64],
    );
    let taker = taker.prop_map(|(wants, late, rest)| Taker {
        wants,
        late: Duration::from_millis(late),
        rest: Duration::from_millis(rest),
    });
    prop::collection::vec(taker, 1..12)
}

/// Runs the takers in turn for some seconds. `rate_at` gives the rate of each second.
fn run(takers: &[Taker], seconds: u64, rate_at: impl Fn(u64) -> u64) -> Vec<Arrival> {
    let start = Instant::now();
    let mut bucket = Bucket::new(rate_at(0), start);
    let mut waiting: VecDeque<(Instant, &Taker)> = takers.iter().map(|t| (start, t)).collect();
    let mut arrivals = Vec::new();
    let mut now = start;
    while let Some((ready, taker)) = waiting.pop_front() {
        now = now.max(ready);
        let second = (now - start).as_secs();
        if second >= seconds {
            break;
        }
        bucket.set_rate(rate_at(second));
        match bucket.take(now, taker.wants) {
            Ok(bytes) => {
                let rate = bucket.bits_per_second();
                arrivals.push(Arrival {
                    at: now,
                    bytes,
                    rate,
                });
                waiting.push_back((now + taker.rest, taker));
            }
            Err(Some(at)) => {
                assert!(at > now, "to ask again at once would be a busy loop");
                waiting.push_front((at + taker.late, taker));
            }
            Err(None) => waiting.push_front((now + SECOND, taker)),
        }
        waiting.make_contiguous().sort_by_key(|(ready, _)| *ready);
    }
    arrivals
}

/// No second has more than 1.5 x what the highest rate in it allows.
fn bounded_in_every_second(arrivals: &[Arrival]) -> Result<(), TestCaseError> {
    let mut end = 0;
    let mut bytes = 0;
    for arrival in arrivals {
        while end < arrivals.len() && arrivals[end].at < arrival.at + SECOND {
            bytes += arrivals[end].bytes;
            end += 1;
        }
        // The rate changes on whole seconds, so the first and the last have all there are.
        let highest = arrival.rate.max(arrivals[end - 1].rate);
        prop_assert!(
            bytes * 8 * 2 <= highest * 3,
            "{bytes} bytes in a second at {highest} bit/s"
        );
        bytes -= arrival.bytes;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_second_passes_one_and_a_half(takers in takers(), rate in prop::sample::select(&RATES[..4])) {
        bounded_in_every_second(&run(&takers, 10, |_| rate))?;
    }

    #[test]
    fn no_second_passes_it_when_the_rate_changes(
        takers in takers(), rates in prop::collection::vec(prop::sample::select(&RATES[..4]), 10),
    ) {
        let arrivals = run(&takers, 10, |second| rates[second as usize]);
        bounded_in_every_second(&arrivals)?;
    }

    #[test]
    fn a_busy_minute_is_exact(mut takers in takers(), rate in prop::sample::select(&RATES[..3])) {
        // Somebody always wants something.
        takers[0].rest = Duration::ZERO;
        takers[0].wants = PIECE_BYTES;
        let bytes: u64 = run(&takers, 60, |_| rate).iter().map(|arrival| arrival.bytes).sum();
        let exact = rate as f64 / 8.0 * 60.0;
        let error = bytes as f64 / exact - 1.0;
        prop_assert!(error.abs() <= 0.02, "{error}");
    }
}

#[test]
fn a_busy_minute_is_exact_at_high_rates_and_with_late_wake_ups() {
    for (rate, late) in [
        (1_200_000_000, 0),
        (1_200_000_000, 20),
        (10_000_000_000, 100),
    ] {
        let taker = Taker {
            wants: PIECE_BYTES,
            late: Duration::from_millis(late),
            rest: Duration::ZERO,
        };
        let arrivals = run(&[taker], 60, |_| rate);
        bounded_in_every_second(&arrivals).unwrap();
        let bytes: u64 = arrivals.iter().map(|arrival| arrival.bytes).sum();
        let error = bytes as f64 / (rate as f64 / 8.0 * 60.0) - 1.0;
        assert!(
            error.abs() <= 0.02,
            "{error} at {rate} bit/s, woken {late} ms late"
        );
    }
}

#[test]
fn pieces_are_small_at_low_rates() {
    let now = Instant::now();
    let piece = |rate| Bucket::new(rate, now).piece_bytes();
    assert_eq!(piece(64_000), 1_000);
    assert_eq!(piece(1_200_000_000), PIECE_BYTES);
    assert_eq!(piece(1), 1);
    assert_eq!(
        Bucket::new(64_000, now).take(now, PIECE_BYTES),
        Ok(1_000),
        "the bucket cuts what is too long"
    );
    assert_eq!(Bucket::new(0, now).take(now, 1), Err(None));
}

#[test]
fn a_site_shares_its_rate() {
    let site = |bits_per_second, appliances| {
        Some(SiteRate {
            bits_per_second,
            appliances,
        })
    };
    assert_eq!(effective_rate(1_000, None), 1_000);
    assert_eq!(effective_rate(1_000, site(3_000, 4)), 750);
    assert_eq!(effective_rate(1_000, site(30_000, 4)), 1_000);
    assert_eq!(effective_rate(1_000, site(3_000, 0)), 1_000);
}

/// On the paused clock of a runtime of one thread.
fn paused<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test);
}

/// Takes as fast as it may, until the task is aborted.
async fn greedy(limiter: Arc<Limiter>, taken: Arc<std::sync::atomic::AtomicU64>, bytes: u64) {
    loop {
        limiter.take(bytes).await;
        taken.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn tasks_share_fairly_and_exactly() {
    paused(async {
        let limiter = Arc::new(Limiter::new(100_000_000));
        let counters: Vec<_> = (0..8).map(|_| Arc::default()).collect();
        let tasks: Vec<_> = counters
            .iter()
            .map(|taken| tokio::spawn(greedy(limiter.clone(), Arc::clone(taken), PIECE_BYTES)))
            .collect();
        tokio::time::sleep(Duration::from_secs(60)).await;
        for task in tasks {
            task.abort();
        }
        let taken: Vec<u64> = counters
            .iter()
            .map(|counter| counter.load(std::sync::atomic::Ordering::Relaxed))
            .collect();
        let total: u64 = taken.iter().sum();
        let exact = 100_000_000_f64 / 8.0 * 60.0;
        assert!((total as f64 / exact - 1.0).abs() < 0.02, "{taken:?}");
        let spread = taken.iter().max().unwrap() - taken.iter().min().unwrap();
        assert!(spread <= 2 * PIECE_BYTES, "{taken:?}");
    });
}

#[test]
fn a_small_take_does_not_wait_for_a_long_one() {
    paused(async {
        let limiter = Arc::new(Limiter::new(8_000_000));
        let long = tokio::spawn({
            let limiter = limiter.clone();
            async move { limiter.take(100_000_000).await }
        });
        tokio::time::sleep(SECOND).await;
        let asked = tokio::time::Instant::now();
        limiter.take(1_000).await;
        assert!(asked.elapsed() < Duration::from_millis(300));
        assert!(!long.is_finished());
        long.abort();
    });
}

#[test]
fn a_new_rate_is_in_force_for_those_who_wait() {
    paused(async {
        let limiter = Arc::new(Limiter::new(0));
        let waits = tokio::spawn({
            let limiter = limiter.clone();
            async move { limiter.take(10 * PIECE_BYTES).await }
        });
        tokio::time::sleep(3600 * SECOND).await;
        assert!(!waits.is_finished(), "nothing passes at 0 bit/s");
        limiter.set_rate(8_000);
        tokio::time::sleep(SECOND).await;
        assert!(!waits.is_finished());
        limiter.set_rate(1_000_000_000);
        assert_eq!(limiter.rate(), 1_000_000_000);
        tokio::time::timeout(SECOND, waits).await.unwrap().unwrap();
    });
}

#[test]
fn who_gives_up_takes_nothing() {
    paused(async {
        let limiter = Limiter::new(8_000);
        limiter.take_piece(1_000).await;
        let given_up = tokio::time::timeout(Duration::from_millis(10), limiter.take_piece(125));
        assert!(given_up.await.is_err());
        let asked = tokio::time::Instant::now();
        limiter.take_piece(125).await;
        assert!(asked.elapsed() < Duration::from_millis(300));
    });
}
