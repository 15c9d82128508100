//! What the agent is going to do.

use serde::{Deserialize, Serialize};

use crate::manifest::Serial;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// When it was made.
    pub as_of: u64,
    /// For this manifest.
    pub serial: Option<Serial>,
    /// To fetch, in this order; at most `limit` entries.
    pub fetch: Vec<PlannedFetch>,
    /// To move to another tier.
    pub moves: Vec<PlannedMove>,
    /// To have further copies.
    #[serde(default)]
    pub copies: Vec<PlannedCopy>,
    /// To take away, because the room is needed.
    pub evict: Vec<PlannedEviction>,
    /// Of which lost and bad columns are written anew, before anything is fetched.
    #[serde(default)]
    pub repair: Vec<PlannedRepair>,
    /// Of all fetches, moves, copies, evictions, repairs: objects and bytes.
    pub totals: PlanTotals,
    /// What keeps it from being done, in a sentence; empty if nothing does.
    pub blocked: String,
}

/// Totals of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTotals {
    /// Objects to fetch.
    pub fetch_objects: u64,
    /// Their bytes.
    pub fetch_bytes: u64,
    /// Objects to move.
    pub move_objects: u64,
    /// Their bytes.
    pub move_bytes: u64,
    /// Objects that get further copies.
    #[serde(default)]
    pub copy_objects: u64,
    /// Bytes of those copies.
    #[serde(default)]
    pub copy_bytes: u64,
    /// Objects of which lost and bad columns are to be written anew.
    #[serde(default)]
    pub repair_objects: u64,
    /// Bytes of those columns.
    #[serde(default)]
    pub repair_bytes: u64,
    /// Objects to evict.
    pub evict_objects: u64,
    /// Their bytes.
    pub evict_bytes: u64,
    /// Wanted objects without room.
    pub no_room_objects: u64,
    /// Their bytes.
    pub no_room_bytes: u64,
}

/// An object of which lost and bad columns are to be written anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRepair {
    /// One of its paths.
    pub path: String,
    /// Bytes of those columns.
    pub bytes: u64,
    /// The tier of the copy.
    pub tier: String,
    /// Without them no copy of it is whole: it is not served.
    pub is_lost: bool,
    /// It is repaired now; if not, it waits for the window.
    pub now: bool,
}

/// An object to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFetch {
    /// One of its paths.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The tier.
    pub tier: String,
    /// Where it comes from first.
    pub source: String,
}

/// An object to move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMove {
    /// One of its paths.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// From this tier.
    pub from: String,
    /// To this one.
    pub to: String,
}

/// An object to copy on the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedCopy {
    /// One of its paths.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its tier.
    pub tier: String,
    /// Copies that come.
    pub count: u8,
}

/// An object to take away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedEviction {
    /// One of its paths.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its tier.
    pub tier: String,
}
