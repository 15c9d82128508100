//! New connections: who gets a place, who is told that there is none, and who is just closed.

use std::io;
use std::net::IpAddr;

use platform::reactor::{ListenerId, Reactor, Token};

use super::secure::Secure;
use super::{Slot, Thought, Worker};
use crate::access_log::Viewer;
use crate::addresses::Stay;
use crate::connection::Connection;
use crate::limits::{RECHECK, TURNED_AWAY};
use crate::listener::ViewerSocket;

/// What becomes of a connection that was just accepted.
enum Verdict {
    Welcome(Stay),
    /// One too many: it is told so.
    TurnedAway,
    /// Nobody is served, or too many are being told already.
    Closed,
}

/// Listening sockets that nobody is let in by yet.
pub(super) struct Closed {
    pub(super) listeners: Vec<ViewerSocket>,
    /// The id of the first of them.
    pub(super) first: usize,
}

/// Accepts from `listeners`, or, if there are some, from those of the `trial` for now. Of each by its id, whether it speaks TLS.
pub(super) fn listen(
    reactor: &mut Reactor,
    trial: Vec<ViewerSocket>,
    listeners: Vec<ViewerSocket>,
) -> io::Result<(Vec<bool>, Closed)> {
    let is_tls = trial.iter().chain(&listeners).map(|it| it.is_tls).collect();
    let (open, closed) = if trial.is_empty() {
        (listeners, Vec::new())
    } else {
        (trial, listeners)
    };
    let first = open.len();
    for (id, listener) in open.into_iter().enumerate() {
        reactor.listen(ListenerId(id as u16), listener.listening)?;
    }
    let closed = Closed {
        listeners: closed,
        first,
    };
    Ok((is_tls, closed))
}

/// There is nothing to make a handshake with.
struct NoTls;

impl Worker {
    pub(super) fn accepted(&mut self, listener: ListenerId, token: Token) {
        self.thought.counters.accepted.add(1);
        // A connection that is gone already has no address, and no use for a place.
        let peer = self.reactor.peer_address(token);
        let (Ok(peer), true) = (peer, token.index() < self.connections.len()) else {
            return self.reactor.close(token);
        };
        let Ok(secure) = self.secure(listener) else {
            return self.reactor.close(token);
        };
        let verdict = self.judge(peer.ip());
        let (now, patience) = (self.thought.now, &self.thought.patience);
        let (mut connection, stay) = match verdict {
            Verdict::Welcome(stay) => (Connection::new(now, patience), Some(stay)),
            Verdict::TurnedAway => (Connection::turned_away(now, patience), None),
            Verdict::Closed => return self.reactor.close(token),
        };
        if let Some(viewer) = sampled(peer.ip(), &self.thought) {
            connection.log_as(viewer);
        }
        let handshaking = &self.thought.counters.tls.handshaking;
        handshaking.add(u64::from(secure.is_some()));
        self.turned_away += usize::from(stay.is_none());
        let slot = Slot {
            token,
            connection,
            secure,
            stay,
            is_holder: false,
            full: Some(0),
        };
        self.timers.insert(token, slot.deadline(now));
        self.connections[token.index()] = Some(slot);
        self.thought.counters.connections.add(1);
        self.reactor.receive(token);
    }

    /// What a connection that came in at `listener` has beside its HTTP.
    fn secure(&self, listener: ListenerId) -> Result<Option<Box<Secure>>, NoTls> {
        let is_tls = self.listeners.get(usize::from(listener.0));
        if !is_tls.is_some_and(|is_tls| *is_tls) {
            return Ok(None);
        }
        let tls = self.thought.shared.tls.as_deref().ok_or(NoTls)?;
        let secure = Secure::new(tls, self.thought.now, self.handshake_patience);
        Ok(Some(Box::new(secure)))
    }

    fn judge(&mut self, address: IpAddr) -> Verdict {
        if self.thought.shared.service().refuses() {
            return Verdict::Closed;
        }
        let counters = &self.thought.counters;
        let welcome = counters.connections.value() - (self.turned_away as u64);
        if welcome >= self.most_connections {
            counters.refused_full.add(1);
        } else if let Some(stay) = self.addresses.enter(address) {
            return Verdict::Welcome(stay);
        } else {
            counters.refused_address.add(1);
        }
        if self.turned_away < TURNED_AWAY {
            Verdict::TurnedAway
        } else {
            Verdict::Closed
        }
    }

    /// A connection has left: its place, and what it counted for, are free.
    pub(super) fn left(&mut self, stay: Option<Stay>) {
        self.thought.counters.connections.subtract(1);
        match stay {
            Some(stay) => self.addresses.leave(stay),
            None => self.turned_away -= 1,
        }
    }

    /// Out of descriptors or of connections: the listener rests for up to a second.
    pub(super) fn accept_failed(&mut self, listener: ListenerId, error: &io::Error) {
        self.thought.counters.accept_errors.add(1);
        tracing::debug!(%error, "accept failed");
        self.resting.push(listener);
    }

    /// Listeners that rest are tried again once per second.
    pub(super) fn resume_listeners(&mut self) {
        if self.resting.is_empty() || self.thought.now < self.resume_at {
            return;
        }
        self.resume_at = self.thought.now + RECHECK;
        for listener in self.resting.drain(..) {
            self.reactor.resume_accept(listener);
        }
    }

    /// The trial is over: its sockets rest, and viewers come in.
    pub(super) fn open_when_let_in(&mut self) -> io::Result<()> {
        if self.closed.listeners.is_empty() || !self.thought.shared.is_let_in() {
            return Ok(());
        }
        let first = self.closed.first;
        for trial in 0..first {
            self.reactor.pause_accept(ListenerId(trial as u16));
        }
        for (at, closed) in self.closed.listeners.drain(..).enumerate() {
            let id = ListenerId((first + at) as u16);
            self.reactor.listen(id, closed.listening)?;
        }
        self.thought.shared.has_opened();
        Ok(())
    }

    /// Whether nobody is here, and nobody can come in any more.
    pub(super) fn is_deserted(&self) -> bool {
        let mut ids = (0..self.listeners.len()).map(|id| ListenerId(id as u16));
        self.thought.counters.connections.value() == 0
            && !ids.any(|id| self.reactor.is_accepting(id))
    }

    pub(super) fn stop_accepting(&mut self) {
        self.resting.clear();
        if !std::mem::replace(&mut self.has_stopped_accepting, true) {
            for id in 0..self.listeners.len() {
                self.reactor.pause_accept(ListenerId(id as u16));
            }
        }
    }
}

/// Whom the log names for a connection that was just accepted, if its requests are logged.
fn sampled(address: IpAddr, thought: &Thought) -> Option<Viewer> {
    let log = thought.shared.access_log.as_ref()?;
    let connection = thought.counters.accepted.value();
    log.is_sampled(connection).then(|| Viewer {
        worker: thought.worker,
        connection,
        address: log.shown(address),
        tls: None,
    })
}
