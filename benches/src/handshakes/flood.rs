//! `oca-bench flood`: full handshakes at a steady rate, in a process of its own that is idle towards the viewers on its core.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::shaker::{Plan, Resuming, shake};
use crate::load::{Rate, Until};
use crate::process::Process;
use crate::setup;
use crate::tls::{Client, Suite, Version};

/// Said when it begins.
const BEGUN: &str = "begun";

/// How long it may take to begin, and to end.
const TURN_BOUND: Duration = Duration::from_secs(30);

/// `oca-bench flood`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Address of the server
    address: SocketAddr,
    /// Its certificate, in PEM
    certificate: PathBuf,
    /// Handshakes a second
    #[arg(long, value_parser = setup::rate)]
    rate: f64,
    /// For how long
    #[arg(long, value_parser = setup::seconds)]
    seconds: f64,
    /// Handshakes under way at once, at most
    #[arg(long, default_value_t = 256, value_parser = setup::count)]
    connections: usize,
}

/// What came of a flood.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Flooded {
    pub(super) per_second: f64,
    pub(super) p50_us: u32,
    pub(super) p99_us: u32,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let client = Client::new(&arguments.certificate, Suite::Aes128, Version::Tls13)?;
    println!("{BEGUN}");
    let shaken = shake(&Plan {
        address: arguments.address,
        client: &client,
        resuming: Resuming::Never,
        tickets: None,
        slots: arguments.connections,
        rate: Rate::PerSecond(arguments.rate),
        until: Until::Elapsed(Duration::from_secs_f64(arguments.seconds)),
    })?;
    let flooded = Flooded {
        per_second: shaken.handshakes as f64 / shaken.elapsed.as_secs_f64(),
        p50_us: shaken.latency.p50_us,
        p99_us: shaken.latency.p99_us,
    };
    println!("{}", serde_json::to_string(&flooded)?);
    Ok(())
}

/// One that runs.
pub(super) struct Flood {
    process: Process,
    log: PathBuf,
}

impl Flood {
    /// Returns when it has begun.
    pub(super) fn start(
        (address, certificate): (SocketAddr, &Path),
        (rate, seconds): (f64, f64),
        core: usize,
        log: &Path,
    ) -> Result<Self> {
        let words = [
            "flood".to_owned(),
            address.to_string(),
            certificate.display().to_string(),
            format!("--rate={rate}"),
            format!("--seconds={seconds}"),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let program = std::env::current_exe()?;
        let mut process = Process::start_idle(&program, &words, core, log)?;
        process.wait_until(TURN_BOUND, || {
            let said = std::fs::read_to_string(log).ok()?;
            said.starts_with(BEGUN).then_some(())
        })?;
        Ok(Self {
            process,
            log: log.to_owned(),
        })
    }

    /// Waits until it is over.
    pub(super) fn end(mut self) -> Result<Flooded> {
        self.process.await_end(TURN_BOUND)?;
        let said = std::fs::read_to_string(&self.log)?;
        let last = said.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("the flood says: {said}"))
    }
}
