//! Handshakes, some at a time, as fast as they go or at a steady rate. One thread.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use platform::watch::Watch;
use rustls::HandshakeKind;

use super::tickets::Tickets;
use crate::latency::{Latencies, Summary};
use crate::load::tls::Handshake;
use crate::load::{Rate, SILENCE, Until};
use crate::tls::Client;

/// Whether handshakes begin with a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(super) enum Resuming {
    #[serde(rename = "full")]
    Never,
    #[serde(rename = "resumed")]
    Always,
}

pub(super) struct Plan<'a> {
    pub(super) address: SocketAddr,
    pub(super) client: &'a Client,
    /// What the server must make of each; who resumes goes on while there are tickets.
    pub(super) resuming: Resuming,
    pub(super) tickets: Option<&'a Tickets>,
    /// Handshakes under way at once, at most.
    pub(super) slots: usize,
    pub(super) rate: Rate,
    pub(super) until: Until,
}

/// What came of it.
pub(super) struct Shaken {
    pub(super) handshakes: u64,
    pub(super) elapsed: Duration,
    /// From the first packet to the client's last word.
    pub(super) latency: Summary,
}

/// Shakes hands, and returns when the last one is over.
///
/// Errors: a handshake that fails, or goes otherwise than planned; silence.
pub(super) fn shake(plan: &Plan<'_>) -> Result<Shaken> {
    let mut shaker = Shaker {
        plan,
        watch: Watch::new()?,
        slots: (0..plan.slots).map(|_| None).collect(),
        free: (0..plan.slots).collect(),
        latencies: Latencies::default(),
        begun: Instant::now(),
        made: 0,
    };
    if let Some(tickets) = plan.tickets {
        tickets.hand_out(plan.resuming == Resuming::Always);
    }
    shaker.run()?;
    let handshakes = shaker.latencies.count();
    ensure!(handshakes > 0, "no handshake was made");
    Ok(Shaken {
        handshakes,
        elapsed: shaker.begun.elapsed(),
        latency: shaker.latencies.summary(),
    })
}

struct Shaker<'a> {
    plan: &'a Plan<'a>,
    watch: Watch,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    latencies: Latencies,
    begun: Instant,
    made: u64,
}

struct Slot {
    socket: TcpStream,
    handshake: Handshake,
    begun: Instant,
    /// How long the handshake took, if it is over.
    took: Option<Duration>,
}

impl Shaker<'_> {
    fn run(&mut self) -> Result<()> {
        let mut heard = Instant::now();
        loop {
            let next = self.begin_due()?;
            if next.is_none() && self.free.len() == self.slots.len() {
                return Ok(());
            }
            let wait = if self.free.is_empty() { None } else { next };
            let ready = self.watch.wait(wait.unwrap_or(SILENCE))?;
            for place in 0..ready {
                self.advance(self.watch.key(place) as usize)?;
            }
            if ready > 0 || self.free.len() == self.slots.len() {
                heard = Instant::now();
            }
            ensure!(
                heard.elapsed() < SILENCE,
                "the server has sent nothing for {SILENCE:?}"
            );
        }
    }

    /// Begins what is due as far as slots are free; how long until the next one is due, none if there is to be no other.
    fn begin_due(&mut self) -> Result<Option<Duration>> {
        loop {
            let now = self.begun.elapsed();
            let due = match self.plan.rate {
                Rate::Full => now,
                Rate::PerSecond(rate) => Duration::from_secs_f64(self.made as f64 / rate),
            };
            let over = match self.plan.until {
                Until::Elapsed(bound) => due.max(now) >= bound,
                Until::Requests(bound) => self.made >= bound,
            };
            let can = self.plan.resuming == Resuming::Never
                || self.plan.tickets.is_some_and(Tickets::any);
            if over || !can {
                return Ok(None);
            }
            if due > now {
                return Ok(Some(due - now));
            }
            let Some(free) = self.free.pop() else {
                return Ok(Some(Duration::ZERO));
            };
            self.begin(free)?;
        }
    }

    fn begin(&mut self, number: usize) -> Result<()> {
        let begun = Instant::now();
        let socket = TcpStream::connect(self.plan.address).context("connecting")?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        self.watch.add(socket.as_fd(), number as u64)?;
        let handshake = Handshake::new(self.plan.client.connection()?);
        self.slots[number] = Some(Slot {
            socket,
            handshake,
            begun,
            took: None,
        });
        self.made += 1;
        self.advance(number)
    }

    fn advance(&mut self, number: usize) -> Result<()> {
        let Some(slot) = &mut self.slots[number] else {
            return Ok(());
        };
        let Some(took) = slot.advance(self.plan.resuming)? else {
            return Ok(());
        };
        self.latencies.record(took);
        self.slots[number] = None;
        self.free.push(number);
        Ok(())
    }
}

impl Slot {
    /// How long the handshake took, when the server has closed after it.
    fn advance(&mut self, resuming: Resuming) -> Result<Option<Duration>> {
        if self.took.is_none() {
            if !self.handshake.advance(&self.socket)? {
                return Ok(None);
            }
            self.took = Some(self.begun.elapsed());
            let kind = self.handshake.kind()?;
            let wanted = match resuming {
                Resuming::Never => HandshakeKind::Full,
                Resuming::Always => HandshakeKind::Resumed,
            };
            ensure!(
                kind == Some(wanted),
                "a handshake was {kind:?} instead of {wanted:?}"
            );
            self.handshake.close(&self.socket)?;
        }
        let is_gone = self.handshake.is_gone(&self.socket)?;
        Ok(self.took.filter(|_| is_gone))
    }
}
