//! How well an appliance is, and what is told to those who send viewers to it.
//!
//! The way of the data: [`health::Sample`]s -> [`health::Health`] (hysteresis) -> with [`drain::Drain`] -> [`State`]
//! -> [`hint::Hint`], the document of `/steering`, and [`bgp`], which tells routers whether the box is there at all.
//!
//! And on the other side, where viewers are sent: [`decide`], by the hints and routes of all appliances.
//!
//! Pure: `now` is an argument, nothing here knows a clock, a socket, a file, or the other crates.

pub mod bgp;
pub mod decide;
pub mod drain;
pub mod health;
pub mod hint;
mod state;
mod time;

pub use state::State;
pub use time::UnixTime;
