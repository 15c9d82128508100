//! The fill agent: makes an appliance hold what its manifest asks for.
//!
//! ```text
//! Manifest -> Plan -> Fetched -> Verified -> Published     one type each; a step cannot be skipped
//! ```

pub mod fetch;
pub mod guard;
pub mod lanes;
pub mod limits;
pub mod planner;
pub mod rate;
pub mod retry;
pub mod source;
pub mod tree;
pub mod window;
