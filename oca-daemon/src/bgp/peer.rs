//! A configured router: its machine, and the connections with it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use platform::guard;
use protocol::config::{self, NeighborRole};
use steering::bgp::announcement::{Offer, ServicePrefix};
use steering::bgp::learned::Import;
use steering::bgp::packet::notification::Reason;
use steering::bgp::{Action, ConnectionId, Event, Neighbor, Prefix, Role, Settings};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::connection::{self, Heard, Open, Route};

/// A router as it is configured, with what was read from files.
#[derive(Debug)]
pub(super) struct Configured {
    /// Its section.
    pub(super) neighbor: config::Neighbor,
    /// The password of TCP-MD5.
    pub(super) key: Option<Vec<u8>>,
}

/// A router.
pub(super) struct Peer {
    /// Its place in the configuration.
    number: usize,
    pub(super) configured: config::Neighbor,
    pub(super) machine: Neighbor,
    route: Route,
    outboxes: HashMap<ConnectionId, mpsc::Sender<Vec<u8>>>,
    open: Open,
    connections: u64,
}

impl Peer {
    pub(super) fn new(
        now: Instant,
        number: usize,
        configured: Configured,
        identifier: Ipv4Addr,
        stale_time: Duration,
    ) -> Self {
        let Configured { neighbor, key } = configured;
        let settings = Settings {
            local_as: neighbor.local_as,
            remote_as: neighbor.remote_as,
            identifier,
            hold_time: neighbor.hold_time.duration(),
            is_passive: neighbor.passive,
            seed: rand::random(),
        };
        let role = match neighbor.role {
            NeighborRole::Announce => Role::Announce(BTreeMap::new()),
            NeighborRole::Listen => Role::listen(Import {
                accept: neighbor.accept.iter().filter_map(of_protocol).collect(),
                local_as: neighbor.local_as,
                maximum: neighbor.maximum_prefix,
                stale_time,
            }),
        };
        Self {
            number,
            machine: Neighbor::new(now, settings, role),
            route: Route {
                remote: SocketAddr::new(neighbor.address, neighbor.port),
                local: neighbor.local_address,
                is_direct: neighbor.ttl_security,
                key,
            },
            configured: neighbor,
            outboxes: HashMap::new(),
            open: Open::default(),
            connections: 0,
        }
    }

    pub(super) fn address(&self) -> IpAddr {
        self.configured.address
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.machine.timeout()
    }

    pub(super) fn tick(&mut self, now: Instant, heard: &mpsc::Sender<Heard>) {
        if self.machine.timeout().is_some_and(|at| at <= now) {
            self.machine.tick(now);
        }
        self.act(now, heard);
    }

    pub(super) fn announce(
        &mut self,
        now: Instant,
        offers: &BTreeMap<ServicePrefix, Offer>,
        heard: &mpsc::Sender<Heard>,
    ) {
        self.machine.announce(offers);
        self.act(now, heard);
    }

    pub(super) fn tell(&mut self, now: Instant, event: Event<'_>, heard: &mpsc::Sender<Heard>) {
        self.machine.handle(now, event);
        self.act(now, heard);
    }

    pub(super) fn connected(
        &mut self,
        now: Instant,
        connected: io::Result<TcpStream>,
        heard: &mpsc::Sender<Heard>,
    ) {
        let opened = connected.and_then(|stream| Ok((stream.local_addr()?.ip(), stream)));
        match opened {
            Ok((local, stream)) => {
                let connection = self.begin(stream, heard);
                let local = local.to_canonical();
                self.tell(now, Event::Connected { connection, local }, heard);
            }
            Err(error) => {
                let why = format!("cannot connect: {error}");
                self.tell(now, Event::ConnectFailed { why }, heard);
            }
        }
    }

    /// Its guards are set before it is heard; that of TCP-MD5 was the listener's.
    pub(super) fn accepted(
        &mut self,
        now: Instant,
        stream: TcpStream,
        heard: &mpsc::Sender<Heard>,
    ) {
        let guarded = || {
            let local = stream.local_addr()?.ip();
            if self.route.is_direct {
                guard::only_direct(stream.as_fd(), local)?;
            }
            Ok::<_, io::Error>(local.to_canonical())
        };
        match guarded() {
            Ok(local) => {
                let connection = self.begin(stream, heard);
                self.tell(now, Event::Accepted { connection, local }, heard);
            }
            Err(error) => {
                let address = self.address();
                tracing::warn!(%address, %error, "a connection of a BGP neighbour was refused");
            }
        }
    }

    fn begin(&mut self, stream: TcpStream, heard: &mpsc::Sender<Heard>) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let outbox = connection::converse(
            self.number,
            connection,
            stream,
            heard.clone(),
            Open::clone(&self.open),
        );
        self.outboxes.insert(connection, outbox);
        connection
    }

    pub(super) fn closed(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        why: String,
        heard: &mpsc::Sender<Heard>,
    ) {
        self.outboxes.remove(&connection);
        self.tell(now, Event::Closed { connection, why }, heard);
    }

    pub(super) fn stop(&mut self, now: Instant, reason: Reason, heard: &mpsc::Sender<Heard>) {
        self.machine.stop(now, reason);
        self.act(now, heard);
    }

    /// Whether a connection is not closed yet.
    pub(super) fn is_speaking(&self) -> bool {
        Open::strong_count(&self.open) > 1
    }

    /// Carries out what the machine wants, and says what became of the session.
    fn act(&mut self, now: Instant, heard: &mpsc::Sender<Heard>) {
        while let Some(action) = self.machine.poll() {
            match action {
                Action::Connect => {
                    connection::connect(self.number, self.route.clone(), heard.clone());
                }
                Action::Send { connection, bytes } => self.send(now, connection, bytes),
                Action::Close { connection } => drop(self.outboxes.remove(&connection)),
            }
        }
    }

    /// A router that does not read fills its queue, and is let go.
    fn send(&mut self, now: Instant, connection: ConnectionId, bytes: Vec<u8>) {
        let Some(outbox) = self.outboxes.get(&connection) else {
            return;
        };
        if outbox.try_send(bytes).is_err() {
            self.outboxes.remove(&connection);
            let why = "the neighbour does not read".to_owned();
            self.machine.handle(now, Event::Closed { connection, why });
        }
    }
}

/// Two crates that do not know each other have a type each.
pub(super) fn of_protocol(prefix: &config::Prefix) -> Option<Prefix> {
    Prefix::of(prefix.address(), prefix.length())
}
