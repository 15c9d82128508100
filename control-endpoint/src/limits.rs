//! Every bound of this crate, with what it costs.

use std::time::Duration;

/// Connections to the database: one writes, the others read beside it.
pub const DATABASE_CONNECTIONS: u32 = 4;

/// How long a writer waits for another: an inventory of a million objects takes some seconds.
pub const DATABASE_PATIENCE: Duration = Duration::from_secs(60);

/// Files registered by one commit; a killed ingest hashes at most these anew.
pub const BATCH_FILES: usize = 500;

/// A commit is due after this long, however few files there are.
pub const BATCH_TIME: Duration = Duration::from_secs(5);

/// One read from a file on its way to an appliance: two of them are in memory per fill.
pub const PIECE_BYTES: usize = 256 * 1024;

/// A client that takes none of its bytes for this long is cut, so that it does not keep others out.
pub const STALL_TIME: Duration = Duration::from_secs(60);

/// Handshakes of TLS under way: each may hold some 64 KiB, and keeps a core busy for about a millisecond.
pub const HANDSHAKES_AT_ONCE: usize = 256;

/// A client that has not done its handshake by then is let go.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long a client that was refused may take to read why.
pub const PARTING_TIME: Duration = Duration::from_secs(1);

/// What it has sent meanwhile is thrown away up to this much.
pub const PARTING_BYTES: u64 = 64 << 10;

/// How often the files of `[tls]` are looked at. A change is taken over when it has been the same twice.
pub const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(2);

/// The whole body of a report must have come by then.
pub const REPORT_TIME: Duration = Duration::from_secs(120);

/// A report up to this size is read whenever it comes; a zstd frame of it unpacks to at most
/// [`REPORT_MAX_BYTES`](protocol::limits::REPORT_MAX_BYTES).
pub const SMALL_REPORT_BYTES: usize = 1 << 20;

/// Larger ones that are read at once: each may hold [`REPORT_MAX_BYTES`](protocol::limits::REPORT_MAX_BYTES) twice.
pub const LARGE_REPORTS_AT_ONCE: usize = 4;

/// When an appliance is asked to come again with its fill, in seconds.
pub const RETRY_AFTER_S: u64 = 5;

/// When the next report is wanted, in seconds.
pub const REPORT_INTERVAL_S: u32 = 10;

/// An appliance that has not reported for this long is not counted upon by its cluster.
pub const ALIVE_S: u64 = 120;

/// Takedowns are kept for a year: by then every appliance that still exists has carried them out.
pub const TOMBSTONE_KEPT_S: u64 = 366 * 86_400;

/// An object stays urgent for a day: by then a window has passed.
pub const URGENT_S: u64 = 86_400;

/// Popularity halves in this time.
pub const HALF_LIFE_S: u64 = 7 * 86_400;

/// Quiet time after something urgent, so that one build answers many changes.
pub const DEBOUNCE: Duration = Duration::from_secs(2);

/// The longest that something urgent waits for quiet.
pub const DEBOUNCE_MAX: Duration = Duration::from_secs(20);

/// How often the database is asked whether something urgent was published by another process.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A copied object that nothing leads to is deleted after this long.
pub const UNCLAIMED_S: i64 = 86_400;

/// Between two attempts to renew manifests that near their end.
pub const RENEW_AGAIN_S: u64 = 600;

/// Rows of one answer that lists objects.
pub const LIST_MAX: u32 = 1000;

/// Most of what is stored of a report: an appliance with 256 devices has about 200 KiB.
pub const REPORT_KEPT_BYTES: usize = 4 << 20;

/// An epoch beyond this is no epoch: no endpoint was restored that often.
pub const EPOCH_MAX: u64 = 1 << 32;

/// Percent of the reported size of devices that are filled: the rest stays below the appliance's high watermark.
pub const ROOM_PERCENT: u64 = 90;

/// How long running answers may take when the program is stopped.
pub const STOP_TIME: Duration = Duration::from_secs(10);

/// Peers named in one manifest: each costs the agent a connection pool. The rest is left for upstreams and origins.
pub const PEERS_MAX: usize = 960;

/// Addresses kept of one appliance.
pub const URLS_MAX: usize = 8;

/// Upstreams of one appliance.
pub const UPSTREAMS_MAX: usize = 16;

/// Sites open their windows this much apart at most.
pub const SITE_OFFSET_MAX_S: u64 = 30 * 60;

/// `[[origin]]` entries.
pub const ORIGINS_MAX: usize = 32;

const _: () = assert!(PEERS_MAX + UPSTREAMS_MAX + ORIGINS_MAX < protocol::limits::SOURCES_MAX);

/// The longest `steering.ttl`, in seconds: a drain waits for it.
pub const TTL_MOST_S: u32 = 3600;

/// `[[operator]]` entries.
pub const OPERATORS_MAX: usize = 1000;

/// Routes of one appliance that are taken: a table of the whole Internet, for which 30 MB are sent.
pub const ROUTES_MAX: usize = 2_000_000;

/// Bytes of such a table, unpacked.
pub const ROUTES_MAX_BYTES: usize = 128 << 20;

/// Routes that are listed because they are not used.
pub const UNUSED_LISTED: usize = 1000;

/// Prefixes that are listed of those that an appliance lacks.
pub const GAPS_LISTED: usize = 100;

/// How long it may take until steering sees that a path was published or taken down, or an object has come.
pub const HOLDERS_COUNT: Duration = Duration::from_secs(10);

/// Paths whose holders are remembered for so long: about 200 bytes each.
pub const HOLDERS_REMEMBERED: usize = 65_536;

/// How often steering looks at the fleet.
pub const LOOK_AT_FLEET: Duration = Duration::from_secs(1);

/// Site-mates that an appliance is asked to try.
pub const NEIGHBOURS_MAX: usize = 16;

/// A wish to drain has at most this many bytes.
pub const DRAIN_WISH_BYTES: usize = 64 << 10;

/// When a viewer is asked to come again for whom there is no place, in seconds.
pub const NOWHERE_RETRY_S: u64 = 10;
