//! What clients keep of earlier connections to one server: tickets of TLS 1.3, each used once, and the last session of TLS 1.2.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// So many are kept, about 1 KiB each; older ones are forgotten.
const MOST: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Tickets {
    tls13: Mutex<VecDeque<Tls13ClientSessionValue>>,
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    /// Whether connections get them.
    handed_out: AtomicBool,
}

impl Tickets {
    /// Whether connections get them from now on, or they are only collected.
    pub(super) fn hand_out(&self, handed_out: bool) {
        self.handed_out.store(handed_out, SeqCst);
    }

    /// Whether the next connection has something to show.
    pub(super) fn any(&self) -> bool {
        !locked(&self.tls13).is_empty() || locked(&self.tls12).is_some()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *locked(&self.tls12) = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        locked(&self.tls12)
            .clone()
            .filter(|_| self.handed_out.load(SeqCst))
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        *locked(&self.tls12) = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut tickets = locked(&self.tls13);
        if tickets.len() == MOST {
            tickets.pop_front();
        }
        tickets.push_back(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if !self.handed_out.load(SeqCst) {
            return None;
        }
        locked(&self.tls13).pop_front()
    }
}
