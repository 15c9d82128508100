//! Certificates from their files to what viewers are shown, with real files and real handshakes in memory.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

#[path = "../support/mod.rs"]
mod support;

mod daemon;
mod files;
mod folder;
mod following;
mod handshakes;
mod hanging;
