//! Every bound of this crate, with what it costs.

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

/// Devices of one appliance: a thread group and a share of the buffers each.
pub const DEVICES_MAX: usize = 256;

/// Workers: one per core.
pub const WORKERS_MAX: u16 = 1024;

/// Service addresses of one appliance, as many as may be announced over BGP.
pub const SERVICE_ADDRESSES_MAX: usize = 16;

/// The longest line on an operator socket: a status with 256 devices has about 150 KiB.
pub const LINE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// The longest configuration file that is read: 1 MiB is a thousand times the example.
pub const CONFIG_MAX_BYTES: u64 = 1024 * 1024;

const _: () = assert!(GROUP_BYTES.is_multiple_of(CHECK_BLOCK_BYTES));
const _: () = assert!(READ_UNIT_MAX_BYTES.is_multiple_of(CHECK_BLOCK_BYTES));
const _: () = assert!(STRIPE_UNIT_MAX_BYTES.is_multiple_of(READ_UNIT_MAX_BYTES));
