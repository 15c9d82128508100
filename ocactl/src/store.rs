//! The store of this appliance, as the commands use it.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use content_store::catalog::{CatalogProblem, CatalogReader, Snapshot};
use content_store::{DeviceId, DeviceSlot, Store, StoreConfig, TierConfig, TierRole};
use protocol::config::{Config, Tier};

use crate::error::Failure;

/// The configuration in the store's words.
pub(crate) fn store_config(config: &Config) -> StoreConfig {
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
    Ok(Store::open(store_config(config))?)
}

/// What is published now.
pub(crate) fn snapshot(config: &Config) -> Result<Snapshot, Failure> {
    Ok(CatalogReader::open(&config.appliance.state_dir)?.load()?)
}

/// What is published now; nothing, on a new appliance.
pub(crate) fn snapshot_or_empty(config: &Config) -> Result<Snapshot, Failure> {
    match CatalogReader::open(&config.appliance.state_dir) {
        Ok(mut reader) => Ok(reader.load()?),
        Err(CatalogProblem::Missing { .. }) => Ok(Snapshot::default()),
        Err(problem) => Err(problem.into()),
    }
}

/// The devices with their state, in the order of the configuration.
pub(crate) fn devices(config: &Config) -> Result<Vec<DeviceSlot>, Failure> {
    Ok(content_store::open_devices(&store_config(config))?)
}

/// Where each device is mounted, as far as it is here.
pub(crate) fn roots(slots: &[DeviceSlot]) -> HashMap<DeviceId, &Path> {
    let here = slots
        .iter()
        .filter_map(|slot| Some((slot.id()?, slot.root.as_path())));
    here.collect()
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
         sudo -u {name} ocactl ..",
        state_dir.display()
    )))
}

/// The login name, else the number with the sign by which sudo knows it.
fn user_name(user: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = users
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&user.to_string()));
    entry
        .and_then(|line| line.split(':').next())
        .map_or_else(|| format!("#{user}"), str::to_owned)
}
