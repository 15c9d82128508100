//! The test of everything.

use serde::{Deserialize, Serialize};

use super::{Scope, State};

/// What a test of everything found: `ocactl selftest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTestReport {
    /// When it ended.
    pub as_of: u64,
    /// How long it took.
    pub took_ms: u64,
    /// The worst of the box's own checks: `ok`, `degraded` or `down`.
    pub result: State,
    /// Each of them.
    pub checks: Vec<Check>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What kind of thing: `listener`, `service-address`, or a component as in [`Cause`](super::Cause).
    pub component: String,
    /// Which one, as in `nvme0`; empty if there is only one.
    pub subject: String,
    /// `shared` ones do not count for the result.
    pub scope: Scope,
    /// `ok`, `degraded` or `down`.
    pub result: State,
    /// What is wrong, in a sentence; empty if nothing is.
    pub detail: String,
}
