//! How far the scrub is.

use serde::{Deserialize, Serialize};

use super::Pause;

/// How far the devices are read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {
    /// When this was true.
    pub as_of: u64,
    /// The most that is read of one device, in bits per second.
    pub rate: u64,
    /// Seconds from the begin of one pass to that of the next.
    pub every: u64,
    /// A pause.
    pub pause: Option<Pause>,
    /// The devices, in the order of the configuration.
    pub devices: Vec<ScrubDevice>,
}

/// How far one device is read back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubDevice {
    /// Last part of its path.
    pub name: String,
    /// Its tier.
    pub tier: String,
    /// `running`, `waiting` (for the next pass), `paused`, or what is wrong.
    pub state: String,
    /// When the pass that runs began.
    pub began: Option<u64>,
    /// When the last whole pass ended.
    pub ended: Option<u64>,
    /// When the next pass begins.
    pub next: Option<u64>,
    /// Columns that were read in this pass, or in the last one.
    pub columns: u64,
    /// Of so many, when the pass began.
    pub columns_all: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Columns that were found bad.
    pub bad: u64,
}
