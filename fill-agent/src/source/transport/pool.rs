//! Connections that wait for their next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use url::Url;

use super::Sender;
use crate::limits::{IDLE_CONNECTION_AGE, IDLE_CONNECTIONS_MAX};

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin(Box<str>);

impl Origin {
    pub(super) fn of(url: &Url) -> Self {
        Self(url.origin().ascii_serialization().into())
    }
}

#[derive(Default, Clone)]
pub(super) struct Pool(Arc<Mutex<HashMap<Origin, Vec<Idle>>>>);

struct Idle {
    since: Instant,
    sender: Sender,
}

/// A connection in use. It is kept for the next request if its answer was read to the end, and closed otherwise.
pub(super) struct Lease {
    pool: Pool,
    origin: Origin,
    sender: Sender,
}

impl Pool {
    pub(super) fn take(&self, origin: &Origin) -> Option<Sender> {
        let mut pool = self.0.lock().expect("nothing panics while it holds this");
        let idle = pool.get_mut(origin)?;
        let fresh = |idle: &Idle| idle.since.elapsed() < IDLE_CONNECTION_AGE;
        while let Some(last) = idle.pop() {
            if fresh(&last) && !last.sender.is_closed() {
                return Some(last.sender);
            }
        }
        None
    }

    pub(super) fn lease(&self, origin: Origin, sender: Sender) -> Lease {
        Lease {
            pool: self.clone(),
            origin,
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
            pool.entry(self.origin).or_default().push(Idle {
                since: Instant::now(),
                sender: self.sender,
            });
        }
    }
}

const _: () = assert!(IDLE_CONNECTION_AGE.as_nanos() > Duration::ZERO.as_nanos());
