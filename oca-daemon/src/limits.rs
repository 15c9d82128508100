//! Every bound of the daemon, with what it costs.

use std::time::Duration;

/// Bytes of one request head; a longer one is answered 431. Cost: at most this much input is parsed per request.
pub const HEAD_BYTES: usize = 8 * 1024;

/// Fields in one request head; more are answered 431. Cost: 32 bytes of stack each while parsing.
pub const HEAD_FIELDS: usize = 64;

/// Bytes of one rendered response head. Cost: one such scratch buffer per worker.
pub const RESPONSE_HEAD_BYTES: usize = 2 * 1024;

/// Bytes that one connection may send before another has its turn.
pub const QUANTUM_BYTES: u64 = 256 * 1024;

/// Kernel send buffer of one connection, in bytes (the kernel doubles it for its own overhead).
/// Cost: this times the number of busy connections, in kernel memory and, worse, in cache.
pub const SEND_BUFFER_BYTES: u32 = 256 * 1024;

/// Provided receive buffers of one worker and their size. Cost: 1 MiB per worker.
pub const RECEIVE_BUFFERS: u16 = 256;
/// Bytes of one provided receive buffer.
pub const RECEIVE_BUFFER_BYTES: u32 = 4 * 1024;

/// Pipelined input kept while a response is being sent, in bytes; receiving is stopped beyond it.
pub const PIPELINED_BYTES: usize = HEAD_BYTES + RECEIVE_BUFFER_BYTES as usize;

/// Connections of one worker. Cost: about 512 bytes each when idle.
pub const CONNECTIONS_PER_WORKER: u32 = 32 * 1024;

/// Device reads that one worker may have out at once. Cost: 32 bytes each, twice.
pub const READS_PER_WORKER: u32 = 16 * 1024;

/// Device reads that one transfer may have out or unsent at once: one being sent, one coming.
pub const READS_PER_TRANSFER: usize = 2;

/// Completions and events handled before the run queue has its turn again.
pub const EVENTS_PER_TURN: usize = 1024;

/// An idle keep-alive connection is closed after this.
pub const IDLE: Duration = Duration::from_secs(75);

/// A request head must be complete this long after its first byte (408).
pub const HEAD_TIME: Duration = Duration::from_secs(10);

/// A transfer that the peer takes no byte of for this long is cut.
pub const SEND_STALL: Duration = Duration::from_secs(60);

/// A connection that we closed for writing is drained at most this long, so that the peer can read the answer.
pub const LINGER: Duration = Duration::from_secs(2);
/// Bytes drained from such a connection before it is closed all the same.
pub const LINGER_BYTES: u64 = 256 * 1024;

/// Seconds that a 503 asks the client to wait.
pub const RETRY_AFTER_SECONDS: u32 = 2;

/// Pieces that wait for admission to the memory tier. Cost: 16 bytes each; more are forgotten, not queued.
pub const ADMISSION_QUEUE: usize = 4096;

/// Times that a piece must be wanted before the memory tier looks at it.
pub const ADMISSION_HITS: u32 = 2;

/// How often the catalog's generation is looked at. Content is seen at most this much later.
pub const CATALOG_POLL: Duration = Duration::from_millis(200);

const _: () = assert!(HEAD_BYTES >= RECEIVE_BUFFER_BYTES as usize);
const _: () = assert!(READS_PER_TRANSFER >= 2);
