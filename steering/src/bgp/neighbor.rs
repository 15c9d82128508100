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

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::announcement::{self, Offer, ServicePrefix, Wire};
use super::learned::{Import, Learned};
use super::limits::{OVERFLOW_WAIT, RETRY_LEAST, RETRY_MOST};
use super::packet::attributes::Handling;
use super::packet::notification::{Notification, Reason};
use super::packet::open::Open;
use super::packet::update::Update;
use super::packet::{self, Kind, Message};
use super::prefix::Family;
use super::session::{Agreed, Opener, Session, Stage, State};

/// A connection, as the caller numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What both sides must know of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Our AS.
    pub local_as: u32,
    /// The neighbour's AS.
    pub remote_as: u32,
    /// Our BGP identifier.
    pub identifier: Ipv4Addr,
    /// The hold time that is offered: none, or 3 s and more.
    pub hold_time: Duration,
    /// Only wait for the neighbour to connect.
    pub is_passive: bool,
    /// Any number, another one for each neighbour: spreads timers.
    pub seed: u64,
}

impl Settings {
    /// Whether the neighbour is of our own AS.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.local_as == self.remote_as
    }
}

/// What a neighbour is for.
#[derive(Debug)]
pub enum Role {
    /// Its routes are learned, and it is told nothing.
    Listen(Box<Learned>),
    /// It is told these, and nothing is learned from it.
    Announce(BTreeMap<ServicePrefix, Offer>),
}

impl Role {
    /// To learn what `import` lets in.
    #[must_use]
    pub fn listen(import: Import) -> Self {
        Self::Listen(Box::new(Learned::new(import)))
    }
}

/// What happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'b> {
    /// The one that [`Action::Connect`] asked for is open.
    Connected {
        /// Its number from now on.
        connection: ConnectionId,
        /// Our end.
        local: IpAddr,
    },
    /// It could not be opened.
    ConnectFailed {
        /// What the system said.
        why: String,
    },
    /// The neighbour has opened one.
    Accepted {
        /// Its number from now on.
        connection: ConnectionId,
        /// Our end.
        local: IpAddr,
    },
    /// Bytes came.
    Received {
        /// Over which.
        connection: ConnectionId,
        /// In the order in which they were sent.
        bytes: &'b [u8],
    },
    /// It is gone.
    Closed {
        /// Which.
        connection: ConnectionId,
        /// What the system said.
        why: String,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a connection to the neighbour; within a time that the caller bounds.
    Connect,
    /// Send bytes.
    Send {
        /// Over which.
        connection: ConnectionId,
        /// Whole messages.
        bytes: Vec<u8>,
    },
    /// Close it when what was to be sent is sent. It is not heard of again.
    Close {
        /// Which.
        connection: ConnectionId,
    },
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages by [`Kind::index`].
    pub received: [u64; 5],
    /// Messages by [`Kind::index`].
    pub sent: [u64; 5],
    /// Sessions that were established.
    pub established: u64,
    /// UPDATEs with a mistake that cost only an attribute (RFC 7606).
    pub discarded: u64,
    /// UPDATEs with a mistake that cost their routes (RFC 7606).
    pub withdrawn: u64,
    /// KEEPALIVEs that left more than a second late.
    pub late_keepalives: u64,
}

/// How the last session, or attempt at one, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// This box said so.
    Sent(Notification),
    /// The neighbour said so.
    Received(Notification),
    /// The system said so.
    Connection(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(notification) => write!(f, "sent {notification}"),
            Self::Received(notification) => write!(f, "received {notification}"),
            Self::Connection(why) => f.write_str(why),
        }
    }
}

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
            Dial::Waiting(until) => until.filter(|_| self.sessions.is_empty()),
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
            Dial::Waiting(Some(until)) if until <= now && self.sessions.is_empty() => {
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
        if let Role::Listen(learned) = &mut self.role {
            learned.expire(now);
        }
    }

    fn tick_session(&mut self, now: Instant, connection: ConnectionId) {
        let Some(session) = self.session(connection) else {
            return;
        };
        if session.hold_at.is_some_and(|at| at <= now) {
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
    }

    /// A connection of the neighbour's takes the place of its last one, and of one with a neighbour that restarts gracefully. Once
    /// its OPEN has come over another one, it is refused before ours is sent: so both sides always agree on which one stays.
    fn accept(&mut self, now: Instant, connection: ConnectionId, local: IpAddr) {
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

    fn opened(&mut self, now: Instant, connection: ConnectionId, open: &Open) {
        let settings = self.settings.clone();
        let Some(session) = self.session(connection) else {
            return;
        };
        let agreed = match session.agree(open, &settings) {
            Ok(agreed) => agreed,
            Err(notification) => return self.refuse(now, connection, notification),
        };
        if let Some(loser) = self.collision(connection, open) {
            self.refuse(now, loser, Reason::COLLISION.into());
        }
        // It may have been the loser itself.
        let Some(session) = self.session(connection) else {
            return;
        };
        session.stage = Stage::OpenConfirm(agreed);
        session.hear(now);
        self.keep_alive(now, connection);
    }

    /// Which of two connections has to go, now that an OPEN has come over `connection` (RFC 4271 section 6.8, RFC 6286): whoever
    /// has the higher identifier keeps the one that he opened. That the other one has had no OPEN yet makes no difference: it
    /// is known whose it is.
    fn collision(&self, connection: ConnectionId, open: &Open) -> Option<ConnectionId> {
        let mut sessions = self.sessions.iter();
        let other = sessions.find(|it| it.connection != connection)?;
        let ours = (self.settings.identifier, self.settings.local_as);
        let stays = if ours > (open.identifier, open.autonomous_system) {
            Opener::Us
        } else {
            Opener::Them
        };
        let is_lost = other.state() == State::Established || other.opener == stays;
        Some(if is_lost {
            connection
        } else {
            other.connection
        })
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
        let others = self.sessions.iter().map(|it| it.connection);
        let others: Vec<_> = others.filter(|it| *it != connection).collect();
        for other in others {
            self.refuse(now, other, Reason::COLLISION.into());
        }
        match &mut self.role {
            Role::Listen(learned) => learned.session_up(now),
            Role::Announce(_) => self.tell_all(connection),
        }
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

    /// What the neighbour is to be told; only what has changed is.
    pub fn announce(&mut self, wanted: &BTreeMap<ServicePrefix, Offer>) {
        if let Role::Announce(offers) = &mut self.role {
            offers.clone_from(wanted);
        }
        let session = self.sessions.iter().find(|it| it.established().is_some());
        if let Some(connection) = session.map(|it| it.connection) {
            self.tell(connection);
        }
    }

    /// All offers, and that these were all.
    fn tell_all(&mut self, connection: ConnectionId) {
        self.told.clear();
        self.tell(connection);
        for family in self
            .agreed()
            .map_or(Vec::new(), |agreed| agreed.families.clone())
        {
            self.send(connection, Kind::Update, announcement::end_of_rib(family));
        }
    }

    /// ROUTE-REFRESH (RFC 2918).
    fn tell_again(&mut self, connection: ConnectionId, family: Option<Family>) {
        self.told
            .retain(|prefix, _| Some(prefix.family()) != family);
        self.tell(connection);
    }

    /// The difference between what is wanted and what was told.
    fn tell(&mut self, connection: ConnectionId) {
        let Role::Announce(offers) = &self.role else {
            return;
        };
        let Some(wire) = self.wire() else {
            return;
        };
        let family = Family::of(wire.next_hop);
        let wanted = offers
            .iter()
            .filter(|(prefix, _)| prefix.family() == family);
        let wanted: BTreeMap<_, _> = wanted.map(|(prefix, offer)| (*prefix, *offer)).collect();
        let gone = self
            .told
            .keys()
            .filter(|prefix| !wanted.contains_key(prefix));
        let gone: Vec<_> = gone.copied().collect();
        if !gone.is_empty() {
            self.send(
                connection,
                Kind::Update,
                announcement::withdraw(family, &gone),
            );
        }
        for offer in Offer::ALL {
            let new = wanted
                .iter()
                .filter(|(prefix, of)| **of == offer && self.told.get(prefix) != Some(&offer));
            let new: Vec<_> = new.map(|(prefix, _)| *prefix).collect();
            if !new.is_empty() {
                let bytes = announcement::announce(&wire, offer, &new);
                self.send(connection, Kind::Update, bytes);
            }
        }
        self.told = wanted;
    }

    fn wire(&self) -> Option<Wire> {
        let mut established = self.sessions.iter().filter(|it| it.established().is_some());
        let session = established.next()?;
        Some(Wire {
            local_as: self.settings.local_as,
            internal: self.settings.is_internal(),
            four_octet_as: session.agreed()?.encoding.four_octet_as,
            next_hop: session.local,
        })
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
            if matches!(self.dial, Dial::Waiting(_)) {
                self.wait_longer(now);
            }
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

    /// How far it is with the neighbour.
    #[must_use]
    pub fn state(&self) -> State {
        let sessions = self.sessions.iter().map(Session::state);
        sessions.max().unwrap_or(match self.dial {
            Dial::Idle(_) => State::Idle,
            Dial::Waiting(_) => State::Active,
            Dial::Connecting => State::Connect,
        })
    }

    /// What an established session agreed on.
    #[must_use]
    pub fn agreed(&self) -> Option<&Agreed> {
        self.sessions.iter().find_map(Session::established)
    }

    /// Our end of an established session.
    #[must_use]
    pub fn local(&self) -> Option<IpAddr> {
        self.wire().map(|wire| wire.next_hop)
    }

    /// Since when the session is established.
    #[must_use]
    pub fn established_at(&self) -> Option<Instant> {
        self.established_at
    }

    /// How and when the last session, or attempt, ended.
    #[must_use]
    pub fn ending(&self) -> Option<&(Instant, Ending)> {
        self.ending.as_ref()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What was learned, if it is listened to.
    #[must_use]
    pub fn learned(&self) -> Option<&Learned> {
        match &self.role {
            Role::Listen(learned) => Some(learned),
            Role::Announce(_) => None,
        }
    }

    /// What it was told in this session.
    #[must_use]
    pub fn told(&self) -> &BTreeMap<ServicePrefix, Offer> {
        &self.told
    }
}
