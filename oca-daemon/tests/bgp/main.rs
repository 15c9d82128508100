//! The real daemon beside real routers, each in a network namespace of its own. Needs root, iproute2 and BIRD 2.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; the exception for tests covers test functions alone"
)]

mod network;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
