//! Two neighbours with a network between them that is a queue, and a clock that is a number.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use steering::bgp::announcement::{Offer, ServicePrefix};
use steering::bgp::learned::Import;
use steering::bgp::{Action, ConnectionId, Event, Neighbor, Role, Settings, State};

pub(crate) const OURS: &str = "192.0.2.2";
pub(crate) const THEIRS: &str = "192.0.2.1";

pub(crate) fn settings(local_as: u32, remote_as: u32, identifier: &str) -> Settings {
    Settings {
        local_as,
        remote_as,
        identifier: identifier.parse().unwrap(),
        hold_time: Duration::from_secs(30),
        is_passive: false,
        seed: u64::from(local_as),
    }
}

pub(crate) fn import(local_as: u32) -> Import {
    Import {
        accept: Vec::new(),
        local_as,
        maximum: 100,
        stale_time: Duration::from_secs(3600),
    }
}

pub(crate) fn offers(of: &[(&str, Offer)]) -> BTreeMap<ServicePrefix, Offer> {
    let prefix = |text: &str| ServicePrefix::of(text.parse().unwrap()).unwrap();
    of.iter()
        .map(|(text, offer)| (prefix(text), *offer))
        .collect()
}

/// What a side sent, before it is carried over.
type Sent = (ConnectionId, Option<Vec<u8>>);

/// One side: the neighbour, as this side sees the other.
pub(crate) struct Side {
    pub(crate) neighbor: Neighbor,
    pub(crate) address: IpAddr,
    outgoing: VecDeque<Sent>,
    pub(crate) bytes_sent: Vec<u8>,
}

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) sides: [Side; 2],
    connections: u64,
    /// Attempts of each side to connect succeed.
    pub(crate) reachable: [bool; 2],
    /// Bytes get through.
    pub(crate) carries: bool,
}

impl Pair {
    pub(crate) fn new(ours: (Settings, Role), theirs: (Settings, Role)) -> Self {
        let now = Instant::now();
        let side = |(settings, role), address: &str| Side {
            neighbor: Neighbor::new(now, settings, role),
            address: address.parse().unwrap(),
            outgoing: VecDeque::new(),
            bytes_sent: Vec::new(),
        };
        Self {
            now,
            sides: [side(ours, OURS), side(theirs, THEIRS)],
            connections: 0,
            reachable: [true; 2],
            carries: true,
        }
    }

    /// Announces to a listener.
    pub(crate) fn announcing(of: &[(&str, Offer)]) -> Self {
        Self::new(
            (settings(64512, 64496, OURS), Role::Announce(offers(of))),
            (settings(64496, 64512, THEIRS), Role::listen(import(64496))),
        )
    }

    pub(crate) fn states(&self) -> [State; 2] {
        [
            self.sides[0].neighbor.state(),
            self.sides[1].neighbor.state(),
        ]
    }

    /// Lets `length` pass, with everything that is due at its time.
    pub(crate) fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        self.settle();
        loop {
            let due = self
                .sides
                .iter()
                .filter_map(|side| side.neighbor.timeout())
                .min();
            let Some(due) = due.filter(|due| *due <= end) else {
                break;
            };
            self.now = due.max(self.now);
            for side in &mut self.sides {
                side.neighbor.tick(self.now);
            }
            self.settle();
        }
        self.now = end;
    }

    /// As [`Self::settle`], one wish or one delivery at a time, in an order that `choose` picks: what a network may do to two
    /// connections.
    pub(crate) fn settle_in_any_order(&mut self, mut choose: impl FnMut(usize) -> usize) {
        let mut idle = 0;
        while idle < 200 {
            idle += 1;
            let at = choose(2);
            if choose(2) == 0 {
                if let Some(action) = self.sides[at].neighbor.poll() {
                    idle = 0;
                    self.carry_out(at, action);
                }
                continue;
            }
            // The order holds within a connection.
            let waiting = &self.sides[at].outgoing;
            let mut connections: Vec<_> = waiting.iter().map(|sent| sent.0).collect();
            connections.sort_unstable();
            connections.dedup();
            if connections.is_empty() {
                continue;
            }
            let chosen = connections[choose(connections.len())];
            let waiting = &mut self.sides[at].outgoing;
            let first = waiting.iter().position(|sent| sent.0 == chosen);
            if let Some((connection, bytes)) = first.and_then(|first| waiting.remove(first)) {
                idle = 0;
                self.deliver(1 - at, connection, bytes);
            }
        }
        self.settle();
    }

    /// Carries out all wishes, and what follows from them.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for at in [0, 1] {
                while let Some(action) = self.sides[at].neighbor.poll() {
                    quiet = false;
                    self.carry_out(at, action);
                }
                while let Some((connection, bytes)) = self.sides[at].outgoing.pop_front() {
                    quiet = false;
                    self.deliver(1 - at, connection, bytes);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn carry_out(&mut self, at: usize, action: Action) {
        match action {
            Action::Connect => self.connect(at),
            Action::Send { connection, bytes } => {
                self.sides[at].bytes_sent.extend(&bytes);
                self.sides[at].outgoing.push_back((connection, Some(bytes)));
            }
            Action::Close { connection } => {
                self.sides[at].outgoing.push_back((connection, None));
            }
        }
    }

    fn connect(&mut self, at: usize) {
        if !self.reachable[at] {
            let why = "connection refused".to_owned();
            return self.tell(at, Event::ConnectFailed { why });
        }
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let (local, remote) = (self.sides[at].address, self.sides[1 - at].address);
        self.tell(at, Event::Connected { connection, local });
        self.tell(
            1 - at,
            Event::Accepted {
                connection,
                local: remote,
            },
        );
    }

    fn deliver(&mut self, at: usize, connection: ConnectionId, bytes: Option<Vec<u8>>) {
        match bytes {
            _ if !self.carries => {}
            // In pieces that do not fit messages.
            Some(bytes) => bytes.chunks(7).for_each(|bytes| {
                self.tell(at, Event::Received { connection, bytes });
            }),
            None => {
                let why = "closed by the neighbour".to_owned();
                self.tell(at, Event::Closed { connection, why });
            }
        }
    }

    pub(crate) fn tell(&mut self, at: usize, event: Event<'_>) {
        self.sides[at].neighbor.handle(self.now, event);
    }

    /// One side is killed and starts anew; its system closes its connections.
    pub(crate) fn replace(&mut self, at: usize, settings: Settings, role: Role) {
        self.settle();
        self.reset(1 - at, 1..=self.connections);
        self.power_cycle(at, (settings, role));
    }

    /// One side loses its power and starts anew. Nobody tells the other side, which keeps its connections.
    pub(crate) fn power_cycle(&mut self, at: usize, (settings, role): (Settings, Role)) {
        self.sides[at].outgoing.clear();
        self.sides[1 - at].outgoing.clear();
        self.sides[at].neighbor = Neighbor::new(self.now, settings, role);
    }

    /// One side hears that these connections are gone.
    pub(crate) fn reset(&mut self, at: usize, connections: RangeInclusive<u64>) {
        for connection in connections.map(ConnectionId) {
            let why = "connection reset".to_owned();
            self.tell(at, Event::Closed { connection, why });
        }
    }

    /// What the second side has learned, each with its MED.
    pub(crate) fn learned(&self) -> Vec<String> {
        let learned = self.sides[1].neighbor.learned().unwrap();
        let routes = learned.routes_after(None).map(|(prefix, route)| {
            let stale = if learned.is_stale(route) {
                " stale"
            } else {
                ""
            };
            format!("{prefix} {}{stale}", route.attributes.med.unwrap_or(0))
        });
        routes.collect()
    }

    pub(crate) fn ending(&self, at: usize) -> String {
        let ending = self.sides[at].neighbor.ending();
        ending.map_or(String::new(), |(_, ending)| ending.to_string())
    }
}
