//! The real daemon beside real routers, each in a network namespace of its own. Needs root, iproute2, BIRD 2,
//! GoBGP, FRR and ExaBGP.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; the exception for tests covers test functions alone"
)]

mod adapters;
mod asked;
mod canary;
mod chain;
mod collision;
mod commands;
mod documented;
mod interop;
mod mistakes;
mod network;
#[path = "../../../fill-agent/tests/support/program.rs"]
mod program;
mod restart;
mod routers;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
