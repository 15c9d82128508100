//! TLS: the session by itself against rustls, and the real daemon on each backend against several clients.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

#[path = "../support/pair.rs"]
mod pair;
#[path = "../support/mod.rs"]
mod support;

mod crafted;
mod faults;
mod handshakes;
mod kernel;
mod patience;
mod programs;
mod session;
mod viewers;
