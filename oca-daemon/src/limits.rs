//! Every bound of the daemon, with what it costs.

use std::time::Duration;

/// Bytes of one request head; a longer one is answered 431. Cost: at most this much input is parsed per request.
pub const HEAD_BYTES: usize = 8 * 1024;

/// Fields in one request head; more are answered 431. Cost: 32 bytes of stack each while parsing.
pub const HEAD_FIELDS: usize = 64;

/// Lines of one field that lists entity tags; more are answered 431. Cost: 16 bytes of stack each while parsing.
pub const TAG_LINES: usize = 4;

/// Ranges that one request may ask for; more are not looked at, and the whole is sent (RFC 9110 section 14.2).
/// Cost: 16 bytes each for an answer with several parts, and a comparison with each other.
pub const RANGES: usize = 16;

/// Ranges with at most this many bytes between them are sent as one: a part's head is about as long (RFC 9110 section 14.2).
pub const PART_GAP_BYTES: u64 = 128;

/// A range below this is a small one: its head and its own read cost more than its bytes.
pub const SMALL_RANGE_BYTES: u64 = 64 * 1024;

/// Small ranges that may be asked for in no order; with more of them, the whole is sent (RFC 9110 section 14.2).
pub const SMALL_UNORDERED_RANGES: usize = 4;

/// Answers with several parts whose places a worker keeps for the next ones. Cost: about 300 bytes each.
pub const SPARE_PARTS: usize = 64;

/// Bytes of one rendered response head. Cost: one such scratch buffer per worker.
pub const RESPONSE_HEAD_BYTES: usize = 2 * 1024;

/// Bytes that one connection may send before another has its turn.
pub const QUANTUM_BYTES: u64 = 256 * 1024;

/// Kernel send buffer of one connection, in bytes (the kernel doubles it for its own overhead), until its path turns out to hold more.
/// Cost: this times the number of busy connections, in kernel memory and, worse, in cache.
pub const SEND_BUFFER_BYTES: u32 = 256 * 1024;

/// What one that may grow takes at most: the third value of net.ipv4.tcp_wmem as Linux has it (tcp(7)).
pub const GROWN_SEND_BUFFER_BYTES: u64 = 4 << 20;

/// How often a send buffer must have been full before the path is looked at; then at each doubling of that. Cost: a system call each.
pub const LOOKS_AT_PATH_FROM: u32 = 8;

/// Provided receive buffers of one worker and their size. Cost: 1 MiB per worker.
pub const RECEIVE_BUFFERS: u16 = 256;
/// Bytes of one provided receive buffer.
pub const RECEIVE_BUFFER_BYTES: u32 = 4 * 1024;

/// Pipelined input kept while a response is being sent, in bytes; receiving is stopped beyond it.
pub const PIPELINED_BYTES: usize = HEAD_BYTES + RECEIVE_BUFFER_BYTES as usize;

/// Buffers for unfinished heads that a worker keeps for the next ones. Cost: at most this times twice [`PIPELINED_BYTES`].
/// An unfinished head itself costs what it is long.
pub const SPARE_BUFFERS: usize = 64;

/// Connections of one worker unless the configuration says otherwise. Cost: about 512 bytes each when idle.
pub const CONNECTIONS_PER_WORKER: u32 = 32 * 1024;

/// Sockets that a worker holds beyond its connections: those that are told that there is no place, and those just accepted,
/// to be closed at once. Cost: as a connection each.
pub const CONNECTIONS_SPARE: u32 = 64;

/// Connections without a place that one worker tells so, at once; more are just closed.
pub const TURNED_AWAY: usize = 48;

/// One address may have this share of all connections, unless the configuration says otherwise,
pub const ADDRESS_SHARE: u64 = 4;
/// but never fewer than this: hundreds of viewers may be behind one NAT.
pub const ADDRESS_LEAST: u64 = 1024;

/// Rows and cells of the table that counts connections by address: with as many connections as cells, about one in seven
/// addresses counts one too high. Cost: 512 KiB, and two cache lines for each connection.
pub const ADDRESS_ROWS: usize = 2;
/// See [`ADDRESS_ROWS`].
pub const ADDRESS_CELLS: usize = 64 * 1024;

/// Bytes that a client may send before its handshake is done: a certificate of its own, and early data that is not wanted, are the most.
/// Cost: at most this much while the handshake lasts, and what rustls makes of it.
pub const HANDSHAKE_BYTES: usize = 64 * 1024;

/// Handshakes that the thread beside a worker has at once: one in work, one that it goes on with while the worker takes the first. On a
/// core that is never idle these wait longest: the kernel gives the thread 0.3 % of it.
pub const HANDSHAKES_BESIDE: usize = 2;

/// A handshake that has waited so long for the thread beside its worker goes on in the worker itself.
pub const HANDSHAKE_WAIT: Duration = Duration::from_millis(10);

/// Handshakes go on in a turn of a worker until so much time has passed, and one at least does: a viewer never waits for more than this and
/// one handshake.
pub const HANDSHAKES_PER_TURN: Duration = Duration::from_micros(200);

/// Bytes that a worker seals before it sends them: four records. More do not stay in the core's cache.
pub const SEAL_BYTES: usize = 64 * 1024;

/// Bytes that one connection over TLS may send before another has its turn: sealing costs about three times what sending does.
pub const SEALED_QUANTUM_BYTES: u64 = 128 * 1024;

/// Buffers of sealed bytes that sockets had no room for, of one worker. Cost: 66 KiB each, made when first needed and kept. When all are in
/// use, one record is sealed at a time, and what its socket does not take is kept by the connection: so a viewer who never reads holds at
/// most 17 KiB, beside twice [`SEND_BUFFER_BYTES`] in the kernel, however many there are.
pub const SEALED_BUFFERS: usize = 512;
/// As many are made at the start, if TLS is spoken.
pub const SEALED_BUFFERS_READY: usize = 8;

/// Records in sequence that carry no byte of a request, KeyUpdates and empty ones; a client that sends more is cut off.
pub const RECORDS_WITHOUT_DATA: u32 = 32;

/// So many records before a key may seal no more, it is replaced, or (TLS 1.2) the connection ends after its answer: 16 GiB.
pub const WORN_RECORDS: u64 = 1 << 20;

/// Ciphertext that is kept because its connection is busy with an answer. A peer is told to wait long before: only what had been received
/// until then comes here, which is less than all buffers of the worker.
pub const CIPHERTEXT_KEPT_BYTES: usize =
    RECEIVE_BUFFERS as usize * RECEIVE_BUFFER_BYTES as usize + HANDSHAKE_BYTES;

/// Device reads that one worker may have out at once. Cost: 32 bytes each, twice.
pub const READS_PER_WORKER: u32 = 16 * 1024;

/// Device reads that one transfer may have out or unsent at once: one being sent, one coming.
pub const READS_PER_TRANSFER: usize = 2;

/// A worker looks at its deadlines, and at what other threads changed, at least this often.
pub const RECHECK: Duration = Duration::from_secs(1);

/// A viewer that takes no byte of a device buffer for this long gives it back.
pub const BUFFER_HOLD: Duration = Duration::from_secs(3);

/// While others wait for buffers, a viewer may hold one so long, and for as long as it drains it at [`BUFFER_DRAIN_BYTES_PER_S`]; one
/// that did not holds none any more while its socket is full. Cost: what it had not taken is read again.
pub const BUFFER_HOLD_SHORT: Duration = Duration::from_millis(500);

/// When many wait for each buffer, a viewer whose socket is full holds one for its share of [`BUFFER_HOLD_SHORT`], but never less.
pub const BUFFER_HOLD_LEAST: Duration = Duration::from_millis(20);

/// How often viewers are looked at who hold a buffer while their sockets are full. There are no more of them than buffers.
pub const HOLDERS_EVERY: Duration = Duration::from_millis(10);

/// Slower than any film plays: 0.5 Mbit/s.
pub const BUFFER_DRAIN_BYTES_PER_S: u64 = 64 * 1024;

/// Bytes per read planned for a device that is not among the configured ones; such a read is refused anyway.
pub const READ_UNIT_UNKNOWN: u64 = 256 * 1024;

/// A connection that we closed for writing is drained at most this long, so that the peer can read the answer.
pub const LINGER: Duration = Duration::from_secs(2);
/// Bytes drained from such a connection before it is closed all the same.
pub const LINGER_BYTES: u64 = 256 * 1024;

/// Seconds that a 503, or the 429 of a fill, asks the client to wait.
pub const RETRY_AFTER_SECONDS: u32 = 2;

/// Objects that were served and that the report has not looked at yet. Cost: 16 bytes each; the bytes of more wait at the object.
pub const SERVED_QUEUE: usize = 16 * 1024;

/// Bytes of a path that is counted when it is missed: no object has a longer one.
pub const MISSED_PATH_BYTES: usize = protocol::limits::PATH_MAX_BYTES;

/// Missed paths that the report has not looked at yet. Cost: [`MISSED_PATH_BYTES`] each; more are left out.
pub const MISSED_QUEUE: usize = 512;

/// The memory tier's share of the machine's memory unless configured: one half.
pub const MEMORY_TIER_SHARE: u64 = 2;

/// The share of the machine's memory for bytes read from devices and not yet sent, unless configured: one eighth.
pub const IN_FLIGHT_SHARE: u64 = 8;

/// Memory of the daemon for each object in the catalog, with one path and one column: `oca-bench catalog` (docs/performance.md).
pub const INDEX_BYTES_PER_OBJECT: u64 = 238;

/// Memory of the fill agent for each object while it plans: 0.71 GB at most for 834 051 (docs/performance.md).
pub const AGENT_BYTES_PER_OBJECT: u64 = 850;

/// What the kernel lets all TCP sockets hold, in thousandths of memory: the third value of net.ipv4.tcp_mem as it is set at boot, one and
/// a half times a sixteenth of the machine's pages (tcp(7), `tcp_init_mem`).
pub const SOCKETS_PER_MILLE: u128 = 94;

/// The programs without what is counted above, as the benchmark of the memory tier leaves for it.
pub const PROGRAM_BYTES: u64 = 40 << 20;

/// Reads of devices that the memory tier has not looked at yet. Cost: 32 bytes each; more are forgotten, not queued.
pub const ADMISSION_QUEUE: usize = 4096;

/// The memory tier counts in this part of one read of a whole piece: 32 KiB of a piece of 2 MiB.
pub const READ_USES: u32 = 64;

/// Uses of a piece before it may come into memory: the second viewer's first quarter.
pub const ADMISSION_USES: u32 = READ_USES + READ_USES / 4;

/// So many more uses than another piece must one have to take its place. Bringing it in is a read in itself, and chance makes counts
/// differ by another: with less, a library that is wanted evenly has more than 5 % of what is sent read to no use.
pub const EVICTION_MARGIN_USES: u32 = 2 * READ_USES;

/// The most uses that the plan of the content may lend to a piece.
pub const EXPECTED_USES_MAX: u32 = 256 * READ_USES;

/// The memory tier's counts are halved after so many times its budget of traffic.
pub const FADING_BUDGETS: u64 = 10;

/// There is room to count the uses of one piece for so many bytes of the budget. Cost: 16 to 32 bytes for each.
pub const SKETCH_BYTES_PER_PIECE: u64 = 256 * 1024;

/// There is room to count the uses of this many pieces at least. Cost: 64 KiB.
pub const SKETCH_PIECES_MIN: usize = 4096;

/// The most pieces that go for one that comes: pieces at the end of a file are small.
pub const EVICTIONS_PER_ADMISSION: usize = 32;

/// Pieces that the memory tier loads at once, over all devices. Cost: 2 MiB of reading each.
pub const LOADS_IN_FLIGHT: usize = 16;

/// Locked pieces that are looked at to find one that goes.
pub const EVICTION_SAMPLE: usize = 16;

/// How often the memory tier looks at its candidates.
pub const MEMORY_TIER_TURN: Duration = Duration::from_millis(20);

/// How often the memory tier asks what was sent of what is in memory. Cost: about 50 ns for each piece.
pub const TAKE_USES_EVERY: Duration = Duration::from_secs(1);

/// How often the catalog's generation is looked at. Content is seen at most this much later.
pub const CATALOG_POLL: Duration = Duration::from_millis(200);

/// How long the start waits for devices, and for the state disk, to be looked at; those that answer later are taken in then.
pub const FIRST_LOOK: Duration = Duration::from_secs(3);

/// Reads in flight on a device that is read in small units. Cost: a thread each.
pub const FLASH_READERS: u8 = 8;
/// Reads in flight on a device that is read in large units.
pub const HDD_READERS: u8 = 4;
/// A read unit above this is a large one, in bytes.
pub const LARGE_READ_BYTES: u64 = 1024 * 1024;

/// A device with less room than this counts as full: not even one verified group with its sidecar fits, in bytes.
pub const FULL_BYTES: u64 = 2 * 1024 * 1024;

/// Reads that may wait at one device. Cost: about 100 bytes each; a viewer beyond it is answered 503.
pub const DEVICE_QUEUE: u32 = 8 * 1024;

/// Records of the access log of one worker: of its requests that are being answered or that wait for the writer. Cost: about 1.2 KiB
/// each, if there is an access log. A request beyond them has no line.
pub const LOG_RECORDS: usize = 4096;

/// How often the writer of the access log looks at what is finished: [`LOG_RECORDS`] in this time are 80 000 lines a second and worker.
pub const LOG_TURN: Duration = Duration::from_millis(50);

/// The access log is written in pieces of about this many bytes.
pub const LOG_BATCH_BYTES: usize = 64 * 1024;

/// Bytes of a method in the access log.
pub const LOG_METHOD_BYTES: usize = 16;
/// Bytes of a path in the access log.
pub const LOG_PATH_BYTES: usize = 512;
/// Bytes of a `Range` in the access log.
pub const LOG_RANGE_BYTES: usize = 64;
/// Bytes of a `User-Agent` in the access log.
pub const LOG_AGENT_BYTES: usize = 192;

/// Bytes of `cid` and `sid` of CMCD; CTA-5004 allows 64 characters.
pub const CMCD_ID_BYTES: usize = 64;

const _: () = assert!(HEAD_BYTES >= RECEIVE_BUFFER_BYTES as usize);
const _: () = assert!(READS_PER_TRANSFER >= 2);
const _: () = assert!(TURNED_AWAY < CONNECTIONS_SPARE as usize);
const _: () = assert!(BUFFER_HOLD_SHORT.as_millis() < BUFFER_HOLD.as_millis());
const _: () = assert!(MISSED_PATH_BYTES <= u16::MAX as usize);

/// Connections to one admin address at once; more wait in the kernel's queue. Cost: a descriptor and about 20 KiB each.
pub const ADMIN_CONNECTIONS: usize = 64;

/// A connection to an admin address ends after this without a byte. Longer than any common scrape interval.
pub const ADMIN_IDLE: Duration = Duration::from_secs(150);

/// How long an admin address waits after an accept that failed.
pub const ADMIN_ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections to the operator socket at once; more wait. Cost: a descriptor each, and one line's bytes.
pub const OPERATOR_CONNECTIONS: usize = 16;

/// A connection to the operator socket ends after this without a line.
pub const OPERATOR_IDLE: Duration = Duration::from_secs(60);

/// Bytes of one request on the operator socket: names and a reason are short.
pub const OPERATOR_LINE_BYTES: u64 = 64 * 1024;

/// Requests of operators that wait for the control loop. Cost: about 200 bytes each.
pub const OPERATOR_QUEUE: usize = 16;

/// Bytes that are read of the file with the operator's intent.
pub const INTENT_BYTES: u64 = 64 * 1024;

/// How often the control loop looks at everything: health has its three samples in three seconds.
pub const CONTROL_TICK: Duration = Duration::from_secs(1);

/// How often the interfaces that serve are looked at. Cost: a few files of sysfs for each interface of the system.
pub const INTERFACE_TICK: Duration = Duration::from_secs(1);

/// How often the files are looked at that tell of the disks' wear.
pub const SMART_TICK: Duration = Duration::from_secs(60);

/// What was told longer ago than this is not told any more: the program beside the daemon asks every hour.
pub const SMART_OLD: Duration = Duration::from_secs(2 * 24 * 3600);

/// The most of those files that are read.
pub const SMART_FILES: usize = 256;

/// Bytes read of one of them; smartctl prints about 30 KiB.
pub const SMART_BYTES: u64 = 1 << 20;

/// Time over which errors of an interface are counted. Cost: 32 bytes for each look in it, and each interface that serves.
pub const INTERFACE_WINDOW: Duration = Duration::from_secs(60);

/// Fewer errors than this in [`INTERFACE_WINDOW`] are none: single ones come with every reconfiguration of a link.
pub const INTERFACE_ERRORS: u64 = 10;

/// Worth a word is more than one error among this many packets: from there on TCP slows down noticeably on a path of 20 ms
/// (Mathis et al. 1997: 1.2 x 1460 bytes / 20 ms / sqrt(1/10 000), 70 Mbit/s for each viewer).
pub const INTERFACE_ERROR_SHARE: u64 = 10_000;

/// Time over which the rate of bytes sent is measured. Cost: 24 bytes for each tick in it.
pub const EGRESS_WINDOW: Duration = Duration::from_secs(10);

/// A worker that is so late counts as stuck: its turn takes this long, or it does not come back from a wait.
pub const WORKER_STUCK: Duration = Duration::from_secs(1);

/// For this long more than half of the workers may be stuck, unless `WATCHDOG_USEC` says otherwise; then the daemon gives up.
pub const WORKERS_STUCK: Duration = Duration::from_secs(30);

/// The longest that the state disk may take to keep an operator's intent; the operator is told otherwise.
pub const STATE_DISK_WAIT: Duration = Duration::from_secs(5);

/// Bytes that are read of a file with certificates or a key: a chain of three has about 6 KiB.
pub const PEM_BYTES: u64 = 1 << 20;

/// How often the files of certificates are read to see whether they have changed. Cost: two small reads for each, beside the workers.
pub const CERTIFICATES_EVERY: Duration = Duration::from_secs(2);

/// Files of certificates that do not fit together are no news until they have lain so for this long: a certificate and its key are
/// replaced one after the other.
pub const CERTIFICATES_SETTLE: Duration = Duration::from_secs(10);

/// A certificate that ends sooner is a cause: renewals are due a month before, so one has failed for two weeks.
pub const CERTIFICATE_ENDS: Duration = Duration::from_secs(14 * 86_400);

/// A certificate that ends sooner is called urgent.
pub const CERTIFICATE_ENDS_SOON: Duration = Duration::from_secs(3 * 86_400);

/// Of certificates that live for weeks or days, no more than one part of so many of their life counts as the end of it: they are
/// renewed when a third is left.
pub const CERTIFICATE_ENDS_SHARE: u32 = 6;

/// The longest that one listening address may take to answer the self-test.
pub const SELF_TEST_WAIT: Duration = Duration::from_secs(2);

/// How long a reload of the catalog may take before the operator is told that the state disk does not answer.
pub const RELOAD_WAIT: Duration = Duration::from_secs(10);

/// The longest from the start of a successor until it serves, whatever the operator allows.
pub const UPGRADE_WAIT: Duration = Duration::from_secs(600);

/// How long a successor that serves waits until the one before has told its routers that it ends.
pub const PREDECESSOR_WAIT: Duration = Duration::from_secs(10);

/// How long all workers of a successor may take to let viewers in, once they are told.
pub const LET_IN_WAIT: Duration = Duration::from_secs(5);

/// How often the control loop looks whether a stop is complete.
pub const STOP_TICK: Duration = Duration::from_millis(50);

/// How much longer the service manager waits while transfers finish, told at each [`STOP_TICK`]. The unit's `TimeoutStopSec=` is this, too.
pub const STOP_EXTENSION: Duration = Duration::from_secs(3);

/// What workers may take to cut what still runs when `serve.stop_bound` has passed.
pub const CUT_GRACE: Duration = Duration::from_millis(500);

/// How long after a self-test that failed the next one is made, before one has passed.
pub const SELF_TEST_AGAIN: Duration = Duration::from_secs(5);

/// How often a box in service looks whether somebody listens where viewers connect. Cost: a connection to each address.
pub const SELF_TEST_EVERY: Duration = Duration::from_secs(10);

/// How often what the workers noted is taken over: their queues are short.
pub const TALLY_EVERY: Duration = Duration::from_secs(1);

/// Objects that were served and of which no report was answered yet. Cost: about 60 bytes each; the bytes of more are forgotten,
/// and counted.
pub const SERVED_KEPT: usize = 100_000;

/// Paths that were missed and of which no report was answered yet. Cost: at most [`MISSED_PATH_BYTES`] each.
pub const MISSED_KEPT: usize = 2_000;

/// Objects in one report; the others follow in the next ones. Cost: about 100 bytes each.
pub const REPORT_SERVED: usize = 10_000;

/// Missed paths in one report.
pub const REPORT_MISSES: usize = 100;

/// A report of more bytes is packed.
pub const REPORT_PLAIN_BYTES: usize = 16 * 1024;

/// The longest that one report may take, with its answer. A million objects have 35 MB packed: 9 Mbit/s.
pub const REPORT_WAIT: Duration = Duration::from_secs(30);

/// Between two rounds of questions to site-mates.
pub const NEIGHBOUR_PAUSE: Duration = Duration::from_secs(3);

/// A site-mate that has not answered so often in a row is told as one that does not answer.
pub const NEIGHBOUR_FAILURES: u32 = 3;

/// Site-mates that are tried: each costs a connection every few seconds.
pub const NEIGHBOURS_MAX: usize = 16;

/// The shortest time between two tables of routes: one of 200 000 takes about half a second of the BGP thread's time, in pieces.
pub const ROUTES_PAUSE: Duration = Duration::from_secs(30);

/// After so long it is believed that routers tell nothing.
pub const ROUTES_SETTLE: Duration = Duration::from_secs(180);

/// How long the control endpoint is waited for when a drain is asked for. An operator sits before it.
pub const LEASE_WAIT: Duration = Duration::from_secs(8);

/// The longest that a connection to the control endpoint may take, or the look-up of a name.
pub const REPORT_CONNECT_WAIT: Duration = Duration::from_secs(5);

/// The shortest and the longest pause between two reports that the control endpoint may ask for.
pub const REPORT_PAUSE_MIN: Duration = Duration::from_secs(1);
/// See [`REPORT_PAUSE_MIN`].
pub const REPORT_PAUSE_MAX: Duration = Duration::from_secs(300);

/// After failures, reports are tried at least this often.
pub const REPORT_RETRY_MAX: Duration = Duration::from_secs(30);

/// The fill agent tells of itself every 5 s; after this without a word it is called silent, and what it said is not told any more.
pub const AGENT_SILENCE: Duration = Duration::from_secs(30);

/// Damage that waits to be taken over from the threads of the devices. Cost: 48 bytes each.
pub const DAMAGE_QUEUE: usize = 1024;

/// Damaged columns of which the fill agent has not answered yet. Cost: about 100 bytes each; more are found again in the index.
pub const DAMAGE_WAITING: usize = 16_384;

/// How often the fill agent is told of damage, if there is any.
pub const DAMAGE_EVERY: Duration = Duration::from_secs(1);

/// For an answer of the fill agent: it commits to the catalog first.
pub const AGENT_WAIT: Duration = Duration::from_secs(15);

/// Bytes that are read of `control.token_file`.
pub const TOKEN_BYTES: u64 = 4096;

/// Characters of another program's words that are told to people.
pub const PROBLEM_TEXT_CHARS: usize = 300;

const _: () = assert!(CERTIFICATE_ENDS_SOON.as_secs() < CERTIFICATE_ENDS.as_secs());
const _: () = assert!(SEALED_BUFFERS_READY <= SEALED_BUFFERS);
const _: () = assert!(REPORT_SERVED <= SERVED_KEPT && REPORT_MISSES <= MISSED_KEPT);
const _: () = assert!(REPORT_PAUSE_MIN.as_secs() < REPORT_PAUSE_MAX.as_secs());

/// What has happened to connections with routers and was not looked at yet. While it is full, nothing is read: 16 x
/// [`BGP_READ_BYTES`] at most.
pub const BGP_HEARD: usize = 16;

/// Bytes read from a router at once; some 3000 routes, of which the machine takes less than 10 ms.
pub const BGP_READ_BYTES: usize = 64 * 1024;

/// How long what came in is looked at before the clock is.
pub const BGP_TURN: Duration = Duration::from_millis(50);

/// How often the service addresses are looked at, and the status is told.
pub const BGP_LOOK: Duration = Duration::from_secs(1);

/// How often a service address is asked whether it answers, and how soon again once it did not.
pub const BGP_CANARY: Duration = Duration::from_secs(5);

/// A worker that works for this part of its time is saturated: what it does not answer then is a matter of load.
pub const SATURATED_SHARE: f64 = 0.9;

/// How long a connection to a router may take to open.
pub const BGP_CONNECT: Duration = Duration::from_secs(10);

/// Messages that wait for a router to read. It takes a KEEPALIVE every ten seconds to fill it.
pub const BGP_OUTBOX: usize = 64;

/// How long one message may wait for room in the socket: as long as a hold time.
pub const BGP_WRITE: Duration = Duration::from_secs(30);

/// How long a router may take to close its end after the last words.
pub const BGP_LINGER: Duration = Duration::from_secs(2);

/// How long the daemon's end waits for that.
pub const BGP_STOP: Duration = Duration::from_millis(500);

/// Questions of operators that wait.
pub const BGP_QUESTIONS: usize = 4;

/// Bytes read of a file with a password.
pub const BGP_PASSWORD_BYTES: u64 = 1024;
