//! What a connection over TLS does beside its HTTP: the handshake; opening what comes; and what was sealed and waits for room.
//!
//! ```text
//!  bytes ──► Handshake ──► Away, see handshakes ──► Open(Session) ──► records opened ──► Connection::received
//!                │ failed                               │ fault
//!                ▼                                      ▼
//!              Over: an alert is sent, then the connection lingers as after any last answer
//! ```
//!
//! Nothing is asked of the HTTP machine while sealed bytes wait: they go first.

use std::time::{Duration, Instant};

use content_store::Index;
use platform::reactor::Token;
use rustls::AlertDescription;

use super::sealing::Unsent;
use super::{Slot, Thought, Worker, slot};
use crate::connection::Late;
use crate::counters::TlsCounters;
use crate::limits::RECHECK;
use crate::tls::Tls;
use crate::tls::handshake::{Handshake, Reason};
use crate::tls::records::Fault;
use crate::tls::seal::CONTROL_BYTES;
use crate::tls::session::{Next, Plain, Session};

/// Beside the HTTP machine of a connection over TLS.
pub(super) struct Secure {
    pub(super) state: State,
    /// Sealed bytes that the socket had no room for.
    pub(super) unsent: Option<Unsent>,
    /// The kernel seals what is sent.
    pub(super) by_kernel: bool,
    /// Alerts that the kernel had no room for.
    pub(super) alerts: Vec<AlertDescription>,
    /// It is to be closed for writing when nothing is unsent.
    pub(super) ends: bool,
    /// It stands in the queue of handshakes.
    pub(super) is_queued: bool,
    /// The peer will send no more, and not all that it sent was looked at.
    pub(super) peer_closed: bool,
    pub(super) accepted: Instant,
    /// When its handshake must be done.
    deadline: Instant,
}

pub(super) enum State {
    Handshake(Handshake),
    /// Its handshake goes on elsewhere; what the client sends meanwhile is kept.
    Away(Vec<u8>),
    Open(Box<Session>),
    /// What still comes is thrown away.
    Over,
}

impl Secure {
    /// With a client that was just accepted.
    pub(super) fn new(tls: &Tls, now: Instant, patience: Duration) -> Self {
        Self {
            state: State::Handshake(Handshake::new(&tls.config)),
            unsent: None,
            by_kernel: false,
            alerts: Vec::new(),
            ends: false,
            is_queued: false,
            peer_closed: false,
            accepted: now,
            deadline: now + patience,
        }
    }

    fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Handshake(_) | State::Away(_))
    }

    /// Its keys, once the handshake is done.
    pub(super) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Open(session) => Some(session),
            State::Handshake(_) | State::Away(_) | State::Over => None,
        }
    }

    /// Whether it should end after its present answer.
    pub(super) fn is_worn(&self) -> bool {
        matches!(&self.state, State::Open(session) if session.is_worn())
    }

    /// Who says nothing was looking whether somebody listens: the self-test does, and load balancers.
    fn is_unspoken(&self) -> bool {
        matches!(&self.state, State::Handshake(handshake) if handshake.is_unspoken())
    }

    /// A handshake that will not be done any more.
    pub(super) fn give_up(&mut self, reason: Reason, counters: &TlsCounters) {
        if !self.is_handshaking() {
            return;
        }
        let had_failed = reason != Reason::PeerClosed || !self.is_unspoken();
        self.state = State::Over;
        counters.handshaking.subtract(1);
        counters.failures[reason.number()].add(u64::from(had_failed));
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.unsent.get_or_insert_default().push(bytes);
        }
    }
}

/// What opening needs of its worker.
pub(super) struct Opening<'a> {
    pub(super) plain: &'a mut Plain,
    pub(super) spares: &'a mut Vec<Vec<u8>>,
    pub(super) thought: &'a mut Thought,
    pub(super) index: &'a Index,
}

/// What came of bytes that a connection received.
#[derive(Clone, Copy)]
pub(super) enum Heard {
    GoOn,
    /// Enough for now.
    Stop,
    /// The handshake can go on.
    Handshake,
    Fault(Fault),
}

impl Slot {
    /// Looks whether something took too long: the handshake, which a stop does not wait for, or what comes after it.
    pub(super) fn late(&mut self, thought: &mut Thought, index: &Index) -> Late {
        let due = self.handshake_due();
        let Some((secure, due)) = self.secure.as_deref_mut().zip(due) else {
            return self.connection.late(&thought.context(index));
        };
        if thought.now < due && (!thought.shared.is_stopping() || thought.parting) {
            return Late::Patient;
        }
        secure.give_up(Reason::Timeout, &thought.counters.tls);
        self.connection.time_out(&thought.context(index));
        Late::Act
    }

    /// When [`Slot::late`] should be asked at the latest.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        match self.handshake_due() {
            Some(due) => due.min(now + RECHECK),
            None => self.connection.deadline(now),
        }
    }

    fn handshake_due(&self) -> Option<Instant> {
        let secure = self.secure.as_deref()?;
        secure.is_handshaking().then_some(secure.deadline)
    }

    /// Takes bytes of a peer, if it speaks TLS after those that were kept.
    pub(super) fn hear(&mut self, input: &[u8], opening: &mut Opening<'_>) -> Heard {
        let Some(secure) = self.secure.as_deref_mut() else {
            return self.hear_plain(input, opening);
        };
        match &mut secure.state {
            State::Handshake(handshake) => {
                handshake.received(input);
                Heard::Handshake
            }
            State::Away(kept) => {
                kept.extend_from_slice(input);
                Heard::Stop
            }
            State::Open(_) => match self.open(input, opening) {
                Ok(true) => Heard::GoOn,
                Ok(false) => Heard::Stop,
                Err(fault) => Heard::Fault(fault),
            },
            // The connection lingers: it only counts them.
            State::Over => self.hear_plain(input, opening),
        }
    }

    fn hear_plain(&mut self, bytes: &[u8], opening: &mut Opening<'_>) -> Heard {
        let mut cx = opening.thought.context(opening.index);
        let spares = &mut *opening.spares;
        let spare = || spares.pop().unwrap_or_default();
        if self.connection.received(bytes, &mut cx, spare) {
            Heard::GoOn
        } else {
            Heard::Stop
        }
    }

    /// Hands what is opened to the HTTP machine until it has enough; whether it would take more.
    fn open(&mut self, mut input: &[u8], opening: &mut Opening<'_>) -> Result<bool, Fault> {
        let Some(secure) = self.secure.as_deref_mut() else {
            return Ok(true);
        };
        let State::Open(session) = &mut secure.state else {
            return Ok(true);
        };
        let spares = &mut *opening.spares;
        loop {
            let next = session.next(&mut input, opening.plain, || {
                spares.pop().unwrap_or_default()
            })?;
            match next {
                Next::Data(length) => {
                    let mut cx = opening.thought.context(opening.index);
                    cx.closing |= session.is_worn();
                    let bytes = &opening.plain[..length];
                    let spare = || spares.pop().unwrap_or_default();
                    if !self.connection.received(bytes, &mut cx, spare) {
                        session.keep(input, || spares.pop().unwrap_or_default())?;
                        return Ok(false);
                    }
                }
                Next::Starved if !secure.peer_closed => return Ok(true),
                Next::Starved | Next::Closed => {
                    self.connection.peer_closed();
                    return Ok(true);
                }
            }
        }
    }
}

impl Worker {
    /// A peer over TLS will send no more; whether its HTTP machine is to be told at once.
    pub(super) fn peer_closed_secure(&mut self, token: Token) -> bool {
        let Some(slot) = slot(&mut self.connections, token) else {
            return false;
        };
        let Some(secure) = slot.secure.as_deref_mut() else {
            return true;
        };
        match &secure.state {
            State::Handshake(handshake) if handshake.is_unspoken() => {
                self.close(token);
                false
            }
            State::Handshake(_) => {
                secure.peer_closed = true;
                self.queue_handshake(token);
                false
            }
            State::Away(_) => {
                secure.peer_closed = true;
                false
            }
            State::Open(session) if session.has_kept() && slot.connection.is_answering() => {
                secure.peer_closed = true;
                false
            }
            State::Open(_) | State::Over => true,
        }
    }

    /// A peer sent what it must not: it is told so after what was sealed for it, and hears no more.
    pub(super) fn fault(&mut self, token: Token, fault: Fault, index: &Index) {
        let Some(slot) = slot(&mut self.connections, token) else {
            return;
        };
        let counters = &self.thought.counters;
        counters.tls.faults[fault.number()].add(1);
        if slot.connection.is_cut_short() {
            counters.aborted_by_peer.add(1);
        }
        if let Some(secure) = slot.secure.as_deref_mut() {
            secure.last_words(fault);
        }
        slot.connection.hang_up(&self.thought.context(index));
        self.drive(token, index);
    }
}

impl Secure {
    /// An alert, and for a renegotiation, whose alert does not end the connection, that it ends.
    fn last_words(&mut self, fault: Fault) {
        let State::Open(mut session) = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        let goodbye = (fault == Fault::Renegotiation).then_some(AlertDescription::CloseNotify);
        for alert in fault.alert().into_iter().chain(goodbye) {
            if self.by_kernel {
                self.alerts.push(alert);
                continue;
            }
            let mut record = [0; CONTROL_BYTES];
            if let Ok(length) = session.alert(alert, &mut record) {
                self.push(&record[..length]);
            }
        }
    }
}
