//! Handshakes go on beside the worker ([`Beside`]), while it serves. They wait here in their order; one that has waited too long, because
//! the thread beside finds no time on a busy core, goes on in the worker itself, a bounded time in each turn.
//!
//! ```text
//!  bytes ──► queue ──┬── room beside ──────► Beside ──┬──► went_on: Handshake again, Open, or Over
//!                    └── waited too long ──► here ────┘
//! ```

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use content_store::Index;
use platform::reactor::{Token, Waker};

use super::secure::State;
use super::{Setup, Worker, slot};
use crate::access_log::End;
use crate::limits::{HANDSHAKE_WAIT, HANDSHAKES_PER_TURN, RECHECK};
use crate::tls::Agreed;
use crate::tls::beside::{Beside, Step};
use crate::tls::handshake::{Handshake, Progress, Reason};

/// Connections whose handshakes can go on, first come first served, and since when.
#[derive(Default)]
pub(super) struct Handshakes {
    waiting: VecDeque<(Token, Instant)>,
    /// `None` if the worker does not speak TLS.
    beside: Option<Beside>,
}

impl Handshakes {
    /// Those of a worker that has this waker.
    pub(super) fn new(setup: &Setup, waker: Waker) -> io::Result<Self> {
        let is_tls = setup.listeners.iter().any(|listener| listener.is_tls);
        let beside = is_tls.then(|| Beside::start(setup.number, setup.cores.clone(), waker));
        Ok(Self {
            waiting: VecDeque::with_capacity(setup.connections as usize),
            beside: beside.transpose()?,
        })
    }

    /// How long the worker may sleep: who waits here is looked at in time.
    pub(super) fn longest_sleep(&self, now: Instant) -> Duration {
        let first = self.waiting.front();
        first.map_or(RECHECK, |(_, since)| {
            (*since + HANDSHAKE_WAIT).saturating_duration_since(now)
        })
    }

    /// The next one that the thread beside has room for.
    fn next_beside(&mut self) -> Option<Token> {
        let has_room = self.beside.as_ref().is_some_and(Beside::has_room);
        let next = has_room.then(|| self.waiting.pop_front()).flatten();
        next.map(|(token, _)| token)
    }

    /// The next one that has waited too long, in a turn that went on with `done` already, for as long as `spent`.
    fn next_overdue(&mut self, now: Instant, done: u64, spent: Duration) -> Option<Token> {
        let (token, since) = *self.waiting.front()?;
        let is_over = done > 0 && spent >= HANDSHAKES_PER_TURN;
        if is_over || now < since + HANDSHAKE_WAIT {
            return None;
        }
        self.waiting.pop_front();
        Some(token)
    }
}

impl Worker {
    /// It has its turn when there is time for handshakes.
    pub(super) fn queue_handshake(&mut self, token: Token) {
        let Some(slot) = slot(&mut self.connections, token) else {
            return;
        };
        if let Some(secure) = slot.secure.as_deref_mut()
            && let State::Handshake(handshake) = &secure.state
        {
            if !handshake.is_hungry() {
                self.reactor.stop_receive(token);
            }
            if !std::mem::replace(&mut secure.is_queued, true) {
                self.handshakes.waiting.push_back((token, self.thought.now));
            }
        }
    }

    /// Takes what was done beside, and gives out more; goes on by itself with what has waited too long.
    pub(super) fn run_handshakes(&mut self, index: &Index) {
        while let Some(step) = self.handshakes.beside.as_mut().and_then(Beside::take) {
            self.thought.counters.tls.handshake_steps_beside.add(1);
            self.went_on(step, index);
        }
        while let Some(token) = self.handshakes.next_beside() {
            self.give_beside(token);
        }
        self.run_overdue(index);
    }

    fn give_beside(&mut self, token: Token) {
        let handshake = self.take_handshake(token);
        if let Some((beside, handshake)) = self.handshakes.beside.as_mut().zip(handshake) {
            beside.give(token, handshake);
        }
    }

    fn run_overdue(&mut self, index: &Index) {
        let begun = Instant::now();
        for done in 0.. {
            let now = self.thought.now;
            let Some(token) = self.handshakes.next_overdue(now, done, begun.elapsed()) else {
                return;
            };
            let tls = &self.thought.counters.tls;
            tls.handshake_turns.add(u64::from(done == 0));
            if let Some(handshake) = self.take_handshake(token) {
                self.thought.counters.tls.handshake_steps_here.add(1);
                self.went_on(Step::of(token, handshake), index);
            }
        }
    }

    /// Takes a handshake out of its connection, to go on with it.
    fn take_handshake(&mut self, token: Token) -> Option<Handshake> {
        let secure = slot(&mut self.connections, token)?.secure.as_deref_mut()?;
        secure.is_queued = false;
        let is_here = matches!(secure.state, State::Handshake(_));
        let away = State::Away(Vec::new());
        match is_here.then(|| std::mem::replace(&mut secure.state, away)) {
            Some(State::Handshake(handshake)) => Some(handshake),
            _ => None,
        }
    }

    /// A handshake comes back; its connection may be gone, or given up.
    fn went_on(&mut self, step: Step, index: &Index) {
        let token = step.token;
        let Some(slot) = slot(&mut self.connections, token) else {
            return;
        };
        let Some(secure) = slot.secure.as_deref_mut() else {
            return;
        };
        let State::Away(kept) = &mut secure.state else {
            return;
        };
        let kept = std::mem::take(kept);
        secure.state = State::Over;
        secure.push(&step.output);
        match step.progress {
            Progress::Pending(_) if secure.peer_closed && kept.is_empty() => {
                return self.handshake_failed(token, Reason::PeerClosed, index);
            }
            Progress::Pending(mut handshake) => {
                handshake.received(&kept);
                secure.state = State::Handshake(handshake);
                self.reactor.receive(token);
                if !kept.is_empty() {
                    self.queue_handshake(token);
                }
            }
            Progress::Done(mut session, agreed) => {
                if session.keep(&kept, Vec::new).is_err() {
                    return self.handshake_failed(token, Reason::TooLong, index);
                }
                let accepted = secure.accepted;
                secure.state = State::Open(session);
                let path = self.choose_path(token);
                let agreed = Agreed { path, ..agreed };
                self.handshake_done(token, agreed, accepted, index);
            }
            Progress::Failed(reason) => return self.handshake_failed(token, reason, index),
        }
        self.drive(token, index);
    }

    fn handshake_done(&mut self, token: Token, agreed: Agreed, accepted: Instant, index: &Index) {
        self.thought.now = Instant::now();
        let counters = &self.thought.counters.tls;
        let kind = if agreed.is_resumed {
            &counters.resumed
        } else {
            &counters.full
        };
        kind[agreed.suite.number()].add(1);
        counters.paths[agreed.path.number()].add(1);
        counters.handshaking.subtract(1);
        let took = self.thought.now.saturating_duration_since(accepted);
        counters.handshake.record(took);
        if let Some(slot) = slot(&mut self.connections, token) {
            slot.connection
                .secured(agreed, &self.thought.context(index));
        }
    }

    /// What rustls had to say is sent; who has gone hears nothing.
    fn handshake_failed(&mut self, token: Token, reason: Reason, index: &Index) {
        let counters = &self.thought.counters.tls;
        counters.failures[reason.number()].add(1);
        counters.handshaking.subtract(1);
        if reason == Reason::PeerClosed {
            return self.end(token, End::Peer);
        }
        if let Some(slot) = slot(&mut self.connections, token) {
            slot.connection.hang_up(&self.thought.context(index));
        }
        self.drive(token, index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(tokens: impl IntoIterator<Item = u64>, since: Instant) -> Handshakes {
        let tokens = tokens
            .into_iter()
            .map(|bits| (Token::from_bits(bits), since));
        Handshakes {
            waiting: tokens.collect(),
            beside: None,
        }
    }

    #[test]
    fn one_that_waited_too_long_goes_on_however_long_the_last_took_and_no_other_when_time_is_up() {
        let since = Instant::now();
        let late = since + HANDSHAKE_WAIT;
        let mut handshakes = waiting([1, 2, 3], since);
        let mut next = |done, spent| handshakes.next_overdue(late, done, spent);
        assert_eq!(next(0, Duration::from_secs(1)), Some(Token::from_bits(1)));
        assert_eq!(next(1, HANDSHAKES_PER_TURN), None);
        let half = HANDSHAKES_PER_TURN / 2;
        assert_eq!(next(1, half), Some(Token::from_bits(2)));
        assert_eq!(next(1, half), Some(Token::from_bits(3)));
        assert_eq!(next(1, half), None);
    }

    #[test]
    fn the_worker_leaves_them_alone_until_they_waited_and_wakes_up_then() {
        let since = Instant::now();
        let mut handshakes = waiting([1], since);
        let soon = since + HANDSHAKE_WAIT / 2;
        assert_eq!(handshakes.next_overdue(soon, 0, Duration::ZERO), None);
        assert_eq!(handshakes.longest_sleep(soon), HANDSHAKE_WAIT / 2);
        assert_eq!(handshakes.longest_sleep(since + RECHECK), Duration::ZERO);
        assert_eq!(waiting([], since).longest_sleep(since), RECHECK);
        // Without a thread beside it has room for none.
        assert_eq!(handshakes.next_beside(), None);
    }
}
