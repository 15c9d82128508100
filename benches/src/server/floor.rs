//! The floor: what any file server pays on this machine, below which none can get. It is this program itself
//! ([`crate::floor`]).

use std::net::SocketAddr;

use anyhow::Result;

use super::{Setting, wait_for_listener};
use crate::process::Process;

pub(super) fn start(setting: &Setting<'_>) -> Result<(Process, SocketAddr)> {
    let address = setting.free_address()?;
    let (listen, workers) = (address.to_string(), setting.workers().to_string());
    let content = setting.content.display().to_string();
    let arguments = ["floor", &listen, &content, "--workers", &workers];
    let log = setting.folder.join("log");
    let program = std::env::current_exe()?;
    let mut process = Process::start(&program, &arguments, setting.place.clone(), &log)?;
    wait_for_listener(&mut process, address)?;
    Ok((process, address))
}
