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

/// Rounds in which a plan is tried, as long as a round achieves something: each is linear in what waits. Two are the rule.
pub const PLAN_ROUNDS: usize = 64;

/// Objects that belong in a lower tier and find no room there, before it is not tried further for the sake of one object.
pub const SINK_TRIES: usize = 16;

// Sources.

/// What a connection reads at once; hyper may double it. Small, so that TCP slows the sender when the rate is reached. It is also the
/// longest head of an answer.
pub const READ_BYTES: usize = 32 << 10;

/// Fields in the head of an answer.
pub const HEADERS_MAX: usize = 100;

/// Addresses of one name that are tried.
pub const ADDRESSES_MAX: usize = 4;

/// Redirects that are followed for one request.
pub const REDIRECTS_MAX: usize = 3;

/// Connections that wait for their next request, and for how long. Servers close theirs after 5 s to 75 s; one that is closed costs a
/// second try.
pub const IDLE_CONNECTIONS_MAX: usize = 64;
/// See [`IDLE_CONNECTIONS_MAX`].
pub const IDLE_CONNECTION_AGE: Duration = Duration::from_secs(30);

/// For a connection to one address, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From a request to the end of the head of its answer. An upstream appliance may have to wait for a disk.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// Without any byte of a body.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// A source that gives less than [`SPEED_MIN_BYTES_PER_S`] over so much waiting for it is left.
pub const SPEED_WINDOW: Duration = Duration::from_secs(30);
/// The slowest transfer that is kept: many of them share a long line.
pub const SPEED_MIN_BYTES_PER_S: u64 = 16 << 10;

/// Objects that a peer has not got yet are asked for again at most this often, all together.
pub const MISS_SPACING: Duration = Duration::from_millis(20);

// Fetches.

/// One request asks for so much of an object.
pub const RANGE_BYTES: u64 = 8 << 20;
/// Ranges of one object that are asked for at once: with `fill.parallel` objects, so much memory each.
pub const LOOK_AHEAD_RANGES: usize = 2;
/// Rounds through all sources, none of which gives an object, until it is given up for this plan.
pub const ROUNDS_MAX: u32 = 3;
/// An object that is half written waits with its files open for a source that is busy for so long.
pub const BUSY_IN_PLACE: Duration = Duration::from_secs(15);
/// How long one write, or one sync, may take before its device counts as failed.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// An object whose device does not answer comes back after this.
pub const DEVICE_PAUSE: Duration = Duration::from_secs(30);
/// Failures that status shows.
pub const FAILURES_SHOWN: usize = 20;

const _: () = assert!(RATE_CREDIT.as_millis() as u64 + 1000 / PIECES_PER_SECOND < 500);
const _: () = assert!(DISPLACE_PERCENT > 100);
const _: () = assert!(RANGE_BYTES.is_multiple_of(content_store::limits::GROUP_BYTES));

// The loop, its state, and whom it talks to.

/// Columns of a device of which the daemon is not certain, and bad ones that are not in the catalog yet. Cost: about 100 bytes each.
pub const SUSPECTS_WAITING: usize = 1024;

/// How often a thread of the scrub looks whether there is something to do, or whether its device is back.
pub const SCRUB_AGAIN: Duration = Duration::from_secs(1);

/// Objects that are read from the catalog at once for the scrub. Cost: about 200 bytes each, for each device.
pub const SCRUB_LIST: usize = 16_384;

/// How often it is kept where the scrub is: what is read twice after a restart.
pub const SCRUB_NOTE: Duration = Duration::from_secs(30);

/// How often the loop looks at what time alone changes.
pub const TICK: Duration = Duration::from_secs(1);

/// News that wait for the loop. Cost: about 200 bytes each, and a manifest with some.
pub const EVENTS_WAITING: usize = 16;

/// Fetched objects that wait for the publisher. Cost: their descriptors.
pub const OUTCOMES_WAITING: usize = 8;

/// Bytes that are read of a file of the state, but for the signed documents: names and a few numbers.
pub const STATE_MAX_BYTES: u64 = 64 << 10;

/// Bytes that are read of a key or a token.
pub const KEY_MAX_BYTES: u64 = 64 << 10;

/// For a connection to the control endpoint, TLS included.
pub const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// Without any byte from the control endpoint.
pub const CONTROL_SILENCE: Duration = Duration::from_secs(30);

/// For a whole signed document: 256 MiB at 3 Mbit/s.
pub const DOCUMENT_WAIT: Duration = Duration::from_secs(900);

/// Outside the window a manifest is asked for every so many `fill.takedown_interval`, for urgent objects: an unchanged one costs one
/// answer without a body.
pub const CONTACTS_OUTSIDE: u32 = 3;

/// A control endpoint that does not answer is asked again at the latest after this.
pub const CONTACT_RETRY_MAX: Duration = Duration::from_secs(60);

/// An address for metrics at which another process listens is tried again after this.
pub const METRICS_RETRY: Duration = Duration::from_secs(2);

/// For an answer of the daemon; its reload takes up to 10 s.
pub const DAEMON_WAIT: Duration = Duration::from_secs(12);

/// How often the daemon is told the agent's facts; after 30 s without, it counts the agent as silent.
pub const FACTS_EVERY: Duration = Duration::from_secs(5);

/// For what is whole to be published after SIGTERM. What is not is found again at the next start.
pub const STOP_BOUND: Duration = Duration::from_secs(30);

/// How much longer the service manager waits meanwhile, told at each [`TICK`]. The unit's `TimeoutStopSec=` is this, too.
pub const STOP_EXTENSION: Duration = Duration::from_secs(10);

/// For a device to say who it is and what room it has.
pub const DEVICE_WAIT: Duration = Duration::from_secs(5);

/// What is fetched waits so long at most for others to be published with.
pub const BATCH_WAIT: Duration = Duration::from_secs(10);

/// How often it is looked whether anything else is coming.
pub const FLUSH_LOOK: Duration = Duration::from_millis(200);

/// What readers still use is not unlinked for so long.
pub const REAP_PATIENCE: Duration = Duration::from_secs(60);

/// How often readers are asked meanwhile.
pub const REAP_AGAIN: Duration = Duration::from_millis(500);

/// A takedown that somebody else's writer lock keeps is tried again after this.
pub const TAKEDOWN_AGAIN: Duration = Duration::from_secs(2);

/// A plan of which nothing could be done is made anew after this.
pub const PLAN_AGAIN: Duration = Duration::from_secs(30);

/// The same while somebody else writes, as `ocactl content import`.
pub const LOCK_AGAIN: Duration = Duration::from_secs(5);

/// A plan is looked over after this: devices may have come, or gone.
pub const PLAN_AGE: Duration = Duration::from_secs(300);

/// How often the devices are looked at for those who ask how they are. Cost: a file is opened on each.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often it is looked whether a device is back, or something lies on one that is being evacuated.
pub const TEND_EVERY: Duration = Duration::from_secs(30);

/// Connections to the operator socket at once; more wait. Cost: a descriptor each, and one line's bytes.
pub const OPERATOR_CONNECTIONS: usize = 16;

/// A connection to the operator socket ends after this without a line.
pub const OPERATOR_IDLE: Duration = Duration::from_secs(60);

/// Bytes of one request on the operator socket.
pub const OPERATOR_LINE_BYTES: u64 = 64 << 10;

/// Requests that wait for the loop.
pub const OPERATOR_QUEUE: usize = 16;

/// How long the loop may take to answer.
pub const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How long a socket waits after an accept that failed.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Entries of each list of a plan that are shown at most: a line of the operator socket has 4 MiB.
pub const PLAN_SHOWN: usize = 2000;

/// Openings and closings that are shown.
pub const CHANGES_SHOWN: usize = 8;

/// Sources with metrics of their own; the others are added up as `other`.
pub const SOURCES_MEASURED: usize = 64;

const _: () = assert!(REAP_PATIENCE.as_secs() <= 60);
const _: () = assert!(2 * READ_BYTES as u64 <= PIECE_BYTES);
