//! What a daemon has of sockets at its start, by who has started it.

use anyhow::Context as _;
use platform::inherited::Inherited;
use platform::messages::Messages;
use protocol::config::Config;

use crate::control::Doors;
use crate::listener::{self, Listeners};
use crate::succession::successor::{Legacy, Successor};
use crate::tls::Tls;

/// How a daemon comes to serve.
#[derive(Debug)]
pub enum Origin {
    /// Started by whoever started it.
    Alone,
    /// Started by a parent, to which the end leads.
    Child(Messages),
    /// In the place of another.
    Successor(Successor),
}

/// What it has of sockets, from the one before, the service manager, or made here.
pub(super) struct Entry {
    pub(super) doors: Doors,
    pub(super) listeners: Listeners,
    pub(super) legacy: Option<Legacy>,
    pub(super) place: Option<Place>,
}

/// In the place of another: who is told of it.
pub(super) struct Place {
    pub(super) successor: Successor,
    pub(super) parent: Messages,
}

impl Entry {
    pub(super) fn of(
        origin: Origin,
        config: &Config,
        workers: usize,
        tls: Option<&Tls>,
    ) -> anyhow::Result<Self> {
        const HELD: &str = "sockets of the service manager";
        let (mut inherited, door, parent, successor) = match origin {
            Origin::Alone => (Inherited::of_process().context(HELD)?, None, None, None),
            Origin::Child(parent) => {
                let inherited = Inherited::of_parent().context(HELD)?;
                (inherited, None, Some(parent), None)
            }
            Origin::Successor(successor) => {
                let estate = successor.begin()?;
                let door = Some(estate.door);
                if let Some(tls) = tls {
                    tls.tickets.take_over(estate.tickets);
                }
                (estate.sockets, door, Some(estate.parent), Some(successor))
            }
        };
        let doors = match door {
            Some(door) => Doors::take_over(config, &mut inherited, door)?,
            None => Doors::open(config, &mut inherited)?,
        };
        let listeners = listener::bind(&config.listen, workers, &mut inherited)?;
        match &successor {
            // The configuration has changed: who comes there is not served any more.
            Some(_) => inherited
                .left()
                .for_each(|address| tracing::warn!(%address, "not listened on any more")),
            None => listener::refuse_left(&inherited)?,
        }
        let place = match (successor, &parent) {
            (Some(successor), Some(parent)) => Some(Place {
                successor,
                parent: parent.try_clone()?,
            }),
            _ => None,
        };
        let sockets = listeners.kept.iter().chain(doors.sockets());
        let legacy = parent.map(|parent| Legacy::of(sockets, parent));
        Ok(Self {
            legacy: legacy.transpose()?,
            doors,
            listeners,
            place,
        })
    }
}
