//! Two connections with one neighbour (RFC 4271 section 6.8): which one stays.
//!
//! Whoever has the higher identifier keeps the one that he opened (RFC 6286). That is known from the first OPEN on, over whichever
//! connection it comes, so both sides agree in every order of arrival. But the one that is to stay may be what a router left when
//! it died. So the other one, whose router is there, is kept waiting with its OPEN unanswered until the first has had an OPEN too,
//! or has ended, or [`COLLISION_WAIT`] is over; then it is the one that stays.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Action, ConnectionId, Dial, Ending, Neighbor};
use crate::bgp::limits::COLLISION_WAIT;
use crate::bgp::packet::notification::{Notification, Reason};
use crate::bgp::packet::open::Open;
use crate::bgp::session::{Opener, Session, Stage, State};

impl Neighbor {
    /// A connection of the neighbour's takes the place of its last one, and of one with a neighbour that restarts gracefully. Once
    /// its OPEN was answered over another one, it is refused before ours is sent: so both sides always agree on which one stays.
    pub(super) fn accept(&mut self, now: Instant, connection: ConnectionId, local: IpAddr) {
        let holds = |session: &Session| {
            session.agreed().is_some()
                && !session
                    .established()
                    .is_some_and(|it| it.restarts_gracefully)
        };
        let refusal = if matches!(self.dial, Dial::Idle(_)) {
            Some(Reason::REJECTED)
        } else {
            let holds = self.sessions.iter().any(holds);
            holds.then_some(Reason::COLLISION)
        };
        if let Some(reason) = refusal {
            let bytes = Notification::from(reason).encode();
            self.actions.push_back(Action::Send { connection, bytes });
            self.actions.push_back(Action::Close { connection });
            return;
        }
        let replaced =
            |session: &&Session| session.opener == Opener::Them || session.established().is_some();
        let replaced = self
            .sessions
            .iter()
            .filter(replaced)
            .map(|it| it.connection);
        for old in replaced.collect::<Vec<_>>() {
            self.actions.push_back(Action::Close { connection: old });
            let why = "the neighbour has opened another connection".to_owned();
            self.end(now, old, Ending::Connection(why));
        }
        self.begin(now, connection, Opener::Them, local);
    }

    /// The neighbour's OPEN has come.
    pub(super) fn opened(&mut self, now: Instant, connection: ConnectionId, open: &Open) {
        let stays = self.whose_stays(open);
        let rival = self.sessions.iter().find(|it| it.connection != connection);
        let rival = rival.map(|it| {
            let stays = it.state() == State::Established || it.opener == stays;
            (it.connection, stays, it.is_silent())
        });
        let settings = self.settings.clone();
        let Some(session) = self.session(connection) else {
            return;
        };
        let agreed = match session.agree(open, &settings) {
            Ok(agreed) => agreed,
            Err(notification) => return self.refuse(now, connection, notification),
        };
        let wait = patience(agreed.hold);
        session.stage = Stage::KeptWaiting(agreed);
        session.hold_at = Some(now + wait);
        match rival {
            None => {}
            Some((_, true, true)) => return,
            Some((_, true, false)) => {
                return self.refuse(now, connection, Reason::COLLISION.into());
            }
            Some((rival, false, _)) => self.refuse(now, rival, Reason::COLLISION.into()),
        }
        self.confirm(now, connection);
    }

    /// Whoever has the higher identifier keeps the connection that he opened.
    fn whose_stays(&self, open: &Open) -> Opener {
        let ours = (self.settings.identifier, self.settings.local_as);
        if ours > (open.identifier, open.autonomous_system) {
            Opener::Us
        } else {
            Opener::Them
        }
    }

    /// Answers an OPEN that was kept waiting for a rival that is gone, and hears what came since.
    pub(super) fn take_up_who_waits(&mut self, now: Instant) {
        if let [session] = &self.sessions[..]
            && session.is_kept_waiting()
        {
            let connection = session.connection;
            self.confirm(now, connection);
            self.received(now, connection, &[]);
        }
    }

    fn confirm(&mut self, now: Instant, connection: ConnectionId) {
        let Some(session) = self.session(connection) else {
            return;
        };
        if let Stage::KeptWaiting(agreed) = &session.stage {
            session.stage = Stage::OpenConfirm(agreed.clone());
            session.hear(now);
            self.keep_alive(now, connection);
        }
    }

    pub(super) fn refuse_others(&mut self, now: Instant, connection: ConnectionId) {
        let others = self.sessions.iter().map(|it| it.connection);
        let others: Vec<_> = others.filter(|it| *it != connection).collect();
        for other in others {
            self.refuse(now, other, Reason::COLLISION.into());
        }
    }

    /// Nothing is there, or only a connection over which the neighbour, if it is still there, has said nothing.
    pub(super) fn has_heard_nobody(&self) -> bool {
        let silent = |it: &Session| it.opener == Opener::Them && it.is_silent();
        self.sessions.iter().all(silent)
    }
}

/// A KEEPALIVE, which answers an OPEN, never takes longer than a third of the hold time.
fn patience(hold: Duration) -> Duration {
    if hold.is_zero() {
        COLLISION_WAIT
    } else {
        COLLISION_WAIT.min(hold / 3)
    }
}
