//! The loop of one core. It owns its listening sockets, its reactor, its connections, its timers and its counters, and
//! carries out what the connections ask for. It takes no lock, allocates nothing per request, and never touches a disk.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use content_store::Index;
use platform::allocation::allocations_on_this_thread;
use platform::device::Mailbox;
use platform::reactor::{Backend, Event, ListenerId, Reactor, ReactorLimits, ReceiveBuffer, Token};
use platform::timer::TimerWheel;
use protocol::config::Config;

use crate::access_log::{AccessLog, End, Records};
use crate::addresses::{Addresses, Stay};
use crate::connection::{Connection, Context, Ending, Late, Patience};
use crate::counters::WorkerCounters;
use crate::limits::{
    CONNECTIONS_SPARE, HEAD_BYTES, HOLDERS_EVERY, READS_PER_WORKER, RECEIVE_BUFFER_BYTES,
    RECEIVE_BUFFERS, RECHECK, SPARE_BUFFERS,
};
use crate::listener::ViewerSocket;
use crate::multipart::Shelf;
use crate::pacing::Pacing;
use crate::response::{DateText, Head};
use crate::shared::{Service, Shared};
use crate::tls::handshake::Reason;
use crate::tls::records::BODY_BYTES;
use crate::tls::session::Plain;

mod accept;
mod drive;
mod handshakes;
mod kernel;
mod reads;
mod relieve;
mod sealing;
mod secure;
mod transmit;

use accept::Closed;
use handshakes::Handshakes;
use reads::ReadTable;
use relieve::Relieved;
use sealing::Sealing;
use secure::{Heard, Opening, Secure};

/// What a worker is made of.
pub struct Setup {
    /// Which of the workers it is.
    pub number: usize,
    /// The cores of this process, for what goes on beside the worker.
    pub cores: Vec<usize>,
    /// How the kernel is asked.
    pub backend: Backend,
    /// Connections that it may have open.
    pub connections: u32,
    /// How many each address has, over all workers.
    pub addresses: Arc<Addresses>,
    /// Its own listening sockets.
    pub listeners: Vec<ViewerSocket>,
    /// Sockets for its trial. If there are some, nobody is let in by the others before [`Shared::let_in`].
    pub trial: Vec<ViewerSocket>,
    /// Its own counters.
    pub counters: Arc<WorkerCounters>,
    /// What it shares.
    pub shared: Arc<Shared>,
}

/// One core's worker. Made and run on its own thread.
pub struct Worker {
    reactor: Reactor,
    mailbox: Arc<Mailbox>,
    connections: Box<[Option<Slot>]>,
    most_connections: u64,
    addresses: Arc<Addresses>,
    /// Connections without a place that are being told so.
    turned_away: usize,
    /// Connections that used up their quantum and have more to send.
    ready: VecDeque<Token>,
    /// Connections that hold a device buffer while their sockets are full.
    holders: Vec<Token>,
    look_at_holders: Instant,
    timers: TimerWheel<Token>,
    reads: ReadTable,
    spares: Vec<Vec<u8>>,
    /// Of each listener, by its id, whether its connections speak TLS.
    listeners: Vec<bool>,
    has_stopped_accepting: bool,
    closed: Closed,
    relieved: Relieved,
    handshakes: Handshakes,
    /// How long a handshake may take.
    handshake_patience: Duration,
    sealing: Sealing,
    plain: Box<Plain>,
    /// Listeners on which accepting failed.
    resting: Vec<ListenerId>,
    resume_at: Instant,
    thought: Thought,
}

struct Slot {
    token: Token,
    connection: Connection,
    /// Of a connection over TLS.
    secure: Option<Box<Secure>>,
    /// What it counts for at its address; nothing if it has no place.
    stay: Option<Stay>,
    /// Whether it is among the holders.
    is_holder: bool,
    /// How often its send buffer was full, until that may grow.
    full: Option<u32>,
}

/// What connections look at while they think.
struct Thought {
    worker: usize,
    now: Instant,
    date: DateText,
    closing: bool,
    parting: bool,
    head: Box<Head>,
    path: Box<[u8; HEAD_BYTES]>,
    shelf: Shelf,
    counters: Arc<WorkerCounters>,
    shared: Arc<Shared>,
    patience: Patience,
    pacing: Pacing,
}

impl Thought {
    fn context<'a>(&'a mut self, index: &'a Index) -> Context<'a> {
        Context {
            now: self.now,
            date: &self.date,
            index,
            devices: &self.shared.devices,
            counters: &self.counters,
            demand: self.shared.demand.as_ref(),
            fills: &self.shared.fills,
            log: records(self.shared.access_log.as_deref(), self.worker),
            pacing: self.pacing,
            closing: self.closing,
            parting: self.parting,
            patience: self.patience,
            head: &mut self.head,
            path: &mut self.path,
            shelf: &mut self.shelf,
        }
    }

    /// The worker's sign of life: it turns again until then, or works since then.
    fn note_due(&self, then: Instant) {
        let since_start = then.saturating_duration_since(self.shared.started);
        self.counters.due_ms.set(since_start.as_millis() as u64);
    }

    /// Notes the time once per turn; the date is rendered once per second.
    fn look_at_clock(&mut self) {
        self.now = Instant::now();
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if seconds != self.date.seconds() {
            self.date = DateText::new(seconds);
        }
    }
}

impl Worker {
    /// A worker that accepts on its listeners. Call it on the thread that will run it.
    ///
    /// # Errors
    /// What the kernel says of the reactor or of the listeners.
    pub fn new(setup: Setup) -> io::Result<Self> {
        let connections = setup.connections;
        let sockets = connections + CONNECTIONS_SPARE;
        let limits = ReactorLimits {
            connections: sockets,
            receive_buffers: RECEIVE_BUFFERS,
            receive_buffer_bytes: RECEIVE_BUFFER_BYTES,
        };
        let mut reactor = Reactor::new(setup.backend, &limits)?;
        let waker = reactor.waker();
        let handshakes = Handshakes::new(&setup, waker.clone())?;
        let Setup {
            number,
            addresses,
            listeners,
            trial,
            counters,
            shared,
            ..
        } = setup;
        shared.register_waker(waker.clone());
        let (is_tls, closed) = accept::listen(&mut reactor, trial, listeners)?;
        let now = Instant::now();
        Ok(Self {
            reactor,
            mailbox: Mailbox::new(READS_PER_WORKER as usize, Box::new(move || waker.wake())),
            connections: (0..sockets).map(|_| None).collect(),
            most_connections: u64::from(connections),
            addresses,
            turned_away: 0,
            ready: VecDeque::with_capacity(sockets as usize),
            holders: Vec::with_capacity(sockets as usize),
            look_at_holders: now,
            timers: TimerWheel::new(now, sockets as usize),
            reads: ReadTable::new(),
            spares: Vec::with_capacity(SPARE_BUFFERS),
            has_stopped_accepting: false,
            closed,
            relieved: Relieved::new(shared.workers.len()),
            handshakes,
            handshake_patience: handshake_patience(&shared.config.load()),
            sealing: Sealing::new(&is_tls),
            listeners: is_tls,
            plain: Box::new([0; BODY_BYTES]),
            resting: Vec::new(),
            resume_at: now,
            thought: Thought {
                worker: number,
                now,
                date: DateText::new(0),
                closing: false,
                parting: false,
                head: Box::default(),
                path: Box::new([0; HEAD_BYTES]),
                shelf: Shelf::new(RandomState::new()),
                counters,
                patience: Patience::of(&shared.config.load().serve),
                pacing: Pacing::of(shared.config.load().serve.pacing),
                shared,
            },
        })
    }

    /// Serves until the daemon stops and the last connection is gone, or `stop_bound` has passed. Returns the number of
    /// transfers that were cut.
    pub fn run(&mut self) -> io::Result<u64> {
        loop {
            self.turn()?;
            self.open_when_let_in()?;
            self.relieve();
            match self.thought.shared.service() {
                Service::Serving | Service::Draining | Service::Drained => {}
                Service::Cut => _ = self.cut_all(),
                Service::Parting { until } | Service::Stopping { until } => {
                    self.stop_accepting();
                    if self.is_deserted() || self.thought.now >= until {
                        return Ok(self.cut_all());
                    }
                }
            }
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        let timeout = match self.timers.next(self.thought.now) {
            _ if !self.ready.is_empty() => Duration::ZERO,
            next => next.unwrap_or(RECHECK).min(self.longest_wait()),
        };
        self.thought.note_due(self.thought.now + timeout);
        self.reactor.turn(Some(timeout))?;
        self.thought.look_at_clock();
        let began = self.thought.now;
        self.thought.note_due(began);
        self.note_turn();
        let shared = Arc::clone(&self.thought.shared);
        let index = shared.index.load();
        let service = shared.service();
        self.thought.closing = service.is_closing();
        self.thought.parting = service.is_parting();
        self.handle_events(&index);
        self.handle_reads(&index);
        self.handle_timers(&index);
        self.handle_holders(&index);
        self.run_ready(&index);
        self.run_handshakes(&index);
        self.resume_listeners();
        self.thought.counters.turn.record(began.elapsed());
        Ok(())
    }

    fn note_turn(&self) {
        let counters = &self.thought.counters;
        counters.turns.add(1);
        counters.tls.unsent.set(self.sealing.waiting());
        counters.allocations.set(allocations_on_this_thread());
    }

    fn handle_events(&mut self, index: &Index) {
        while let Some(event) = self.reactor.next_event() {
            match event {
                Event::Accepted { listener, token } => self.accepted(listener, token),
                Event::AcceptFailed { listener, error } => self.accept_failed(listener, &error),
                Event::Received { token, buffer } => self.received(token, buffer, index),
                Event::PeerClosed { token } => self.peer_closed(token, index),
                Event::ReceiveFailed { token, .. } => self.close(token),
                Event::Writable { token } => self.drive(token, index),
                Event::Wake => {}
            }
        }
    }

    fn received(&mut self, token: Token, buffer: ReceiveBuffer, index: &Index) {
        let Some(slot) = slot(&mut self.connections, token) else {
            self.reactor.release(buffer);
            return;
        };
        let was_answering = slot.connection.is_answering();
        let (plain, spares, thought) = (&mut self.plain, &mut self.spares, &mut self.thought);
        let mut opening = Opening {
            plain,
            spares,
            thought,
            index,
        };
        let heard = slot.hear(self.reactor.bytes(&buffer), &mut opening);
        self.reactor.release(buffer);
        match heard {
            Heard::GoOn => {}
            Heard::Stop => self.reactor.stop_receive(token),
            Heard::Handshake => return self.queue_handshake(token),
            Heard::Fault(fault) => return self.fault(token, fault, index),
        }
        if !was_answering {
            self.drive(token, index);
        }
    }

    fn peer_closed(&mut self, token: Token, index: &Index) {
        if !self.peer_closed_secure(token) {
            return;
        }
        let Some(slot) = slot(&mut self.connections, token) else {
            return;
        };
        slot.connection.peer_closed();
        if !slot.connection.is_answering() {
            self.drive(token, index);
        }
    }

    fn handle_reads(&mut self, index: &Index) {
        while let Some(done) = self.mailbox.pop() {
            let id = done.token as u32;
            let Some(token) = self.reads.close(id) else {
                continue;
            };
            let Some(slot) = slot(&mut self.connections, token) else {
                continue;
            };
            let waits = slot.connection.awaits_read();
            slot.connection.arrived(id, done.result, self.thought.now);
            if waits {
                self.drive(token, index);
            }
        }
    }

    fn handle_timers(&mut self, index: &Index) {
        let Self {
            timers,
            connections,
            thought,
            ready,
            ..
        } = self;
        timers.expire_or_renew(thought.now, |token| {
            let slot = slot(connections, token)?;
            let late = slot.late(thought, index);
            if late == Late::Act {
                ready.push_back(token);
            }
            Some(slot.deadline(thought.now))
        });
    }

    fn longest_wait(&self) -> Duration {
        let handshakes = self.handshakes.longest_sleep(self.thought.now);
        if self.holders.is_empty() {
            handshakes
        } else {
            handshakes.min(HOLDERS_EVERY)
        }
    }

    /// Takes buffers from those who keep others waiting, in time.
    fn handle_holders(&mut self, index: &Index) {
        let Self {
            holders,
            connections,
            thought,
            ..
        } = self;
        if holders.is_empty() || thought.now < self.look_at_holders {
            return;
        }
        self.look_at_holders = thought.now + HOLDERS_EVERY;
        holders.retain(|token| {
            let Some(slot) = slot(connections, *token) else {
                return false;
            };
            slot.connection.blocked(&thought.context(index));
            slot.is_holder = slot.connection.holds_buffer();
            slot.is_holder
        });
    }

    /// Each connection that has more to send gets one quantum.
    fn run_ready(&mut self, index: &Index) {
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else {
                return;
            };
            self.drive(token, index);
        }
    }

    fn close(&mut self, token: Token) {
        self.end(token, End::Peer);
    }

    /// Closes a connection; `why` its answer is cut, if one is under way.
    fn end(&mut self, token: Token, why: End) {
        let Some(place) = self.connections.get_mut(token.index()) else {
            return;
        };
        let Some(mut slot) = place.take_if(|slot| slot.token == token) else {
            return;
        };
        let counters = &self.thought.counters;
        if slot.connection.is_cut_short() {
            match why {
                End::Device => counters.aborted_by_device.add(1),
                _ => counters.aborted_by_peer.add(1),
            }
        }
        if let Some(mut secure) = slot.secure.take() {
            secure.give_up(Reason::PeerClosed, &counters.tls);
            secure
                .unsent
                .take()
                .into_iter()
                .for_each(|unsent| self.sealing.give_back(unsent));
        }
        let shared = &self.thought.shared;
        slot.connection.end(&Ending {
            now: self.thought.now,
            counters,
            demand: shared.demand.as_ref(),
            log: records(shared.access_log.as_deref(), self.thought.worker),
            why,
        });
        self.left(slot.stay);
        self.reactor.close(token);
    }

    fn cut_all(&mut self) -> u64 {
        let cut = self
            .connections
            .iter()
            .flatten()
            .filter(|slot| slot.connection.is_cut_short())
            .count();
        for at in 0..self.connections.len() {
            if let Some(token) = self.connections[at].as_ref().map(|slot| slot.token) {
                self.end(token, End::Stop);
            }
        }
        cut as u64
    }
}

fn records(log: Option<&AccessLog>, worker: usize) -> Option<&Records> {
    log?.records(worker)
}

fn handshake_patience(config: &Config) -> Duration {
    let tls = config.tls.as_ref();
    tls.map_or(RECHECK, |tls| tls.handshake_timeout.duration())
}

fn slot(connections: &mut [Option<Slot>], token: Token) -> Option<&mut Slot> {
    connections
        .get_mut(token.index())?
        .as_mut()
        .filter(|slot| slot.token == token)
}
