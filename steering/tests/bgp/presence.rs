//! When a service address is announced.

use std::time::{Duration, Instant};

use steering::State;
use steering::bgp::announcement::Offer;
use steering::bgp::presence::{Look, Phase, Presence};

struct Box {
    now: Instant,
    presence: Presence,
    look: Look,
    changes: Vec<Option<Offer>>,
}

impl Box {
    fn new() -> Self {
        let look = Look {
            state: State::Ok,
            is_stopping: false,
            is_ready: true,
            canary: Some(true),
        };
        Self {
            now: Instant::now(),
            presence: Presence::default(),
            look,
            changes: Vec::new(),
        }
    }

    /// A look each second.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            let before = self.presence.offer();
            self.presence.observe(self.now, self.look);
            if self.presence.offer() != before {
                self.changes.push(self.presence.offer());
            }
            self.now += Duration::from_secs(1);
        }
    }

    fn fail(&mut self) {
        self.look.canary = Some(false);
        self.pass(3);
        self.look.canary = Some(true);
    }
}

#[test]
fn load_and_a_drain_under_way_change_nothing() {
    let mut it = Box::new();
    it.pass(1);
    for turn in 0..600 {
        it.look.state = [State::Ok, State::Degraded, State::Draining][turn % 3];
        it.pass(1);
    }
    assert_eq!(it.changes, [Some(Offer::Present)]);
}

#[test]
fn after_a_drain_leaving_is_told_for_a_minute_and_then_it_is_gone() {
    let mut it = Box::new();
    it.pass(1);
    it.look.state = State::Drained;
    it.pass(60);
    assert_eq!(it.changes, [Some(Offer::Present), Some(Offer::Leaving)]);
    it.pass(1);
    assert_eq!(it.presence.phase(), Phase::Left);
    it.look.state = State::Ok;
    it.pass(1);
    assert_eq!(it.changes[2..], [None, Some(Offer::Present)]);
}

#[test]
fn it_is_announced_only_when_ready() {
    let mut it = Box::new();
    it.look.is_ready = false;
    it.pass(10);
    assert_eq!(it.presence.phase(), Phase::Absent);
    it.look.is_ready = true;
    it.pass(1);
    it.look.is_ready = false;
    it.pass(1);
    assert_eq!(it.changes, [Some(Offer::Present), None]);
}

#[test]
fn a_stop_leaves_and_down_does_not_wait() {
    let mut it = Box::new();
    it.pass(1);
    it.look.is_stopping = true;
    it.look.state = State::Draining;
    it.pass(1);
    it.look.state = State::Down;
    it.pass(1);
    assert_eq!(
        it.changes,
        [Some(Offer::Present), Some(Offer::Leaving), None]
    );
}

#[test]
fn two_missed_canaries_are_none_and_three_withdraw_for_a_minute() {
    let mut it = Box::new();
    it.pass(1);
    for _ in 0..10 {
        it.look.canary = Some(false);
        it.pass(2);
        it.look.canary = Some(true);
        it.pass(1);
    }
    assert_eq!(it.changes, [Some(Offer::Present)]);
    it.fail();
    assert!(matches!(it.presence.phase(), Phase::Away { .. }));
    it.pass(58);
    assert_eq!(it.presence.offer(), None);
    it.pass(3);
    assert_eq!(it.changes[1..], [None, Some(Offer::Present)]);
}

#[test]
fn the_fourth_withdrawal_in_an_hour_lasts_until_somebody_says_otherwise() {
    let mut it = Box::new();
    it.pass(1);
    let mut away = Vec::new();
    for _ in 0..3 {
        it.fail();
        let begun = it.now;
        while it.presence.offer().is_none() {
            it.pass(1);
        }
        away.push((it.now - begun).as_secs());
        it.pass(100);
    }
    assert_eq!(away, [60, 120, 240]);
    it.fail();
    assert_eq!(it.presence.phase(), Phase::Held);
    it.pass(7200);
    assert_eq!(it.presence.phase(), Phase::Held);
    it.presence.release();
    it.pass(1);
    assert_eq!(it.presence.offer(), Some(Offer::Present));
}

#[test]
fn after_a_quiet_hour_it_begins_with_a_minute_again() {
    let mut it = Box::new();
    it.pass(1);
    for _ in 0..5 {
        it.fail();
        it.pass(62);
        assert_eq!(it.presence.offer(), Some(Offer::Present));
        it.pass(3600);
    }
}
