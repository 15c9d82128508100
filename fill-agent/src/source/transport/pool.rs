//! Connections that wait for their next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;

use super::Sender;
use crate::limits::{IDLE_CONNECTION_AGE, IDLE_CONNECTIONS_MAX};
use crate::tls::Side;

/// Where a connection leads, and why its other end is believed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Scheme, host and port.
    pub(super) origin: url::Origin,
    /// Over https: who was asked, and what the certificate had to be for.
    pub(super) believed: Option<(Side, Option<ServerName<'static>>)>,
}

#[derive(Default, Clone)]
pub(super) struct Pool(Arc<Mutex<HashMap<Place, Vec<Idle>>>>);

struct Idle {
    since: Instant,
    sender: Sender,
}

/// A connection in use. It is kept for the next request if its answer was read to the end, and closed otherwise.
pub(super) struct Lease {
    pool: Pool,
    place: Place,
    sender: Sender,
}

impl Pool {
    pub(super) fn take(&self, place: &Place) -> Option<Sender> {
        let mut pool = self.0.lock().expect("nothing panics while it holds this");
        let idle = pool.get_mut(place)?;
        let fresh = |idle: &Idle| idle.since.elapsed() < IDLE_CONNECTION_AGE;
        while let Some(last) = idle.pop() {
            if fresh(&last) && !last.sender.is_closed() {
                return Some(last.sender);
            }
        }
        None
    }

    pub(super) fn lease(&self, place: Place, sender: Sender) -> Lease {
        Lease {
            pool: self.clone(),
            place,
            sender,
        }
    }
}

impl Lease {
    pub(super) fn release(self) {
        let mut pool = self
            .pool
            .0
            .lock()
            .expect("nothing panics while it holds this");
        pool.retain(|_, idle| {
            idle.retain(|idle| idle.since.elapsed() < IDLE_CONNECTION_AGE);
            !idle.is_empty()
        });
        let held: usize = pool.values().map(Vec::len).sum();
        if held < IDLE_CONNECTIONS_MAX {
            pool.entry(self.place).or_default().push(Idle {
                since: Instant::now(),
                sender: self.sender,
            });
        }
    }
}

const _: () = assert!(IDLE_CONNECTION_AGE.as_nanos() > Duration::ZERO.as_nanos());
