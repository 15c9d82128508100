//! Every bound of the agent, with what it costs.

use std::time::Duration;

/// The most that is granted to one taker at once: what others wait behind. At 1.2 Gbit/s it passes in 0.4 ms.
pub const PIECE_BYTES: u64 = 64 * 1024;

/// The part of a second that one piece may last at low rates: with [`RATE_CREDIT`] the overshoot in any second.
pub const PIECES_PER_SECOND: u64 = 8;

/// What the rate lets catch up after a pause or a late wake-up. Longer pauses are lost: with one piece it is what any second may
/// exceed the rate by, 1.375 x in the worst case.
pub const RATE_CREDIT: Duration = Duration::from_millis(250);

/// Sites open their windows this much apart at most.
pub const SITE_OFFSET_MAX: Duration = Duration::from_secs(30 * 60);

/// The first full-jitter delay is drawn below this.
pub const BACKOFF_BASE: Duration = Duration::from_secs(1);

/// No delay of a backoff is longer.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5 * 60);

/// `Retry-After` is obeyed up to this; a source that asks for more is asked again at this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// What is taken for a `Retry-After` that says nothing readable.
pub const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);

/// Failures in a row that open the breaker of a source.
pub const BREAKER_FAILURES: u32 = 5;

/// Lies in a row that open it: two objects with wrong bytes are no chance.
pub const BREAKER_LIES: u32 = 2;

/// A probe that has not reported after this is taken for lost, and another may go.
pub const PROBE_MAX: Duration = Duration::from_secs(120);

/// What is not in a tier displaces what is there only if this many percent of the latter's demand per byte are its own: a fetch
/// of a little more demand is not worth its bytes on the line.
pub const DISPLACE_PERCENT: u64 = 125;

/// Changes of a plan's moves are tried again as long as one succeeds, this often at most: each try is linear in what waits.
pub const MOVE_ROUNDS: usize = 16;

const _: () = assert!(RATE_CREDIT.as_millis() as u64 + 1000 / PIECES_PER_SECOND < 500);
const _: () = assert!(DISPLACE_PERCENT > 100);
