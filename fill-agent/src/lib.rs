//! The fill agent: makes an appliance hold what its manifest asks for.
//!
//! ```text
//! Manifest -> Plan -> Fetched -> Verified -> Published     one type each; a step cannot be skipped
//! ```

pub mod agent;
pub mod control;
pub mod daemon;
pub mod facts;
pub mod fetch;
pub mod guard;
pub mod lanes;
pub mod limits;
pub mod manifest;
pub mod metrics;
pub mod notify;
pub mod operator;
pub mod planner;
pub mod publish;
pub mod rate;
pub mod retry;
pub mod scrub;
pub mod service;
pub mod signals;
pub mod source;
pub mod state;
pub mod survey;
pub mod takedown;
pub mod tls;
pub mod tree;
pub mod window;
