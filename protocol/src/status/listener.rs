//! Listening sockets.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// As bound: port 0 in the configuration is the real port here.
    pub address: SocketAddr,
    /// For what.
    pub purpose: ListenerPurpose,
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerPurpose {
    /// Viewers, in clear.
    Http,
    /// Viewers, with TLS.
    Https,
    /// `listen.admin`.
    Admin,
    /// `listen.metrics`.
    Metrics,
}
