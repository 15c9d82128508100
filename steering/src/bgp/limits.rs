//! Every bound of the speaker, with what it costs.

use std::time::Duration;

/// The longest message (RFC 4271 section 4.1), bytes. RFC 8654 is not offered.
pub const MESSAGE_BYTES: usize = 4096;

/// Service prefixes that are announced (design: at most 16). One message holds all of one family.
pub const SERVICE_PREFIXES: usize = 16;

/// Hold time that is offered unless configured otherwise.
pub const HOLD_TIME: Duration = Duration::from_secs(30);

/// How long the OPEN of a neighbour is waited for ("a large value", RFC 4271 section 8.2.2).
pub const OPEN_WAIT: Duration = Duration::from_secs(240);

/// How long the OPEN over one of two connections is waited for before the other one is taken, over which one has come; a third of the
/// hold time if that is less.
pub const COLLISION_WAIT: Duration = Duration::from_secs(5);

/// Time until the next attempt to connect after one that failed, the first time; it doubles.
pub const RETRY_LEAST: Duration = Duration::from_secs(5);

/// The most that it doubles to (ConnectRetryTime of RFC 4271 section 10).
pub const RETRY_MOST: Duration = Duration::from_secs(120);

/// How long a neighbour that sent more than `maximum_prefix` is left alone.
pub const OVERFLOW_WAIT: Duration = Duration::from_secs(30 * 60);

/// How long after a session is back an End-of-RIB is waited for before what was not told again is forgotten.
pub const RESYNC_WAIT: Duration = Duration::from_secs(6 * 60);

/// Prefixes taken from one neighbour unless configured otherwise. About 200 bytes each.
pub const MAXIMUM_PREFIX: u32 = 100_000;

/// How long leaving is told before the prefix is withdrawn.
pub const LEAVING: Duration = Duration::from_secs(60);

/// How long a prefix stays away after its first withdrawal; it doubles.
pub const AWAY_LEAST: Duration = Duration::from_secs(60);

/// The most that it doubles to.
pub const AWAY_MOST: Duration = Duration::from_secs(30 * 60);

/// The time in which withdrawals are counted, and after which the doubling is forgotten.
pub const WITHDRAWAL_WINDOW: Duration = Duration::from_secs(3600);

/// So many withdrawals in that time, and only an operator brings the prefix back.
pub const WITHDRAWALS: usize = 4;

/// Answers in a row that the canary must miss before its address counts as lost ..
pub const CANARY_FALL: u32 = 3;

/// .. and get, before it counts as back.
pub const CANARY_RISE: u32 = 3;

const _: () = assert!(19 + 4 + 80 + SERVICE_PREFIXES * 17 <= MESSAGE_BYTES);
