//! The store of an appliance: tiers, devices, stripe map, catalog, chunk trees, checksums.
//!
//! The way of an object:
//!
//! ```text
//! bytes -> chunk_tree -> ChunkTree                 its name, and one value for each MiB
//!       -> Store::stage -> Staging -> Sealed       verified, cut into columns, synced in staging/; resumed after a kill
//!       -> Store::publish                          columns and sidecars in place, then the catalog
//!       -> CatalogReader::published -> Index::build        all of it, or
//!       -> CatalogReader::changes_since -> Index::changed  what a commit changed
//!       -> Index                                   what the daemon serves: paths -> objects -> columns
//!       -> platform's device service               reads columns, checks blocks against the sidecar
//! Store::quarantine -> bad columns
//!       -> Store::repair -> Repairing -> Store::finish_repairs   written anew, column by column
//! Store::remove -> doomed -> Store::reap           unlinked once no reader uses it
//! ```
//!
//! Invariants: what is on the devices suffices to rebuild the catalog ([`rebuild()`]). A crash leaves the old or the new
//! state. One process writes; readers hold no transaction across anything slow. Decoders take any bytes. What an index
//! hands out holds no lock and allocates nothing to be found.
//!
//! This crate knows nothing of HTTP, of sockets, or of where bytes come from. It decides no time: callers pass it. Everything in
//! it that touches a disk may block, so no thread that serves connections calls it, but for [`Index::lookup`].

pub mod catalog;
pub mod chunk_tree;
mod codec;
pub mod column;
mod config;
mod copies;
pub mod device;
mod entry;
mod error;
mod evacuate;
mod ids;
pub mod index;
pub mod intake;
pub mod limits;
pub mod placement;
mod publish;
mod quarantine;
mod reader;
mod reap;
mod rebuild;
mod recover;
mod repair;
pub mod scrub;
mod settle;
pub mod sidecar;
pub mod space;
pub mod staging;
mod state_file;
mod store;
mod stripe;
pub mod verify;

pub use config::{StoreConfig, TierConfig, TierRole};
pub use device::{Device, DeviceProblem};
pub use entry::{BadEntry, PathEntry};
pub use error::{Fault, StoreError};
pub use evacuate::{Stranded, stranded};
pub use ids::{BadId, DeviceId, ETag, Generation, ObjectId};
pub use index::{Column, Entry, Index, IndexDevice, Object, ObjectCopy};
pub use placement::choose_devices;
pub use publish::{Content, NewPath, Publication, take_down};
pub use quarantine::BadColumn;
pub use reader::ObjectReader;
pub use reap::Reaped;
pub use rebuild::{Incomplete, Rebuilt, Unusable, rebuild, unknown_sidecars};
pub use repair::{Repaired, Repairing};
pub use staging::{Sealed, Staging};
pub use store::{DeviceSlot, Resumable, Stage, Step, StepHook, Store, open_devices};
pub use stripe::{BadLayout, Piece, Pieces, StripeLayout};
