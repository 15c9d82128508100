//! A neighbour: when to connect, which of two connections stays, what is said and what is heard.
//!
//! The caller owns sockets and the clock. It tells [`Event`]s, carries out what [`Neighbor::poll`] wants until it wants nothing
//! more, and calls [`Neighbor::tick`] at [`Neighbor::timeout`].
//!
//! ```text
//!        start              failed               RETRY, doubling
//! Idle ─────────► Connect ─────────► Active ───────────────────► Connect
//!   ▲                │ connected        │ accepted
//!   │                └───────► Session ◄┘
//!   └── too many prefixes: for OVERFLOW_WAIT
//! ```

mod collision;
mod standing;
mod telling;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::announcement::{Offer, ServicePrefix};
use super::learned::Learned;
use super::limits::{OVERFLOW_WAIT, RETRY_LEAST, RETRY_MOST};
use super::packet::attributes::Handling;
use super::packet::notification::{Notification, Reason};
use super::packet::update::Update;
use super::packet::{self, Kind, Message};
use super::prefix::Family;
use super::session::{Opener, Session, Stage, State};

pub use words::{Action, ConnectionId, Counters, Ending, Event, Role, Settings};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dial {
    /// Until then, or for ever, nothing goes on.
    Idle(Option<Instant>),
    /// The neighbour may connect; nothing is tried before then, if ever.
    Waiting(Option<Instant>),
    Connecting,
}

/// The machine.
#[derive(Debug)]
pub struct Neighbor {
    settings: Settings,
    role: Role,
    dial: Dial,
    /// At most one by each opener.
    sessions: Vec<Session>,
    actions: VecDeque<Action>,
    /// What an established session was told.
    told: BTreeMap<ServicePrefix, Offer>,
    retry: Duration,
    random: u64,
    counters: Counters,
    established_at: Option<Instant>,
    ending: Option<(Instant, Ending)>,
}

/// A KEEPALIVE that is later than this is counted.
const LATE: Duration = Duration::from_secs(1);

impl Neighbor {
    /// Begins at once.
    #[must_use]
    pub fn new(now: Instant, settings: Settings, role: Role) -> Self {
        let mut neighbor = Self {
            random: settings.seed | 1,
            settings,
            role,
            dial: Dial::Waiting(None),
            sessions: Vec::new(),
            actions: VecDeque::new(),
            told: BTreeMap::new(),
            retry: RETRY_LEAST,
            counters: Counters::default(),
            established_at: None,
            ending: None,
        };
        if !neighbor.settings.is_passive {
            neighbor.dial = Dial::Waiting(Some(now));
            neighbor.tick(now);
        }
        neighbor
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn timeout(&self) -> Option<Instant> {
        let dial = match self.dial {
            Dial::Idle(until) => until,
            Dial::Waiting(until) => until.filter(|_| self.has_heard_nobody()),
            Dial::Connecting => None,
        };
        let sessions = self.sessions.iter();
        let timers = sessions.flat_map(|session| [session.hold_at, session.keepalive_at]);
        let learned = self.learned().and_then(Learned::timeout);
        timers.chain([dial, learned]).flatten().min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        match self.dial {
            Dial::Waiting(Some(until)) if until <= now && self.has_heard_nobody() => {
                self.dial = Dial::Connecting;
                self.actions.push_back(Action::Connect);
            }
            Dial::Idle(Some(until)) if until <= now => self.wait(now, Duration::ZERO),
            Dial::Idle(_) | Dial::Waiting(_) | Dial::Connecting => {}
        }
        let connections: Vec<_> = self.sessions.iter().map(|it| it.connection).collect();
        for connection in connections {
            self.tick_session(now, connection);
        }
        self.take_up_who_waits(now);
        if let Role::Listen(learned) = &mut self.role {
            learned.expire(now);
        }
    }

    fn tick_session(&mut self, now: Instant, connection: ConnectionId) {
        let Some(session) = self.session(connection) else {
            return;
        };
        if session.hold_at.is_some_and(|at| at <= now) {
            if session.is_kept_waiting() {
                return self.refuse_others(now, connection);
            }
            return self.refuse(now, connection, Reason::HOLD_TIMER_EXPIRED.into());
        }
        if let Some(due) = session.keepalive_at.filter(|at| *at <= now) {
            self.counters.late_keepalives += u64::from(now.duration_since(due) > LATE);
            self.keep_alive(now, connection);
        }
    }

    /// Sends a KEEPALIVE, and sets the time for the next one: a third of the hold time, less up to a quarter of it.
    fn keep_alive(&mut self, now: Instant, connection: ConnectionId) {
        self.send(connection, Kind::Keepalive, packet::keepalive());
        let hold = self
            .session(connection)
            .and_then(|it| Some(it.agreed()?.hold));
        let interval = self.jittered(hold.unwrap_or_default() / 3);
        if let Some(session) = self.session(connection) {
            session.keepalive_at = (!interval.is_zero()).then(|| now + interval);
        }
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Connected { connection, local } => {
                if self.dial == Dial::Connecting {
                    self.dial = Dial::Waiting(None);
                    self.begin(now, connection, Opener::Us, local);
                } else {
                    self.actions.push_back(Action::Close { connection });
                }
            }
            Event::ConnectFailed { why } => {
                if self.dial == Dial::Connecting {
                    self.note(now, Ending::Connection(why));
                    self.wait_longer(now);
                }
            }
            Event::Accepted { connection, local } => self.accept(now, connection, local),
            Event::Received { connection, bytes } => self.received(now, connection, bytes),
            Event::Closed { connection, why } => {
                self.end(now, connection, Ending::Connection(why));
            }
        }
        self.take_up_who_waits(now);
    }

    fn begin(&mut self, now: Instant, connection: ConnectionId, opener: Opener, local: IpAddr) {
        let offered = match self.role {
            Role::Listen(_) => Family::ALL.to_vec(),
            // Our own end is the next hop.
            Role::Announce(_) => vec![Family::of(local)],
        };
        let session = Session::new(now, connection, opener, local, offered);
        let open = session.open(&self.settings).encode();
        self.sessions.push(session);
        self.send(connection, Kind::Open, open);
    }

    fn received(&mut self, now: Instant, connection: ConnectionId, bytes: &[u8]) {
        if let Some(session) = self.session(connection) {
            session.take_in(bytes);
        }
        // Ends with the session, or with the last whole message of `bytes`.
        while let Some(at) = self
            .sessions
            .iter()
            .position(|it| it.connection == connection)
        {
            match self.sessions[at].next(&self.settings) {
                Ok(Some(message)) => self.hear(now, connection, message),
                Ok(None) => return,
                Err(notification) => return self.refuse(now, connection, notification),
            }
        }
    }

    /// One message (RFC 4271 section 8.2.2).
    fn hear(&mut self, now: Instant, connection: ConnectionId, message: Message) {
        self.counters.received[message.kind().index()] += 1;
        let Some(session) = self.session(connection) else {
            return;
        };
        match (session.state(), message) {
            (_, Message::Notification(notification)) => {
                self.actions.push_back(Action::Close { connection });
                self.end(now, connection, Ending::Received(notification));
            }
            (State::OpenSent, Message::Open(open)) => self.opened(now, connection, &open),
            (State::OpenConfirm, Message::Keepalive) => self.establish(now, connection),
            (State::Established, Message::Keepalive) => session.hear(now),
            (State::Established, Message::Update(update)) => {
                session.hear(now);
                self.update(now, connection, update);
            }
            (State::Established, Message::RouteRefresh(family)) => {
                self.tell_again(connection, family);
            }
            (State::OpenSent, _) => {
                self.refuse(now, connection, Reason::UNEXPECTED_IN_OPEN_SENT.into());
            }
            (State::OpenConfirm, _) => {
                self.refuse(now, connection, Reason::UNEXPECTED_IN_OPEN_CONFIRM.into());
            }
            (_, _) => self.refuse(now, connection, Reason::UNEXPECTED_IN_ESTABLISHED.into()),
        }
    }

    fn establish(&mut self, now: Instant, connection: ConnectionId) {
        if let Some(session) = self.session(connection)
            && let Stage::OpenConfirm(agreed) = session.stage.clone()
        {
            session.stage = Stage::Established(agreed);
            session.hear(now);
        }
        self.counters.established += 1;
        self.established_at = Some(now);
        self.retry = RETRY_LEAST;
        // One that was still without an OPEN has come too late.
        self.refuse_others(now, connection);
        if let Role::Listen(learned) = &mut self.role {
            learned.session_up(now);
        }
        self.tell_all(connection);
    }

    fn update(&mut self, now: Instant, connection: ConnectionId, mut update: Update) {
        match update.mistake {
            Some((Handling::Discarded, _)) => self.counters.discarded += 1,
            Some((Handling::Withdrawn, _)) => self.counters.withdrawn += 1,
            None => {}
        }
        let families = self
            .agreed()
            .map_or(Vec::new(), |agreed| agreed.families.clone());
        update
            .announced
            .retain(|it| families.contains(&it.family()));
        let Role::Listen(learned) = &mut self.role else {
            // RFC 8212: there is no policy by which it could be taken.
            return;
        };
        let maximum = learned.maximum();
        if let Err(too_many) = learned.apply(now, update) {
            // A neighbour that tells more than it should tells wrong things: none of them is kept.
            learned.clear();
            let data = too_many.family.limit(maximum);
            self.refuse(
                now,
                connection,
                Notification::with(Reason::TOO_MANY_PREFIXES, data),
            );
            self.dial = Dial::Idle(Some(now + OVERFLOW_WAIT));
        }
    }

    /// Ends everything, for good. `reason` is told to the neighbour.
    pub fn stop(&mut self, now: Instant, reason: Reason) {
        let connections: Vec<_> = self.sessions.iter().map(|it| it.connection).collect();
        for connection in connections {
            self.refuse(now, connection, reason.into());
        }
        self.dial = Dial::Idle(None);
    }

    /// Sends a NOTIFICATION, and ends the connection.
    fn refuse(&mut self, now: Instant, connection: ConnectionId, notification: Notification) {
        self.send(connection, Kind::Notification, notification.encode());
        self.actions.push_back(Action::Close { connection });
        self.end(now, connection, Ending::Sent(notification));
    }

    fn end(&mut self, now: Instant, connection: ConnectionId, ending: Ending) {
        let Some(at) = self
            .sessions
            .iter()
            .position(|it| it.connection == connection)
        else {
            return;
        };
        let session = self.sessions.remove(at);
        if session.established().is_some() {
            self.established_at = None;
            self.told.clear();
            if let Role::Listen(learned) = &mut self.role {
                learned.session_down(now);
            }
        }
        // That one of two connections has to go is no trouble.
        if self.sessions.is_empty() {
            self.note(now, ending);
        }
        if self.has_heard_nobody() && matches!(self.dial, Dial::Waiting(_)) {
            self.wait_longer(now);
        }
    }

    fn wait_longer(&mut self, now: Instant) {
        let wait = self.jittered(self.retry);
        self.retry = (self.retry * 2).min(RETRY_MOST);
        self.wait(now, wait);
    }

    fn wait(&mut self, now: Instant, wait: Duration) {
        let until = (!self.settings.is_passive).then(|| now + wait);
        self.dial = Dial::Waiting(until);
    }

    fn note(&mut self, now: Instant, ending: Ending) {
        self.ending = Some((now, ending));
    }

    fn send(&mut self, connection: ConnectionId, kind: Kind, bytes: Vec<u8>) {
        self.counters.sent[kind.index()] += 1;
        self.actions.push_back(Action::Send { connection, bytes });
    }

    fn session(&mut self, connection: ConnectionId) -> Option<&mut Session> {
        self.sessions
            .iter_mut()
            .find(|it| it.connection == connection)
    }

    /// Three quarters of `whole` to all of it (RFC 4271 section 10). Xorshift: nobody is to be kept from guessing it.
    fn jittered(&mut self, whole: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        whole * 3 / 4 + whole / 4 * (self.random % 256) as u32 / 255
    }
}
