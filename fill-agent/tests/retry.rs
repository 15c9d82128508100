//! Waiting, and leaving a source alone.

use std::time::{Duration, Instant, SystemTime};

use fill_agent::limits::{
    BACKOFF_BASE, BACKOFF_MAX, BREAKER_FAILURES, PROBE_MAX, RETRY_AFTER_DEFAULT, RETRY_AFTER_MAX,
};
use fill_agent::retry::{Breaker, Fault, Permit, backoff, retry_after_delay};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_bound_doubles_up_to_its_limit() {
    let bounds: Vec<u64> = (0..11)
        .map(|attempt| backoff(attempt, 1.0).as_secs())
        .collect();
    assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(backoff(u32::MAX, 1.0), BACKOFF_MAX);
    assert_eq!(
        backoff(5, 0.0),
        Duration::ZERO,
        "full jitter begins at nothing"
    );
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let table = [
        ("0", Some(0)),
        ("120", Some(120)),
        (" 7 ", Some(7)),
        ("99999999999999999999999", Some(3600)),
        ("86400", Some(3600)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
        ("Fri, 31 Dec 2100 23:59:59 GMT", Some(3600)),
        ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
    ];
    for (value, seconds) in table {
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(retry_after_delay(value, now), expected, "{value:?}");
    }
    assert_eq!(RETRY_AFTER_MAX.as_secs(), 3600);
}

#[test]
fn statuses_have_their_consequences() {
    let now = SystemTime::UNIX_EPOCH;
    let minute = Fault::Busy(60 * SECOND);
    let table = [
        (404, None, Fault::Missing),
        (410, None, Fault::Missing),
        (412, None, Fault::Missing),
        (429, Some("60"), minute),
        (503, Some("60"), minute),
        (503, Some("later"), Fault::Busy(RETRY_AFTER_DEFAULT)),
        (429, None, Fault::Busy(RETRY_AFTER_DEFAULT)),
        (401, None, Fault::Refused),
        (403, Some("60"), Fault::Refused),
        (416, None, Fault::Refused),
        (500, None, Fault::Unreachable),
        (500, Some("60"), minute),
        (504, None, Fault::Unreachable),
        (200, None, Fault::Lie),
        (204, None, Fault::Lie),
        (302, None, Fault::Lie),
    ];
    for (status, retry_after, fault) in table {
        assert_eq!(
            Fault::of_status(status, retry_after, now),
            fault,
            "{status}"
        );
    }
}

fn fail(breaker: &mut Breaker, now: Instant, fault: Fault, times: u32) {
    for _ in 0..times {
        breaker.failed(now, fault, 1.0);
    }
}

#[test]
fn it_opens_lets_one_probe_pass_and_closes() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    fail(&mut breaker, now, Fault::Unreachable, BREAKER_FAILURES - 1);
    assert_eq!(breaker.permit(now), Permit::Yes);
    fail(&mut breaker, now, Fault::Unreachable, 1);
    let first = now + BACKOFF_BASE + backoff(3, 1.0);
    assert_eq!(breaker.permit(now), Permit::Until(first));
    assert_eq!(breaker.blocked_until(now), Some(first));

    assert_eq!(breaker.permit(first), Permit::Probe);
    assert_eq!(
        breaker.permit(first),
        Permit::Until(first + BACKOFF_BASE),
        "the others look again soon"
    );
    fail(&mut breaker, first, Fault::Unreachable, 1);
    let second = first + BACKOFF_BASE + backoff(4, 1.0);
    assert_eq!(breaker.permit(first), Permit::Until(second));

    assert_eq!(breaker.permit(second), Permit::Probe);
    breaker.succeeded();
    assert_eq!(breaker.permit(second), Permit::Yes);
    assert_eq!(breaker.blocked_until(second), None);
}

#[test]
fn a_lost_probe_is_replaced() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    fail(&mut breaker, now, Fault::Unreachable, BREAKER_FAILURES);
    let later = now + 3600 * SECOND;
    assert_eq!(breaker.permit(later), Permit::Probe);
    assert_eq!(
        breaker.permit(later + PROBE_MAX - SECOND),
        Permit::Until(later + PROBE_MAX)
    );
    assert_eq!(breaker.permit(later + PROBE_MAX), Permit::Probe);
}

#[test]
fn what_was_under_way_when_it_opened_does_not_prolong_it() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    fail(&mut breaker, now, Fault::Unreachable, BREAKER_FAILURES);
    let until = breaker.blocked_until(now);
    fail(&mut breaker, now + SECOND, Fault::Unreachable, 7);
    assert_eq!(breaker.blocked_until(now), until);
}

#[test]
fn two_lies_open_it_and_other_faults_do_not_hide_them() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    fail(&mut breaker, now, Fault::Lie, 1);
    fail(&mut breaker, now, Fault::Unreachable, 1);
    assert_eq!(breaker.permit(now), Permit::Yes);
    fail(&mut breaker, now, Fault::Lie, 1);
    assert!(matches!(breaker.permit(now), Permit::Until(_)));
}

#[test]
fn busy_is_obeyed_and_missing_is_no_fault() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    fail(&mut breaker, now, Fault::Busy(30 * SECOND), 1);
    assert_eq!(breaker.permit(now), Permit::Until(now + 30 * SECOND));
    assert_eq!(breaker.permit(now + 30 * SECOND), Permit::Yes);
    fail(&mut breaker, now, Fault::Missing, 100);
    assert_eq!(breaker.permit(now + 30 * SECOND), Permit::Yes);
}

proptest! {
    #[test]
    fn a_delay_stays_below_its_bound(attempt: u32, random in 0.0..1.0_f64) {
        prop_assert!(backoff(attempt, random) <= backoff(attempt, 1.0));
        prop_assert!(backoff(attempt, 1.0) <= BACKOFF_MAX);
    }

    /// Whatever happens, a source is asked again: no state is for ever.
    #[test]
    fn a_source_is_asked_again(events in prop::collection::vec((0..5_u8, 0..400_u64, 0.0..1.0_f64), 0..60)) {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for (event, seconds, random) in events {
            now += Duration::from_secs(seconds);
            let _ = breaker.permit(now);
            match event {
                0 => breaker.succeeded(),
                1 => breaker.failed(now, Fault::Busy(RETRY_AFTER_MAX), random),
                2 => breaker.failed(now, Fault::Lie, random),
                3 => breaker.failed(now, Fault::Refused, random),
                _ => breaker.failed(now, Fault::Unreachable, random),
            }
        }
        let longest = RETRY_AFTER_MAX.max(PROBE_MAX).max(BACKOFF_BASE + BACKOFF_MAX);
        prop_assert!(!matches!(breaker.permit(now + longest), Permit::Until(_)));
    }

    #[test]
    fn no_field_breaks_the_reader(value in ".{0,40}") {
        let delay = retry_after_delay(&value, SystemTime::UNIX_EPOCH);
        prop_assert!(delay.is_none_or(|delay| delay <= RETRY_AFTER_MAX));
    }
}
