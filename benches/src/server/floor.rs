//! The floor: what any file server pays on this machine, below which none can get. It is this program itself
//! ([`crate::floor`]).

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::{Setting, wait_for_listener};
use crate::floor::Source;
use crate::process::Process;

pub(super) fn start(setting: &Setting<'_>, source: Source) -> Result<(Process, SocketAddr)> {
    let address = setting.free_address()?;
    let (listen, workers) = (address.to_string(), setting.workers().to_string());
    let content = setting.content.display().to_string();
    let source = source
        .to_possible_value()
        .context("every source has a name")?;
    let arguments = [
        "floor",
        &listen,
        &content,
        "--workers",
        &workers,
        "--source",
        source.get_name(),
    ];
    let log = setting.folder.join("log");
    let program = std::env::current_exe()?;
    let mut process = Process::start(&program, &arguments, setting.place.clone(), &log)?;
    wait_for_listener(&mut process, address)?;
    Ok((process, address))
}
