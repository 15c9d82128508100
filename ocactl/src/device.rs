//! `ocactl device`: make a folder into a device, list devices.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use comfy_table::Cell;
use content_store::DeviceId;
use content_store::catalog::Snapshot;
use content_store::device::{self, Device, InitOptions};
use protocol::config::{Config, Tier};
use protocol::status::{self, DeviceState};
use serde::Serialize;

use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, bytes, number};
use crate::status::share;
use crate::store::{self, Probed};

/// `device add`, as it was typed.
pub(crate) struct Addition {
    pub(crate) path: PathBuf,
    pub(crate) tier: Option<String>,
    pub(crate) shared_fs: bool,
}

/// Makes a folder into a device.
pub(crate) fn add(config: &Config, format: Format, addition: Addition) -> Result<Outcome, Failure> {
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
        now_s: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        tier: tier.map(|tier| tier.name.clone()),
        shared_fs: addition.shared_fs || configured.is_some_and(|(tier, _)| tier.shared_fs),
    };
    let device = device::initialise(&path, &options)?;
    hand_over(config, &device)?;
    let added = Added {
        path,
        id: device.id().to_string(),
        tier: options.tier,
        configured: configured.is_some(),
    };
    output::print(format, &added)?;
    Ok(Outcome::Done)
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
    id: String,
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
                 then: systemctl restart oca-daemon",
                tier.as_ref()
                    .map(|tier| format!(" \"{tier}\""))
                    .unwrap_or_default()
            ),
        }
    }
}

/// Lists the devices.
pub(crate) fn list(config: &Config, format: Format) -> Result<Outcome, Failure> {
    let probed = store::probe(config);
    let snapshot = store::snapshot_or_empty(config);
    let daemon = Daemon::at(config.daemon_socket()).status();
    let listed = Devices {
        objects: snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.objects.len() as u64),
        daemon_running: daemon.is_ok(),
        devices: probed
            .iter()
            .map(|device| {
                let judged = daemon
                    .as_ref()
                    .ok()
                    .and_then(|status| judged(&status.devices, &device.root));
                Listed::new(config, device, snapshot.as_ref().ok(), judged)
            })
            .collect(),
    };
    output::print(format, &listed)?;
    if let Err(Failure::Failed(problem) | Failure::Usage(problem)) = snapshot {
        eprintln!("ocactl: what the devices hold is not known: {problem}");
    }
    Ok(
        if listed
            .devices
            .iter()
            .all(|device| device.state == DeviceState::Ok)
        {
            Outcome::Done
        } else {
            Outcome::Partly
        },
    )
}

/// The daemon's verdict on the device at `root`.
fn judged<'s>(devices: &'s [status::Device], root: &Path) -> Option<&'s status::Device> {
    devices
        .iter()
        .find(|device| Path::new(&device.path).components().eq(root.components()))
}

#[derive(Serialize)]
struct Devices {
    /// All objects of the appliance.
    objects: u64,
    daemon_running: bool,
    devices: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    path: PathBuf,
    tier: String,
    id: Option<String>,
    state: DeviceState,
    /// Why it is not `ok`.
    cause: String,
    total_bytes: Option<u64>,
    available_bytes: Option<u64>,
    /// Objects with a column on it.
    objects: u64,
}

impl Listed {
    /// What this program sees and what the daemon says; the worse counts.
    fn new(
        config: &Config,
        device: &Probed,
        snapshot: Option<&Snapshot>,
        judged: Option<&status::Device>,
    ) -> Self {
        let (state, cause) = match (&device.found, judged) {
            (Err(problem), _) => (DeviceState::Failed, problem.clone()),
            (Ok(_), Some(judged)) => (judged.state, judged.cause.clone()),
            (Ok(_), None) => (DeviceState::Ok, String::new()),
        };
        let space = device.found.as_ref().ok().map(|(_, space)| space);
        Self {
            path: device.root.clone(),
            tier: config.tiers[device.tier].name.clone(),
            id: device.id().map(|id| id.to_string()),
            state,
            cause,
            total_bytes: space.map(|space| space.total_bytes),
            available_bytes: space.map(|space| space.available_bytes),
            objects: device
                .id()
                .zip(snapshot)
                .map_or(0, |(id, snapshot)| touched(snapshot, id)),
        }
    }
}

/// Objects that need this device.
fn touched(snapshot: &Snapshot, device: DeviceId) -> u64 {
    let here = |record: &&content_store::catalog::ObjectRecord| {
        record
            .copies
            .iter()
            .any(|copy| copy.devices.contains(&device))
    };
    snapshot.objects.iter().filter(here).count() as u64
}

impl Report for Devices {
    fn text(&self) -> String {
        let mut table = output::table([
            "DEVICE", "TIER", "STATE", "FREE", "SIZE", "OBJECTS", "TOUCHES", "ID", "CAUSE",
        ]);
        let amount = |amount: Option<u64>| number(amount.map_or("-".to_owned(), bytes));
        for device in &self.devices {
            table.add_row(vec![
                Cell::new(device.path.display()),
                Cell::new(&device.tier),
                Cell::new(device.state.as_str()),
                amount(device.available_bytes),
                amount(device.total_bytes),
                number(device.objects),
                number(share(device.objects, self.objects)),
                Cell::new(device.id.as_deref().unwrap_or("-")),
                Cell::new(&device.cause),
            ]);
        }
        let note = if self.daemon_running {
            ""
        } else {
            "\n\nThe daemon is not running: states are as seen from here."
        };
        format!("{}{note}", output::rendered(&table))
    }
}
