//! `oca-bench`: the load generator, and the comparison with other servers.
//!
//! [`load`] makes N keep-alive connections ask for byte ranges, and believes nothing: every response must be a
//! 206 of exactly the range that was asked for. [`server`] starts a server on a core of its own and reads its CPU
//! time. [`hot`] puts them together: interleaved rounds, medians, ratios. [`handshakes`] does so for TLS handshakes. [`fill`] looks at viewers beside a running fill,
//! `isolation` (Linux) at viewers beside an ill device, `cold` (Linux) at content that memory has no room for; [`viewers`] are an audience that notices pauses.
//!
//! Figures of different runs or machines cannot be compared; only the ratios of one run mean something.

mod catalog;
#[cfg(target_os = "linux")]
mod cold;
mod content;
mod fill;
mod floor;
mod handshakes;
mod hot;
#[cfg(target_os = "linux")]
mod isolation;
mod latency;
#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "the experiments that need it run on Linux only")
)]
mod load;
mod long_path;
#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "the experiments that need it run on Linux only")
)]
mod memory;
mod namespace;
#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "the experiments that need it run on Linux only")
)]
mod process;
mod server;
mod setup;
mod steer;
mod tls;
mod viewers;
mod void;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Load generator, and comparison with nginx and lighttpd.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask a running server for ranges; print rate and latency
    Load(load::Arguments),
    /// Compare servers on content that is in memory: CPU per GB and request, latency
    Hot(hot::Arguments),
    /// Serve files with a bare loop, as the least that any server pays (`hot` starts it)
    Floor(floor::Arguments),
    /// Compare servers on handshakes: how many in a second of their CPU time, and what a flood of them does to viewers
    Handshakes(handshakes::Arguments),
    /// Shake hands at a steady rate, and nothing else (`handshakes --flood` starts it)
    Flood(handshakes::flood::Arguments),
    /// What a fill at its full rate does to the latency of content that is in memory
    Fill(fill::Arguments),
    /// What a slow, frozen or failing device does to viewers of another one
    #[cfg(target_os = "linux")]
    Isolation(isolation::Arguments),
    /// Compare servers on content ten times their memory: CPU per GB, bytes read, rate against fio (root)
    #[cfg(target_os = "linux")]
    Cold(cold::Arguments),
    /// What a large catalog costs: start, taking over a commit, memory, and latency beside a small one
    Catalog(catalog::Arguments),
    /// How many viewers a core steers, with a million prefixes and a hundred appliances
    Steer(steer::Arguments),
    /// Viewers with a buffer each: start time, pauses, quality, and CPU per GB
    Viewers(viewers::Arguments),
    /// How much of what viewers ask for is in memory, by the memory tier's policy and by others
    Memory(memory::Arguments),
}

fn main() -> Result<()> {
    platform::socket::raise_descriptor_limit()?;
    match Arguments::parse().command {
        Command::Load(arguments) => load::main(&arguments),
        Command::Hot(arguments) => hot::main(&arguments),
        Command::Floor(arguments) => floor::main(&arguments),
        Command::Handshakes(arguments) => handshakes::main(&arguments),
        Command::Flood(arguments) => handshakes::flood::main(&arguments),
        Command::Fill(arguments) => fill::main(&arguments),
        #[cfg(target_os = "linux")]
        Command::Isolation(arguments) => isolation::main(&arguments),
        #[cfg(target_os = "linux")]
        Command::Cold(arguments) => cold::main(&arguments),
        Command::Catalog(arguments) => catalog::main(&arguments),
        Command::Steer(arguments) => steer::main(&arguments),
        Command::Viewers(arguments) => viewers::main(&arguments),
        Command::Memory(arguments) => memory::main(&arguments),
    }
}
