//! The daemon that serves byte ranges of immutable media files.
//!
//! The way of a request is the order of the modules: [`listener`] -> [`connection`] -> [`request`] (with [`range`])
//! -> [`lookup`] -> [`send_plan`] -> [`response`] -> [`transfer`] -> `platform` (`sendfile` of locked memory, or the device
//! service's buffers). [`worker`] is the loop of one core that drives them; everything else is beside the path:
//! [`daemon`] puts everything together, [`memory_tier`] decides what is locked, [`catalog_watch`] swaps the index,
//! [`control`] reacts to signals and keeps the state, [`admin`] and [`operator`] answer people, [`report`] tells the control
//! endpoint what [`demand`] there is, [`access_log`] writes down what viewers asked for. [`cmcd`] and [`pacing`] hear what players say.
//! [`bgp`] speaks with routers. [`interfaces`] looks at what carries all of it, [`wear`] at what disks say of
//! themselves. [`tls`] holds what connections over TLS need.
//! [`relief`] has a worker that is stuck replaced at its listening sockets.

pub mod access_log;
pub mod addresses;
pub mod admin;
pub mod bgp;
mod budgets;
pub mod catalog_watch;
pub mod cmcd;
pub mod connection;
pub mod control;
pub mod counters;
pub mod daemon;
pub mod damage;
pub mod demand;
pub mod devices;
pub mod egress;
pub mod fills;
pub mod intent;
pub mod interfaces;
pub mod limits;
pub mod listener;
pub mod lookup;
pub mod memory_tier;
pub mod multipart;
pub mod operator;
pub mod pacing;
pub mod precondition;
pub mod range;
pub mod relief;
pub mod report;
pub mod request;
pub mod response;
pub mod sandbox;
pub mod send_plan;
pub mod shared;
pub mod succession;
pub mod text;
pub mod tls;
pub mod transfer;
pub mod wear;
pub mod worker;
