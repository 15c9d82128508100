//! The cap on what comes over the line: one bucket that all transfers share.
//!
//! ```text
//! Bucket::take(now, wanted) -> bytes that may come now | when to ask again      pure
//! Limiter::take(wanted).await                                                   one bucket, many tasks, in their order
//! ```
//!
//! Exact over a minute, because a late wake-up is caught up with ([`RATE_CREDIT`]); never above 1.5 x in any second, because no
//! more than that is. Takers queue: whoever comes next waits behind one piece of each other, never behind a whole object.

mod limiter;

use std::time::{Duration, Instant};

pub use limiter::Limiter;

use crate::limits::{PIECE_BYTES, PIECES_PER_SECOND, RATE_CREDIT};

/// The token bucket, counted in time: `due` is when all that was taken would have come at the rate.
#[derive(Debug, Clone)]
pub struct Bucket {
    bits_per_second: u64,
    due: Instant,
}

impl Bucket {
    /// An empty bucket. At 0 bit/s nothing passes.
    #[must_use]
    pub fn new(bits_per_second: u64, now: Instant) -> Self {
        Self {
            bits_per_second,
            due: now,
        }
    }

    /// The rate in force.
    #[must_use]
    pub fn bits_per_second(&self) -> u64 {
        self.bits_per_second
    }

    /// Changes the rate from now on.
    pub fn set_rate(&mut self, bits_per_second: u64) {
        self.bits_per_second = bits_per_second;
    }

    /// The most that is granted at once: [`PIECE_BYTES`], less at low rates.
    #[must_use]
    pub fn piece_bytes(&self) -> u64 {
        (self.bits_per_second / 8 / PIECES_PER_SECOND).clamp(1, PIECE_BYTES)
    }

    /// Takes up to `wanted` bytes, at most one piece.
    ///
    /// # Errors
    /// When to ask again; `None` while the rate is 0.
    pub fn take(&mut self, now: Instant, wanted: u64) -> Result<u64, Option<Instant>> {
        if self.bits_per_second == 0 {
            return Err(None);
        }
        if self.due > now {
            return Err(Some(self.due));
        }
        let bytes = wanted.min(self.piece_bytes());
        let earliest = now.checked_sub(RATE_CREDIT).unwrap_or(now);
        self.due = self.due.max(earliest) + self.time_of(bytes);
        Ok(bytes)
    }

    fn time_of(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 8_000_000_000;
        let nanos = nanos.div_ceil(u128::from(self.bits_per_second));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The rate of this box: its own, and its share of what the site may use.
#[must_use]
pub fn effective_rate(own: u64, site: Option<protocol::manifest::SiteRate>) -> u64 {
    site.map_or(own, |site| {
        own.min(site.bits_per_second / u64::from(site.appliances.max(1)))
    })
}
