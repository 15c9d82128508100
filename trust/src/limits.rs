//! Every bound of this crate, with what it costs.

/// A file with keys or certificates is read up to this size; a system's bundle of all authorities has a quarter of it.
pub const FILE_MAX_BYTES: u64 = 1 << 20;
