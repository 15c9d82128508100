//! The words between the processes of an appliance, and between an operator and the appliance.
//!
//! - [`config`]: the one file `oca.toml` that daemon, fill agent and `ocactl` read.
//! - [`operator`]: requests and answers on the sockets in `run_dir`, one JSON value a line.
//! - [`status`]: what `/status` and `ocactl status` say.
//! - [`fill`]: the same with the fill agent.
//! - [`log`]: how much both log.
//! - [`manifest`], [`control`]: what an appliance and its control endpoint say to each other.
//! - [`steer`]: where viewers are sent.
//! - [`demand`]: what of the manifest's demand the daemon ranks its memory by.
//! - [`media_type`]: what players are told about a file, by its name.
//! - [`paths`]: where things are on each system.
//! - [`units`]: "256 KiB", "1.2 Gbit/s", "30 s".
//!
//! This crate knows no socket, no clock and nothing of the other crates. Only [`config::load`] reads a file.

pub mod bgp;
pub mod config;
pub mod control;
pub mod demand;
pub mod fill;
pub mod limits;
pub mod log;
pub mod manifest;
pub mod media_type;
pub mod operator;
pub mod paths;
pub mod root;
pub mod service;
pub mod smart;
pub mod status;
pub mod steer;
pub mod summed;
pub mod units;
