//! The hours in which the agent fills.

use serde::{Deserialize, Serialize};

/// The window, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When this was true.
    pub as_of: u64,
    /// In the configuration; `None`: there is no `[fill]`.
    pub configured: Option<Hours>,
    /// By `ocactl fill-window set`.
    pub set: Option<SetHours>,
    /// By `ocactl fill-window override`.
    pub overridden: Option<Overridden>,
    /// What is in force.
    pub effective: Option<Hours>,
    /// Seconds by which it is shifted at this site.
    pub site_offset_s: u32,
    /// Whether it is open.
    pub open: bool,
    /// Why, in a sentence.
    pub why: String,
    /// The next changes, at most 8: when, and whether it opens.
    pub next: Vec<Change>,
}

/// Hours and rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours {
    /// Civil time, as in `02:00-14:00`.
    pub window: String,
    /// Name of the zone.
    pub timezone: String,
    /// Bits per second.
    pub rate: Option<u64>,
}

/// Hours set by an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetHours {
    /// The hours, complete.
    pub hours: Hours,
    /// Who.
    pub by: String,
    /// When.
    pub at: u64,
}

/// An override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overridden {
    /// Open or closed.
    pub open: bool,
    /// Who.
    pub by: String,
    /// When.
    pub at: u64,
    /// Until when.
    pub until: Option<u64>,
}

/// One opening or closing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: u64,
    /// Opens, or closes.
    pub opens: bool,
    /// In the window's zone, as in `2026-03-29T03:00:00+02:00`.
    pub local: String,
}
