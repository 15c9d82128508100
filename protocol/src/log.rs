//! How much a running program logs: asked and changed through its operator socket.

use serde::{Deserialize, Serialize};

/// What an operator wants logged, until the program ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// As in `debug`, or `info,oca_daemon::bgp=debug`; `None`: as configured.
    pub level: Option<String>,
    /// For so many seconds, then as configured again.
    pub for_s: Option<u64>,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevel {
    /// Now.
    pub level: String,
    /// After a restart (`OCA_LOG`).
    pub configured: String,
    /// When it is as configured again, in seconds since 1970-01-01 UTC; `None`: it is, or not before a restart.
    pub until: Option<u64>,
}
