//! Certificates from their files to what viewers are shown, with real files and real handshakes in memory.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod files;
mod folder;
mod following;
mod handshakes;
