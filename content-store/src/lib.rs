//! Tiers, devices, stripe map, catalog, chunk trees, checksums.

pub mod catalog;
pub mod chunk_tree;
mod codec;
pub mod column;
mod config;
pub mod device;
mod entry;
mod error;
mod ids;
pub mod index;
pub mod limits;
pub mod placement;
mod publish;
mod reap;
mod rebuild;
pub mod sidecar;
pub mod space;
mod staging;
mod store;
mod stripe;
pub mod verify;

pub use config::{StoreConfig, TierConfig, TierRole};
pub use device::{Device, DeviceProblem};
pub use entry::{BadEntry, PathEntry};
pub use error::{Fault, StoreError};
pub use ids::{BadId, DeviceId, ETag, Generation, ObjectId};
pub use index::{Column, Entry, Index, IndexDevice, Object};
pub use placement::choose_devices;
pub use publish::{Content, NewPath, Publication};
pub use reap::Reaped;
pub use rebuild::{Incomplete, Rebuilt, Unusable, rebuild};
pub use staging::{Sealed, Staging};
pub use store::{DeviceSlot, Stage, Step, StepHook, Store, open_devices};
pub use stripe::{BadLayout, Piece, Pieces, StripeLayout};
