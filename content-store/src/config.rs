//! What the programs tell the store: plain data, made from the configuration file by them.

use std::path::PathBuf;

use crate::error::StoreError;
use crate::limits::{GROUP_BYTES, MAX_STRIPE_UNIT_BYTES, MAX_STRIPE_WIDTH, MAX_TIER_NAME_BYTES};

/// What a tier is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TierRole {
    /// Fast devices for what is watched most.
    Hot,
    /// Large devices for the rest.
    Capacity,
}

/// Devices of one kind in one box.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TierConfig {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: TierRole,
    /// Bytes laid on one device before going to the next. A multiple of `read_unit` and of 1 MiB.
    pub stripe_unit: u64,
    /// Most bytes of one read from a device.
    pub read_unit: u32,
    /// Devices of one object.
    pub stripe_width: u8,
    /// Roots of its devices.
    pub devices: Vec<PathBuf>,
}

/// Everything that the store needs to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreConfig {
    /// Folder of the appliance's state: the catalog lies in `catalog/` below it.
    pub state_dir: PathBuf,
    /// The tiers. Devices are numbered through all tiers, in this order.
    pub tiers: Vec<TierConfig>,
    /// Name of this program, for those whom the writer lock keeps out.
    pub program: String,
}

impl StoreConfig {
    /// Checks the numbers; touches no disk.
    pub fn check(&self) -> Result<(), StoreError> {
        self.tiers.iter().try_for_each(TierConfig::check)
    }

    /// The roots of all devices with the index of their tier, in the order in which devices are numbered.
    pub fn device_roots(&self) -> impl Iterator<Item = (usize, &PathBuf)> {
        self.tiers
            .iter()
            .enumerate()
            .flat_map(|(tier, config)| config.devices.iter().map(move |root| (tier, root)))
    }
}

impl TierConfig {
    fn check(&self) -> Result<(), StoreError> {
        let bad = |cause: String| {
            Err(StoreError::BadTier {
                tier: self.name.clone(),
                cause,
            })
        };
        let (unit, width) = (self.stripe_unit, usize::from(self.stripe_width));
        if self.name.is_empty() || self.name.len() > MAX_TIER_NAME_BYTES {
            return bad(format!("a name has 1 to {MAX_TIER_NAME_BYTES} bytes"));
        }
        if unit == 0 || !unit.is_multiple_of(GROUP_BYTES) || unit > MAX_STRIPE_UNIT_BYTES {
            return bad(format!(
                "stripe_unit = {unit} is not a multiple of 1 MiB between 1 MiB and 1 GiB"
            ));
        }
        if self.read_unit == 0 || !unit.is_multiple_of(u64::from(self.read_unit)) {
            return bad(format!(
                "stripe_unit = {unit} is not a multiple of read_unit = {}",
                self.read_unit
            ));
        }
        if width == 0 || width > MAX_STRIPE_WIDTH {
            return bad(format!(
                "stripe_width = {width} is not between 1 and {MAX_STRIPE_WIDTH}"
            ));
        }
        if width > self.devices.len() {
            return bad(format!(
                "stripe_width = {width} needs as many devices; there are {}",
                self.devices.len()
            ));
        }
        Ok(())
    }
}
