//! The store of this appliance, as the commands use it.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use content_store::catalog::{CatalogReader, Snapshot};
use content_store::device::{self, Complaint, Condition, Device, Intents, Seen};
use content_store::placement::Rule;
use content_store::{DeviceId, DeviceSlot, Store, StoreConfig, TierConfig, TierRole};
use platform::file::Space;
use protocol::config::{Config, Tier};

use crate::error::Failure;
use crate::limits::DEVICE_TIMEOUT;

/// The configuration in the store's words, for whoever opens the devices next. Those that hang are left alone from now on.
pub(crate) fn to_open(config: &Config) -> StoreConfig {
    leave_silent_alone(config);
    StoreConfig {
        state_dir: config.appliance.state_dir.clone(),
        tiers: config.tiers.iter().map(tier_config).collect(),
        program: "ocactl".to_owned(),
    }
}

fn tier_config(tier: &Tier) -> TierConfig {
    TierConfig {
        name: tier.name.clone(),
        role: match tier.role {
            protocol::config::TierRole::Hot => TierRole::Hot,
            protocol::config::TierRole::Capacity => TierRole::Capacity,
        },
        stripe_unit: tier.stripe_unit.bytes(),
        read_unit: u32::try_from(tier.read_unit.bytes())
            .expect("the configuration allows at most 16 MiB"),
        stripe_width: tier.stripe_width,
        devices: tier.devices.clone(),
    }
}

/// Opens the store for writing.
pub(crate) fn open(config: &Config) -> Result<Store, Failure> {
    refuse_wrong_user(config)?;
    let mut store = Store::open(to_open(config))?;
    store.place_by(placing(config));
    Ok(store)
}

/// How new columns are placed.
fn placing(config: &Config) -> Rule {
    let speeds = config.speeds();
    Rule {
        high_watermark: config.high_watermark(),
        speeds: speeds.map(|(root, speed)| (root.into(), speed)).collect(),
    }
}

/// What is published now.
pub(crate) fn snapshot(config: &Config) -> Result<Snapshot, Failure> {
    Ok(CatalogReader::open(&config.appliance.state_dir)?.load()?)
}

/// What is published now; nothing, on a new appliance.
pub(crate) fn snapshot_or_empty(config: &Config) -> Result<Snapshot, Failure> {
    Ok(Snapshot::read_or_empty(&config.appliance.state_dir)?)
}

/// The devices with their state, in the order of the configuration.
pub(crate) fn devices(config: &Config) -> Result<Vec<DeviceSlot>, Failure> {
    Ok(content_store::open_devices(&to_open(config))?)
}

/// A configured device as it was found, within [`DEVICE_TIMEOUT`].
pub(crate) struct Probed {
    /// Index of its tier in the configuration.
    pub(crate) tier: usize,
    /// Configured path.
    pub(crate) root: PathBuf,
    /// The device and its room, or what is wrong with it.
    pub(crate) found: Result<(Device, Space), Complaint>,
    /// Nothing new is to be written to it.
    pub(crate) is_evacuating: bool,
}

impl Probed {
    /// Its name, if it is here.
    pub(crate) fn id(&self) -> Option<DeviceId> {
        self.found.as_ref().ok().map(|(device, _)| device.id())
    }
}

/// Looks at all devices at once. One that hangs is said to, and keeps neither the others waiting nor this program from ending.
pub(crate) fn probe(config: &Config) -> Vec<Probed> {
    leave_silent_alone(config);
    let configured = config.tiers.iter().enumerate();
    let configured: Vec<(usize, &Path)> = configured
        .flat_map(|(tier, of)| of.devices.iter().map(move |root| (tier, root.as_path())))
        .collect();
    let roots: Vec<&Path> = configured.iter().map(|(_, root)| *root).collect();
    let (intents, seen) = (intents(config), seen(config));
    let mut probed: Vec<Probed> = configured
        .iter()
        .zip(device::look_at_all(&roots, &intents, &seen, DEVICE_TIMEOUT))
        .map(|((tier, root), found)| Probed {
            tier: *tier,
            root: root.to_path_buf(),
            is_evacuating: found
                .as_ref()
                .is_ok_and(|(device, _)| intents.is_evacuating(&device.id())),
            found: found.map_err(Complaint::from),
        })
        .collect();
    refuse_twins(&mut probed);
    probed
}

/// No thread of this program is to hang in a device: the command would not end. Gives those that have fallen silent since it was called
/// last.
pub(crate) fn leave_silent_alone(config: &Config) -> Vec<PathBuf> {
    device::leave_configured_alone(config, DEVICE_TIMEOUT)
}

/// What is wanted of the devices; nothing, with a warning, if it cannot be read.
pub(crate) fn intents(config: &Config) -> Intents {
    Intents::read(&config.appliance.state_dir).unwrap_or_else(|problem| {
        tracing::warn!("{problem}");
        Intents::default()
    })
}

/// Which device was where; nothing, with a warning, if it cannot be read.
pub(crate) fn seen(config: &Config) -> Seen {
    Seen::read(&config.appliance.state_dir).unwrap_or_else(|problem| {
        tracing::warn!("{problem}");
        Seen::default()
    })
}

/// Two folders that are one device: a disk mounted twice, or an identity file that was copied.
fn refuse_twins(probed: &mut [Probed]) {
    for index in 1..probed.len() {
        let (before, rest) = probed.split_at_mut(index);
        let twin = before
            .iter()
            .find(|other| other.id().is_some() && other.id() == rest[0].id());
        if let Some(twin) = twin {
            let path = twin.root.display();
            rest[0].found = Err(Complaint {
                condition: Condition::Swapped,
                words: format!("is the same device as {path}: configure it once"),
            });
        }
    }
}

/// What root writes into a state folder of another user, the daemon could not open.
pub(crate) fn refuse_wrong_user(config: &Config) -> Result<(), Failure> {
    let state_dir = &config.appliance.state_dir;
    let owner = match std::fs::metadata(state_dir) {
        Ok(metadata) => metadata.uid(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::failed(format!("{}: {error}", state_dir.display()))),
    };
    if platform::user::effective() != 0 || owner == 0 {
        return Ok(());
    }
    let name = user_name(owner);
    Err(Failure::failed(format!(
        "{} belongs to {name}, and what root writes there the daemon could not open; run it as that user: \
         runuser -u {name} -- ocactl .. (FreeBSD: su -m {name} -c 'ocactl ..')",
        state_dir.display()
    )))
}

/// The login name, else the number with the sign by which sudo knows it.
pub(crate) fn user_name(user: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = users
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&user.to_string()));
    entry
        .and_then(|line| line.split(':').next())
        .map_or_else(|| format!("#{user}"), str::to_owned)
}

/// Who asks: whoever typed it, also behind sudo.
pub(crate) fn operator() -> String {
    let names = ["SUDO_USER", "DOAS_USER", "LOGNAME", "USER"];
    let name = names
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    name.unwrap_or_else(|| user_name(platform::user::effective()))
}
