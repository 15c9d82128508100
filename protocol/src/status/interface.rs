//! Interfaces.

use serde::{Deserialize, Serialize};

/// An interface that carries what viewers are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// As in `bond0`.
    pub name: String,
    /// Whether packets can leave through it.
    pub has_link: bool,
    /// What its link carries; `None` if it does not say.
    pub speed: Option<u64>,
    /// Links that are one here (LACP); 0: it is not made of several.
    pub members: u32,
    /// Those of them that carry their part.
    pub members_up: u32,
    /// Packets with errors since the system's start.
    pub errors: u64,
    /// What is wrong with it; empty if nothing is.
    pub cause: String,
}
