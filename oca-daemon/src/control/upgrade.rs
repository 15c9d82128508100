//! The daemon gives its place to another: see [`crate::succession`].

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::messages::{DESCRIPTORS, Messages};
use protocol::operator::{Fault, Refusal, Response, Upgraded};
use protocol::service;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Control;
use crate::admin::observation::Observation;
use crate::limits::{BGP_STOP, UPGRADE_WAIT};
use crate::operator::refused;
use crate::shared::Service;
use crate::succession::successor::Legacy;
use crate::succession::{Later, OfPredecessor, OfSuccessor, ToParent, VERSION, hear_later, tell};
use crate::tls::TicketKey;

/// What an operator wants.
#[derive(Debug, Clone)]
pub struct Order {
    /// Who asks.
    pub by: String,
    /// The program before the last package.
    pub previous: bool,
    /// Whatever its check finds.
    pub force: bool,
    /// How long it may take until it serves. Then it is ended, and this one goes on.
    pub within: Duration,
}

/// A successor that serves.
#[derive(Debug)]
pub(super) struct Served {
    version: String,
    process: u32,
    /// It waits for the end of this before it speaks with routers and the control endpoint.
    channel: Later,
}

/// A successor on its way.
#[derive(Debug)]
pub(super) struct Upgrading {
    began: Instant,
    reply: oneshot::Sender<Response>,
    task: JoinHandle<Result<Served, String>>,
}

impl Control {
    /// The loop goes on meanwhile.
    pub(super) fn begin_upgrade(&mut self, order: &Order, reply: oneshot::Sender<Response>) {
        let begun = self.start_successor(order);
        match begun {
            Ok(task) => {
                tracing::info!(by = order.by, previous = order.previous, "upgrade");
                let began = Instant::now();
                self.upgrading = Some(Upgrading { began, reply, task });
            }
            // An operator who went away reads the log.
            Err(message) => _ = reply.send(no(message)),
        }
    }

    fn start_successor(&self, order: &Order) -> Result<JoinHandle<Result<Served, String>>, String> {
        if self.upgrading.is_some() {
            return Err("an upgrade is under way already".to_owned());
        }
        let legacy = self.legacy.as_ref().ok_or(
            "this daemon was started without a parent that could start another one. Start it as the unit of the package does \
             (`oca-daemon parent`), which takes one restart",
        )?;
        let door = self.doors.operator.descriptors();
        let door = door.ok_or("another daemon serves already")?;
        let tls = self.shared.tls.as_ref();
        let tickets = tls.map_or_else(Vec::new, |tls| tls.tickets.keys());
        let prepared = || -> io::Result<_> {
            let (ours, theirs) = Messages::pair()?;
            let start = ToParent::Start {
                previous: order.previous,
                force: order.force,
            };
            let gifts = Gifts::of(legacy, door, tickets)?;
            tell(&legacy.parent, &start, &[theirs.as_fd()])?;
            Ok((Later::of(ours)?, gifts))
        };
        let (channel, gifts) =
            prepared().map_err(|error| format!("the parent cannot be asked: {error}"))?;
        let within = order.within.min(UPGRADE_WAIT);
        Ok(tokio::spawn(async move {
            let late = || format!("it was not ready within {} s", within.as_secs());
            let followed = timeout(within, follow(channel, &gifts)).await;
            followed.unwrap_or_else(|_| Err(late()))
        }))
    }

    /// When the successor has come to serve, or has not.
    pub(super) async fn upgraded(upgrading: &mut Option<Upgrading>) -> Result<Served, String> {
        let Some(upgrading) = upgrading else {
            return pending().await;
        };
        let ended = (&mut upgrading.task).await;
        ended.unwrap_or_else(|panicked| Err(panicked.to_string()))
    }

    pub(super) fn end_upgrade(&mut self, outcome: Result<Served, String>) {
        let Some(Upgrading { began, reply, .. }) = self.upgrading.take() else {
            return;
        };
        let answer = match outcome {
            Ok(served) => {
                let observed = Observation::of(&self.shared);
                let upgraded = Upgraded {
                    version: served.version.clone(),
                    process: served.process,
                    took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                    transfers: observed.total(|worker| worker.transfers.value()),
                };
                self.part(served);
                Response::Upgraded(upgraded)
            }
            Err(why) => {
                self.abandon();
                let version = env!("CARGO_PKG_VERSION");
                no(format!(
                    "the successor did not take over, and this daemon ({version}) serves on: {why}. More in the log: {}",
                    service::DAEMON.log()
                ))
            }
        };
        // An operator who went away finds the version in `status`.
        let _ = reply.send(answer);
    }

    fn abandon(&self) {
        if let Some(legacy) = &self.legacy
            && let Err(error) = tell(&legacy.parent, &ToParent::Abandon, &[])
        {
            tracing::error!(%error, "the parent does not end the successor");
        }
    }

    /// From now on another one serves. What runs here finishes.
    fn part(&mut self, served: Served) {
        let bound = self.shared.config.load().steering.drain_bound.duration();
        let (process, version) = (served.process, &served.version);
        tracing::info!(
            process,
            version,
            "another daemon serves from now on; what runs here finishes"
        );
        self.has_parted = true;
        self.doors.operator.hand_over();
        self.doors.closed.send_replace(true);
        self.shared.change_service(Service::Parting {
            until: Instant::now() + bound,
        });
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            if let Some(bgp) = &shared.bgp {
                bgp.end();
                // One that does not end is closed with this process.
                let _ = timeout(BGP_STOP * 2, bgp.ended()).await;
            }
            drop(served.channel);
        });
    }
}

/// Copies of what a successor is given, made before it is started.
struct Gifts {
    sockets: Vec<OwnedFd>,
    estate: [OwnedFd; 3],
    tickets: Vec<TicketKey>,
}

impl Gifts {
    fn of(legacy: &Legacy, door: [BorrowedFd<'_>; 2], tickets: Vec<TicketKey>) -> io::Result<Self> {
        let copy = |it: &OwnedFd| it.try_clone();
        let [listener, lock] = door;
        Ok(Self {
            sockets: legacy.sockets.iter().map(copy).collect::<io::Result<_>>()?,
            estate: [
                listener.try_clone_to_owned()?,
                lock.try_clone_to_owned()?,
                legacy.parent.try_clone()?.into(),
            ],
            tickets,
        })
    }

    fn give(&self, to: &Messages, with_tickets: bool) -> io::Result<()> {
        for some in self.sockets.chunks(DESCRIPTORS) {
            let some: Vec<_> = some.iter().map(AsFd::as_fd).collect();
            tell(to, &OfPredecessor::Sockets, &some)?;
        }
        if with_tickets {
            tell(to, &OfPredecessor::Tickets(self.tickets.clone()), &[])?;
        }
        let estate = self.estate.each_ref().map(AsFd::as_fd);
        tell(to, &OfPredecessor::Estate, &estate)
    }
}

/// From the start of the successor until it serves; an error says why it does not.
async fn follow(channel: Later, gifts: &Gifts) -> Result<Served, String> {
    let with_tickets = match heard(&channel).await? {
        OfSuccessor::Begin {
            version: VERSION,
            tickets,
        } => tickets,
        other => return Err(strange(&other)),
    };
    let said = |error: io::Error| error.to_string();
    gifts.give(&channel.end, with_tickets).map_err(said)?;
    match heard(&channel).await? {
        OfSuccessor::Ready => {}
        other => return Err(strange(&other)),
    }
    tell(&channel.end, &OfPredecessor::Go, &[]).map_err(said)?;
    match heard(&channel).await? {
        OfSuccessor::Serving { version, process } => Ok(Served {
            version,
            process,
            channel,
        }),
        other => Err(strange(&other)),
    }
}

async fn heard(channel: &Later) -> Result<OfSuccessor, String> {
    match hear_later(channel).await {
        Ok((OfSuccessor::Failed { why }, _)) => Err(why),
        Ok((words, _)) => Ok(words),
        Err(error) => Err(format!("it cannot be understood: {error}")),
    }
}

fn strange(words: &OfSuccessor) -> String {
    format!("it says {words:?}, which this release does not expect; restart the daemon instead")
}

fn no(message: String) -> Response {
    refused(Refusal {
        fault: Fault::State,
        message,
    })
}
