//! Every bound of this crate, with what it costs.

use crate::units::{BitRate, ByteSize, Interval};

/// Most columns in one message of the daemon about damage: a line of 40 KiB.
pub const DAMAGED_MAX: usize = 256;

/// The checksum block of the store. `read_unit` is a multiple, so that a read can be checked by itself.
pub const CHECK_BLOCK_BYTES: u64 = 64 * 1024;

/// The verification group of the store. `stripe_unit` is a multiple, so that a column can be verified alone.
pub const GROUP_BYTES: u64 = 1024 * 1024;

/// The longest read from a device: one buffer has this size, and a viewer may hold two.
pub const READ_UNIT_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The largest stripe unit. Beyond it a title no longer spreads over the devices of its stripe.
pub const STRIPE_UNIT_MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// The widest stripe: of N devices, a dead one touches `width / N` of the objects.
pub const STRIPE_WIDTH_MAX: u8 = 4;

/// Highest speed of a device, relative to the others of its tier.
pub const SPEED_MAX: u16 = 1000;

/// Devices of one appliance: a thread group and a share of the buffers each.
pub const DEVICES_MAX: usize = 256;

/// Workers: one per core.
pub const WORKERS_MAX: u16 = 1024;

/// The lowest rate that a viewer may be held to. A socket tells of room again when a third of its buffer, 170 KiB, has left; a viewer
/// that takes longer than 3 s for it loses the buffer of its device.
pub const PACING_MIN: BitRate = BitRate::from_bits_per_second(1_000_000);

/// After so many intervals without an answer to a report, the control endpoint is called unreachable.
pub const REPORTS_MISSED: u32 = 3;

/// The lowest rate at which a device is read back: a group of 1 MiB in 8 s.
pub const SCRUB_RATE_MIN: BitRate = BitRate::from_bits_per_second(1_000_000);

/// Certificates of one appliance: all of them are looked at every few seconds, two files each.
pub const CERTIFICATES_MAX: usize = 256;

/// The longest that a handshake may take: until then whoever connects and says nothing has the place of a viewer.
pub const HANDSHAKE_TIMEOUT_MAX: Interval = Interval::from_seconds(60);

/// The smallest file of the access log that is put aside: less is renamed all the time, and lines are written in pieces of 64 KiB.
pub const ACCESS_LOG_MIN: ByteSize = ByteSize::from_bytes(1 << 20);

/// Files of the access log that are kept: putting one aside renames them all.
pub const ACCESS_LOGS_MAX: u16 = 1000;

/// Service addresses of one appliance, as many as may be announced over BGP.
pub const SERVICE_ADDRESSES_MAX: usize = 16;

/// Routes in one answer: with long ways and many communities about 1 MiB, far below a line.
pub const ROUTES_PAGE_MAX: u32 = 1000;

/// The longest line on an operator socket: a status with 256 devices has about 150 KiB.
pub const LINE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// The longest configuration file that is read: 1 MiB is a thousand times the example.
pub const CONFIG_MAX_BYTES: u64 = 1024 * 1024;

/// The longest URL path of an object, in bytes of UTF-8.
pub const PATH_MAX_BYTES: usize = 1024;

/// The largest object: its chunk tree has 128 MiB.
pub const OBJECT_MAX_BYTES: u64 = 4 << 40;

/// Copies of one object on one appliance.
pub const COPIES_MAX: u8 = 8;

/// Sources of one manifest: each costs a connection pool.
pub const SOURCES_MAX: usize = 1024;

/// The longest address of a source.
pub const SOURCE_URL_MAX_BYTES: usize = 2048;

/// The first line of a sealed document.
pub const SEAL_MAX_BYTES: usize = 16 * 1024;

/// Signatures in it: each that is of an accepted key costs one verification of all bytes.
pub const SIGNATURES_MAX: usize = 8;

/// A manifest as sent: a million objects have about 70 MB.
pub const MANIFEST_MAX_PACKED_BYTES: u64 = 256 << 20;

/// A manifest unpacked: a million objects have about 260 MB. It is read as a stream, never held as text.
pub const MANIFEST_MAX_BYTES: u64 = 1 << 30;

/// Binary logarithm of the window that a frame may ask for: 8 MiB, as RFC 8878 section 3.1.1.1.2 asks every decoder to bear.
pub const UNPACK_WINDOW_LOG: u32 = 23;

/// A list of tombstones unpacked.
pub const TOMBSTONES_MAX_BYTES: u64 = 64 << 20;

/// A report: an inventory of a million objects has about 70 MB.
pub const REPORT_MAX_BYTES: usize = 128 << 20;

/// Of `run_dir`: with `/daemon.sock` and its end, a path of a socket has 104 bytes at most on FreeBSD (unix(4)), 108 on Linux (unix(7)).
pub const RUN_DIR_MAX_BYTES: usize = 90;

/// An answer to a report.
pub const ANSWER_MAX_BYTES: usize = 64 << 10;

/// A chunk tree: 32 B per MiB of the largest object.
pub const TREE_MAX_BYTES: u64 = OBJECT_MAX_BYTES / GROUP_BYTES * 32;

const _: () = assert!(GROUP_BYTES.is_multiple_of(CHECK_BLOCK_BYTES));
const _: () = assert!(READ_UNIT_MAX_BYTES.is_multiple_of(CHECK_BLOCK_BYTES));
const _: () = assert!(STRIPE_UNIT_MAX_BYTES.is_multiple_of(READ_UNIT_MAX_BYTES));

/// Objects in the list of what viewers are expected to ask for. Memory holds a small part of a library: the first ones decide.
/// Cost: about 120 bytes each on the state disk, 48 in memory.
pub const EXPECTED_OBJECTS: usize = 65_536;

/// Bytes that are read of that list.
pub const EXPECTED_MAX_BYTES: u64 = 256 * EXPECTED_OBJECTS as u64;

/// Of the speed of the interfaces that serve, this share in percent is capacity: headers, acknowledgements and bursts take the rest.
pub const CAPACITY_PERCENT: u64 = 85;
