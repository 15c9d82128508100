//! Sessions with routers, on a thread of their own: a KEEPALIVE waits for nobody. `steering::bgp` decides everything; here are the
//! sockets, the clock, and the canaries.
//!
//! ```text
//! control ─ Standing ─► services (is each address here?) ─ offers ─► peers ─► connections ─► routers
//! operator ─ Question ─► routes ◄─ learned ◄─────────────────────────┘
//! Desk ◄─ status, every second
//! ```
//!
//! Before anything that came in is looked at, what is due is done; and what comes in is bounded ([`BGP_TURN`]), so a
//! router that sends all its routes delays no KEEPALIVE.

mod canary;
mod connection;
mod peer;
mod service;
mod setup;
mod told;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use protocol::bgp::{Bgp, Feed, RoutePage};
use steering::bgp::packet::notification::Reason;
use steering::bgp::{Event, Prefix};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, sleep_until};

use crate::admin::Admin;
use crate::limits::{BGP_HEARD, BGP_LOOK, BGP_QUESTIONS, BGP_STOP, BGP_TURN};
use connection::Heard;
use peer::Peer;
use service::Services;

pub use setup::Setup;

/// Where the other threads meet the speaker.
#[derive(Debug)]
pub struct Desk {
    status: ArcSwap<Bgp>,
    /// What serves when no neighbour has told anything.
    fallback: Feed,
    questions: mpsc::Sender<Question>,
    released: Notify,
    ended: Notify,
}

/// What an operator wants to know.
#[derive(Debug)]
pub struct Question {
    /// Which neighbour's routes.
    pub neighbor: IpAddr,
    /// Those behind this one.
    pub after: Option<Prefix>,
    /// The most.
    pub limit: usize,
    /// `None`: there is no such neighbour, or it is not listened to.
    pub reply: oneshot::Sender<Option<RoutePage>>,
}

impl Desk {
    fn new(status: Bgp) -> (Arc<Self>, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(BGP_QUESTIONS);
        let desk = Self {
            fallback: status.feed,
            status: ArcSwap::from_pointee(status),
            questions,
            released: Notify::new(),
            ended: Notify::new(),
        };
        (Arc::new(desk), asked)
    }

    /// How it is, not older than a second or so.
    #[must_use]
    pub fn status(&self) -> Arc<Bgp> {
        self.status.load_full()
    }

    /// Has a question answered. An error: the speaker has ended.
    pub async fn ask(&self, question: Question) -> Result<(), Question> {
        let asking = self.questions.send(question).await;
        asking.map_err(|refused| refused.0)
    }

    /// An operator has put the box into service: addresses that were held back may be announced again.
    pub fn release(&self) {
        self.released.notify_one();
        // What canaries said before counts no more, from this moment on.
        let mut status = Bgp::clone(&self.status());
        for service in &mut status.services {
            service.lost = None;
        }
        self.status.store(Arc::new(status));
    }

    /// Ends all sessions, and the thread.
    pub fn end(&self) {
        self.ended.notify_one();
    }

    /// Returns when the thread has ended, or will.
    pub async fn ended(&self) {
        self.questions.closed().await;
    }
}

/// The thread.
pub struct Speaker {
    admin: Arc<Admin>,
    desk: Arc<Desk>,
    asked: mpsc::Receiver<Question>,
    setup: Setup,
}

impl Speaker {
    /// With what was set up at the start.
    #[must_use]
    pub fn new(admin: Arc<Admin>, setup: Setup, asked: mpsc::Receiver<Question>) -> Option<Self> {
        let desk = Arc::clone(admin.shared.bgp.as_ref()?);
        Some(Self {
            admin,
            desk,
            asked,
            setup,
        })
    }

    /// Speaks until [`Desk::end`].
    pub fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.speak()),
            Err(error) => tracing::error!(%error, "there is no BGP"),
        }
    }

    async fn speak(self) {
        let (sender, heard) = mpsc::channel(BGP_HEARD);
        let now = Instant::now();
        let Setup {
            identifier,
            peers,
            listeners,
            stale_time,
        } = self.setup;
        for listener in listeners {
            match setup::listening(listener) {
                Ok(listener) => connection::listen(listener, sender.clone()),
                Err(error) => tracing::error!(%error, "bgp.listen: no neighbour can connect"),
            }
        }
        let peers = peers
            .into_iter()
            .enumerate()
            .map(|(number, peer)| Peer::new(now, number, peer, identifier, stale_time));
        let mut turns = Turns {
            peers: peers.collect(),
            services: Services::new(self.admin, sender.clone()),
            desk: self.desk,
            sender,
            heard,
            asked: self.asked,
            look_at: now,
        };
        turns.turn_until_ended().await;
    }
}

/// The loop and what it owns.
struct Turns {
    peers: Vec<Peer>,
    services: Services,
    desk: Arc<Desk>,
    sender: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
    asked: mpsc::Receiver<Question>,
    look_at: Instant,
}

impl Turns {
    async fn turn_until_ended(&mut self) {
        let desk = Arc::clone(&self.desk);
        loop {
            self.do_what_is_due();
            let due = self.peers.iter().filter_map(Peer::timeout);
            let due = due.min().map_or(self.look_at, |due| due.min(self.look_at));
            tokio::select! {
                () = desk.ended.notified() => return self.end().await,
                () = desk.released.notified() => self.services.release(),
                () = sleep_until(due.into()) => {}
                Some(heard) = self.heard.recv() => self.hear_all(heard),
                Some(question) = self.asked.recv() => self.answer(question),
            }
        }
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        for peer in &mut self.peers {
            peer.tick(now, &self.sender);
        }
        if self.look_at > now {
            return;
        }
        self.look_at = now + BGP_LOOK;
        self.services.look(now);
        let offers = self.services.offers();
        for peer in &mut self.peers {
            peer.announce(now, &offers, &self.sender);
        }
        let status = Bgp {
            router_id: self.desk.status().router_id,
            neighbors: self
                .peers
                .iter()
                .map(|it| told::neighbor(now, it))
                .collect(),
            services: self.services.status(),
            feed: told::feed(&self.peers).unwrap_or(self.desk.fallback),
        };
        self.desk.status.store(Arc::new(status));
    }

    /// What has come in, for [`BGP_TURN`] at most.
    fn hear_all(&mut self, first: Heard) {
        let begun = Instant::now();
        self.hear(begun, first);
        while begun.elapsed() < BGP_TURN
            && let Ok(heard) = self.heard.try_recv()
        {
            self.hear(Instant::now(), heard);
        }
    }

    fn hear(&mut self, now: Instant, heard: Heard) {
        match heard {
            Heard::Accepted { stream, remote } => {
                let of = |peer: &&mut Peer| peer.address() == remote;
                // Who is not configured is not answered.
                if let Some(peer) = self.peers.iter_mut().find(of) {
                    peer.accepted(now, stream, &self.sender);
                }
            }
            Heard::Canary { address, answer } => self.services.heard(address, answer),
            Heard::Connected { peer, connected } => {
                self.peers[peer].connected(now, connected, &self.sender);
            }
            Heard::Received {
                peer,
                connection,
                bytes,
            } => {
                let bytes = &bytes;
                let event = Event::Received { connection, bytes };
                self.peers[peer].tell(now, event, &self.sender);
            }
            Heard::Closed {
                peer,
                connection,
                why,
            } => self.peers[peer].closed(now, connection, why, &self.sender),
        }
    }

    fn answer(&self, question: Question) {
        let peers = self.peers.iter();
        let of = |peer: &&Peer| peer.address() == question.neighbor;
        let learned = peers.filter(of).find_map(|peer| peer.machine.learned());
        let now = Instant::now();
        let page = learned.map(|it| told::page(now, it, question.after, question.limit));
        // Who went away needs no answer.
        let _ = question.reply.send(page);
    }

    /// Tells every neighbour, and lets the words out for a moment.
    async fn end(&mut self) {
        let now = Instant::now();
        for peer in &mut self.peers {
            peer.stop(now, Reason::SHUTDOWN, &self.sender);
        }
        let all_said = async {
            while self.peers.iter().any(Peer::is_speaking) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(BGP_STOP, all_said).await;
    }
}
