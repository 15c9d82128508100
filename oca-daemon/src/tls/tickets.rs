//! Tickets, by which a viewer who comes back is spared certificate and signature (RFC 8446, section 2.2; RFC 5077).
//!
//! A key seals tickets for six hours and opens them for six more; then it is forgotten, and with it what was sent under it stays secret. Keys
//! are nowhere but in the memory of the process, and of the one that takes its place: viewers who are told to come again at an upgrade come
//! all at once.

use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};
use steering::UnixTime;

/// How long a key seals. With a nonce at random, 2^32 tickets of one key are the most (NIST SP 800-38D, 8.3): 200 000 in each second.
const SEALS_S: u64 = 6 * 3600;

const NAME_BYTES: usize = 16;

/// A key, as it is handed over.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    /// At random; each ticket begins with it.
    name: [u8; NAME_BYTES],
    secret: [u8; 32],
    /// Seconds since 1970.
    made: u64,
}

/// What is secret stays out of logs.
impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey")
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

impl TicketKey {
    fn random(made: u64) -> Result<Self, Unspecified> {
        let (mut name, mut secret) = ([0; NAME_BYTES], [0; 32]);
        rand::fill(&mut name)?;
        rand::fill(&mut secret)?;
        Ok(Self { name, secret, made })
    }

    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.secret)?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(self.name), &mut sealed)?;
        Ok([&self.name, &nonce.as_ref()[..], &sealed].concat())
    }

    /// `ticket` without the name.
    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.secret).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = key.open_in_place(nonce, Aad::from(self.name), &mut sealed);
        Some(plain.ok()?.to_vec())
    }
}

/// The keys of this process: the one that seals, then the one before it.
#[derive(Debug)]
pub struct Tickets {
    keys: RwLock<Vec<TicketKey>>,
}

impl Tickets {
    /// With a key of its own.
    ///
    /// # Errors
    /// When the system gives nothing random.
    pub fn new(now: UnixTime) -> Result<Self, Unspecified> {
        let keys = RwLock::new(vec![TicketKey::random(now.seconds())?]);
        Ok(Self { keys })
    }

    /// For whoever takes the place of this process.
    #[must_use]
    pub fn keys(&self) -> Vec<TicketKey> {
        self.read().clone()
    }

    /// Goes on with the keys of the daemon before.
    pub fn take_over(&self, keys: Vec<TicketKey>) {
        if !keys.is_empty() {
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        }
    }

    fn seal(&self, plain: &[u8], now: u64) -> Option<Vec<u8>> {
        self.renew(now).ok()?;
        self.read().first()?.seal(plain).ok()
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let keys = self.read();
        let key = keys.iter().find(|key| key.name == name)?;
        (now.abs_diff(key.made) < 2 * SEALS_S).then(|| key.open(rest))?
    }

    /// Who writes, once in six hours, has the new key in hand: nobody waits for more than a swap.
    fn renew(&self, now: u64) -> Result<(), Unspecified> {
        // Also after a clock that was wrong by far was set back.
        let is_over = |key: &TicketKey| now.abs_diff(key.made) >= SEALS_S;
        let is_due = |keys: &[TicketKey]| keys.first().is_none_or(is_over);
        if !is_due(&self.read()) {
            return Ok(());
        }
        let fresh = TicketKey::random(now)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if is_due(&keys) {
            keys.insert(0, fresh);
            keys.truncate(2);
        }
        Ok(())
    }

    /// A list is whole after any panic.
    fn read(&self) -> RwLockReadGuard<'_, Vec<TicketKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        2 * SEALS_S as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, UnixTime::from(SystemTime::now()).seconds())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, UnixTime::from(SystemTime::now()).seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_790_000_000;

    fn tickets() -> Tickets {
        Tickets::new(UnixTime::from_seconds(START)).unwrap()
    }

    #[test]
    fn a_ticket_is_opened_for_twelve_hours_at_most() {
        let tickets = tickets();
        let first = tickets.seal(b"state", START).unwrap();
        let late = tickets.seal(b"late", START + SEALS_S - 1).unwrap();
        let next = tickets.seal(b"next", START + SEALS_S).unwrap();
        assert_eq!(first[..NAME_BYTES], late[..NAME_BYTES]);
        assert_ne!(first[..NAME_BYTES], next[..NAME_BYTES]);
        let end = START + 2 * SEALS_S;
        assert_eq!(tickets.open(&first, end - 1).unwrap(), b"state");
        assert_eq!(tickets.open(&late, end - 1).unwrap(), b"late");
        assert_eq!(tickets.open(&next, end).unwrap(), b"next");
        assert_eq!(tickets.open(&first, end), None);
        tickets.seal(b"third", end).unwrap();
        assert_eq!(tickets.keys().len(), 2);
    }

    #[test]
    fn what_is_no_ticket_of_ours_is_not_opened() {
        let tickets = tickets();
        let ticket = tickets.seal(b"state", START).unwrap();
        for at in 0..ticket.len() {
            let mut bent = ticket.clone();
            bent[at] ^= 1;
            assert_eq!(tickets.open(&bent, START), None, "byte {at}");
            assert_eq!(tickets.open(&ticket[..at], START), None, "{at} bytes");
        }
        assert_ne!(ticket, tickets.seal(b"state", START).unwrap());
    }

    #[test]
    fn keys_go_over_as_words_and_are_not_logged() {
        let (before, after) = (tickets(), tickets());
        let ticket = before.seal(b"state", START).unwrap();
        assert_eq!(after.open(&ticket, START), None);
        let words = serde_json::to_vec(&before.keys()).unwrap();
        after.take_over(serde_json::from_slice(&words).unwrap());
        assert_eq!(after.open(&ticket, START).unwrap(), b"state");
        assert_eq!(
            format!("{:?}", before.keys()),
            format!("[TicketKey {{ made: {START}, .. }}]")
        );
    }
}
