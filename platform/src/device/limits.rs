//! Every bound of the device side, with what it costs.

use std::time::Duration;

use crate::memory::LOAD_STEP_BYTES;
use crate::park::MAX_WAITERS;
use crate::stored_file::PIECE_BYTES;

/// Reads in flight on one device: a thread with a few touched pages of stack each, and a seat in a wait set.
pub const MAX_READERS: u8 = 64;

/// Buffers per reader whose memory is there from the start: one that is read into, and three on their way to viewers. Cost: of 8 readers of
/// 256 KiB, 8 MiB.
pub(super) const WARM_BUFFERS_PER_READER: usize = 4;

/// Files of one device that are kept open for reading: one descriptor each, and 4 bytes of checksum for each 64 KiB of the file
/// (64 KiB for a file of 1 GiB).
pub const MAX_OPEN_FILES: usize = 1024;

/// A file that nobody read for so long is closed. Checked once in this time, so it may stay open for twice as long.
pub const IDLE_CLOSE: Duration = Duration::from_secs(60);

/// Of so many reads that a device begins, one goes to a worse class that waits, so that it never starves: the most that viewers give up
/// is this share for each worse class, 6 %.
pub const LOWER_CLASS_EVERY: u32 = 16;

/// Loads that wait on one device: about 100 bytes each.
pub const MAX_LOADS: usize = 1024;

/// How long one step of a load gives way to viewers: beside a full load of viewers a piece still comes, in
/// `PIECE_BYTES / LOAD_STEP_BYTES` (8) times this.
pub const LOAD_PATIENCE: Duration = Duration::from_millis(250);

/// How often the watch looks at every device: the error of every deadline below. With the 900 ms after which an operation is a stall, a
/// viewer hears of it after 950 ms at the latest, and has time to hear it within the second.
pub const WATCH_EVERY: Duration = Duration::from_millis(50);

/// How often a list of pieces that were withdrawn but are still in use is looked through.
pub const RETIRE_EVERY: Duration = Duration::from_millis(50);

/// Errors of different places in a row, without a success between them, after which a device has failed.
pub const ERRORS_TO_FAIL: u32 = 3;

/// Failures of the probe in a row after which a device has failed.
pub const PROBES_TO_FAIL: u32 = 2;

/// Rounds of probe and trial read in a row that must go well before a failed device is used again.
pub const ROUNDS_AFTER_FAILURE: u32 = 3;

/// The same after a mere stall.
pub const ROUNDS_AFTER_STALL: u32 = 1;

/// What a device is given before it is thought ill. The defaults are for production; tests are shorter.
#[derive(Copy, Clone, Debug)]
pub struct Deadlines {
    /// An operation that takes longer makes its device `suspect`: 900 ms by default, so that a viewer hears of it within a second.
    pub stall: Duration,
    /// An operation that takes longer makes its device `failed`: 30 s, which is what drives and their drivers take to give up themselves.
    pub fail: Duration,
    /// A probe that takes longer makes its device `failed`: 5 s.
    pub probe: Duration,
    /// Pause between two probes: 250 ms.
    pub probe_every: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            stall: Duration::from_millis(900),
            fail: Duration::from_secs(30),
            probe: Duration::from_secs(5),
            probe_every: Duration::from_millis(250),
        }
    }
}

const _: () = assert!(LOWER_CLASS_EVERY > 1);
const _: () = assert!(MAX_READERS as usize <= MAX_WAITERS);
const _: () = assert!(PIECE_BYTES.is_multiple_of(LOAD_STEP_BYTES as u64));
