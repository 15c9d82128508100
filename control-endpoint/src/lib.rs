//! The reference control endpoint: what exists, what each appliance shall hold of it, and the bytes.
//!
//! ```text
//! files ──ingest──► objects, paths ─┐
//! appliances ──report──► popularity, inventories, liveness ─┤
//!                                                           └─► builder ─► sealed manifests ──serve──► appliances
//! viewers ──steer──► the appliances that hold it, are near and well ◄── reports, routes
//! operator ──rm──► tombstones ──────────────────────────────────────────────────────────────serve──► appliances
//! ```
//!
//! Everything that must survive is in one SQLite database ([`database`]); sealed manifests and copied objects are files beside it.
//! Commands and the server may run side by side.

pub mod builder;
pub mod building;
pub mod config;
pub mod database;
pub mod error;
pub mod ingest;
pub mod keygen;
pub mod limits;
pub mod metrics;
mod own_copy;
pub mod popularity;
mod progress;
pub mod serve;
pub mod steer;
mod stream;
