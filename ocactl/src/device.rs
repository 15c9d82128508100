//! `ocactl device`: make a folder into a device, list devices, say what is wanted of them.

mod evacuate;
mod list;
mod meant;
mod wanted;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use content_store::DeviceId;
use content_store::device::{self, Device, InitOptions, Intents};
use protocol::config::{Config, Tier};
use protocol::service;
use serde::Serialize;

use crate::arguments::DeviceCommand;
use crate::error::{Failure, Outcome};
use crate::limits::DEVICE_TIMEOUT;
use crate::output::{self, Format, Report};

/// Obeys.
pub(crate) fn run(
    config: &Config,
    format: Format,
    command: DeviceCommand,
) -> Result<Outcome, Failure> {
    match command {
        DeviceCommand::Add {
            path,
            tier,
            shared_fs,
        } => {
            let added = add(
                config,
                Addition {
                    path,
                    tier,
                    shared_fs,
                },
            )?;
            output::print(format, &added)?;
            if added.configured {
                wanted::tell(config).map_err(Failure::failed)?;
            }
            Ok(Outcome::Done)
        }
        DeviceCommand::Ls => list::run(config, format),
        DeviceCommand::Offline { path, reason } => wanted::offline(config, format, &path, reason),
        DeviceCommand::Online { path } => wanted::online(config, format, &path),
        DeviceCommand::Evacuate { path, wait } => evacuate::run(config, format, &path, wait),
        DeviceCommand::Replace {
            path,
            old,
            shared_fs,
        } => wanted::replace(config, format, &path, old, shared_fs),
        DeviceCommand::Remove { path, id, force } => {
            wanted::remove(config, format, &path, id, force)
        }
    }
}

/// `device add`, as it was typed.
struct Addition {
    path: PathBuf,
    tier: Option<String>,
    shared_fs: bool,
}

/// Makes a folder into a device.
fn add(config: &Config, addition: Addition) -> Result<Added, Failure> {
    let path = std::path::absolute(&addition.path)
        .map_err(|error| Failure::usage(format!("{}: {error}", addition.path.display())))?;
    let configured = config
        .devices()
        .find(|(_, device)| device.components().eq(path.components()));
    let tier = tier_of(
        config,
        configured.map(|(tier, _)| tier),
        addition.tier.as_deref(),
        &path,
    )?;
    let options = InitOptions {
        now_s: now_s(),
        tier: tier.map(|tier| tier.name.clone()),
        shared_fs: addition.shared_fs || configured.is_some_and(|(tier, _)| tier.shared_fs),
    };
    device::leave_silent_alone(&[&path], &Intents::default(), DEVICE_TIMEOUT);
    let device = device::initialise(&path, &options)?;
    hand_over(config, &device)?;
    Ok(Added {
        path,
        id: device.id(),
        tier: options.tier,
        configured: configured.is_some(),
    })
}

fn tier_of<'c>(
    config: &'c Config,
    configured: Option<&'c Tier>,
    wanted: Option<&str>,
    path: &Path,
) -> Result<Option<&'c Tier>, Failure> {
    let Some(wanted) = wanted else {
        return Ok(configured);
    };
    let tier = named_tier(config, wanted)?;
    match configured {
        Some(own) if own.name != tier.name => Err(Failure::usage(format!(
            "{} is in tier \"{}\" of the configuration, not in \"{wanted}\"; leave --tier out, or move it in the configuration",
            path.display(),
            own.name
        ))),
        _ => Ok(Some(tier)),
    }
}

/// The tier of this name.
pub(crate) fn named_tier<'c>(config: &'c Config, name: &str) -> Result<&'c Tier, Failure> {
    config
        .tiers
        .iter()
        .find(|tier| tier.name == name)
        .ok_or_else(|| {
            let names: Vec<&str> = config.tiers.iter().map(|tier| tier.name.as_str()).collect();
            Failure::usage(format!(
                "no tier is named \"{name}\"; allowed: {}",
                names.join(", ")
            ))
        })
}

/// What root has made belongs to whoever owns the state folder: daemon and fill agent run as that user.
fn hand_over(config: &Config, device: &Device) -> Result<(), Failure> {
    let Ok(state_dir) = std::fs::metadata(&config.appliance.state_dir) else {
        return Ok(());
    };
    if platform::user::effective() != 0 || state_dir.uid() == 0 {
        return Ok(());
    }
    let identity = device.root().join(device::IDENTITY_FILE);
    for path in [
        device.root().to_owned(),
        identity,
        device.objects(),
        device.staging(),
    ] {
        std::os::unix::fs::chown(&path, Some(state_dir.uid()), Some(state_dir.gid())).map_err(
            |error| {
                Failure::failed(format!(
                    "{}: cannot give it to the daemon's user: {error}",
                    path.display()
                ))
            },
        )?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Added {
    path: PathBuf,
    id: DeviceId,
    tier: Option<String>,
    configured: bool,
}

impl Report for Added {
    fn text(&self) -> String {
        let path = self.path.display();
        let made = format!("{path} is now device {}", self.id);
        match (self.configured, &self.tier) {
            (true, Some(tier)) => format!("{made} of tier {tier}"),
            (_, tier) => format!(
                "{made}\nIt is not in the configuration yet: add \"{path}\" to devices of [[tier]]{}, \
                 then: {}",
                tier.as_ref()
                    .map(|tier| format!(" \"{tier}\""))
                    .unwrap_or_default(),
                service::DAEMON.restart()
            ),
        }
    }
}

/// Seconds since 1970.
fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
