//! A BGP speaker without sockets: bytes, events and `now` in, bytes and wishes out.
//!
//! ```text
//!  socket ─► Neighbor::handle ─► packet::decode ─► Session (RFC 4271) ─┬─ listen: Update ─► Learned (no way out of here)
//!  socket ◄─ Neighbor::poll   ◄─ announcement ◄───────────────────────┴─ announce: Presence ─► Offers
//! ```
//!
//! A neighbour has one of two roles. From one that is *listened* to, prefixes that are to be served are learned; to one that is
//! *announced* to, the few service addresses of this box are told. The role is the policy that RFC 8212 asks for: there is no
//! third, and none does both.
//!
//! Invariants:
//! - What was learned cannot be announced: [`learned::LearnedRoute`] and [`packet::update::Update`] have no encoder, and
//!   [`announcement`] encodes a [`announcement::ServicePrefix`] alone. It does not compile:
//!
//! ```compile_fail,E0308
//! # use steering::bgp::{announcement::{Offer, Wire, announce}, prefix::Prefix};
//! fn leak(wire: &Wire, learned: &[Prefix]) -> Vec<u8> {
//!     announce(wire, Offer::Present, learned)
//! }
//! ```
//! - Load, fill and the control endpoint change no attribute: [`presence`] does not hear of them.
//!
//! Choice of the codec: docs/decisions/0006.

pub mod announcement;
pub mod canary;
pub mod learned;
pub mod limits;
pub mod neighbor;
pub mod packet;
pub mod prefix;
pub mod presence;
mod session;

pub use learned::{Learned, LearnedRoute};
pub use neighbor::{Action, ConnectionId, Event, Neighbor, Role, Settings};
pub use packet::notification::Notification;
pub use prefix::{Family, Prefix};
pub use session::{Opener, State};
