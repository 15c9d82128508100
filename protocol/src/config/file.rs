//! The file as it is typed: before defaults that depend on something else are filled in.

use std::path::PathBuf;

use serde::Deserialize;

use super::bgp::Bgp;
use super::section::{Control, Fill, Listen, Log, Scrub, Serve, Steering, TierRole, Workers};
use super::tls::Tls;
use crate::units::ByteSize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) appliance: WrittenAppliance,
    #[serde(default)]
    pub(super) listen: Listen,
    pub(super) tls: Option<Tls>,
    #[serde(default)]
    pub(super) workers: Workers,
    #[serde(default)]
    pub(super) tier: Vec<WrittenTier>,
    #[serde(default)]
    pub(super) serve: Serve,
    #[serde(default)]
    pub(super) log: Log,
    pub(super) control: Option<Control>,
    pub(super) fill: Option<Fill>,
    #[serde(default)]
    pub(super) scrub: Scrub,
    #[serde(default)]
    pub(super) steering: Steering,
    #[serde(default)]
    pub(super) bgp: Bgp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenAppliance {
    pub(super) id: String,
    pub(super) site: Option<String>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) run_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenTier {
    pub(super) name: String,
    pub(super) role: TierRole,
    pub(super) read_unit: Option<ByteSize>,
    pub(super) stripe_unit: Option<ByteSize>,
    pub(super) stripe_width: Option<u8>,
    pub(super) devices: Vec<PathBuf>,
    #[serde(default)]
    pub(super) speeds: Vec<u16>,
    #[serde(default)]
    pub(super) shared_fs: bool,
}
