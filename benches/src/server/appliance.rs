//! What a box of ours is made of: by default two folders as devices, and a memory tier that has room for all content.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Setting;
use super::oca::ocactl_json;
use crate::tls::Security;

/// A stripe unit has to divide the files for their columns to fill memory exactly.
const DEVICES: [&str; 2] = ["nvme0", "nvme1"];

/// The devices of a box, and what lies where.
#[derive(Debug, Clone)]
pub(crate) struct Appliance {
    /// Empty, or not there yet.
    pub(crate) state: PathBuf,
    /// Of the memory tier.
    pub(crate) memory_mib: u64,
    /// For bytes read and not yet sent; the daemon's own choice if there is none.
    pub(crate) in_flight_mib: Option<u64>,
    pub(crate) tiers: Vec<Tier>,
    pub(crate) imports: Vec<Import>,
}

#[derive(Debug, Clone)]
pub(crate) struct Tier {
    pub(crate) name: &'static str,
    /// `hot` or `capacity`.
    pub(crate) role: &'static str,
    pub(crate) shared_fs: bool,
    /// Made if they are not there.
    pub(crate) devices: Vec<PathBuf>,
}

/// A folder of files, served below a prefix.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    pub(crate) folder: PathBuf,
    pub(crate) prefix: &'static str,
    pub(crate) tier: &'static str,
}

impl Appliance {
    /// All content of a setting on two devices, with memory for all of it.
    pub(super) fn of(setting: &Setting<'_>) -> Self {
        let bytes: u64 = setting.objects.iter().map(|object| object.size).sum();
        let folder = setting.folder;
        Self {
            state: folder.join("state"),
            memory_mib: bytes.div_ceil(1 << 20) + 64,
            in_flight_mib: None,
            tiers: vec![Tier {
                name: "nvme",
                role: "hot",
                shared_fs: true,
                devices: DEVICES.map(|device| folder.join(device)).to_vec(),
            }],
            imports: vec![Import {
                folder: setting.content.to_owned(),
                prefix: "/",
                tier: "nvme",
            }],
        }
    }

    pub(super) fn text(&self, setting: &Setting<'_>, backend: &str) -> String {
        let (host, workers) = (setting.host, setting.workers());
        let run = setting.folder.join("run");
        let purpose = if setting.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let mut text = format!(
            "[appliance]
id = \"bench.local.example\"
state_dir = {:?}
run_dir = {run:?}
[listen]
{purpose} = [\"{host}:0\"]
admin = \"{host}:0\"
[workers]
count = {workers}
backend = \"{backend}\"
memory = \"{} MiB\"
",
            self.state, self.memory_mib
        );
        if let Some(mib) = self.in_flight_mib {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "in_flight = \"{mib} MiB\"");
        }
        if let Some(Security {
            certificate, key, ..
        }) = setting.tls
        {
            let _ = writeln!(
                text,
                "[tls]\ncertificates = [{{ cert = {certificate:?}, key = {key:?} }}]"
            );
        }
        for tier in &self.tiers {
            let Tier {
                name,
                role,
                shared_fs,
                devices,
            } = tier;
            let _ = write!(
                text,
                "[[tier]]
name = \"{name}\"
role = \"{role}\"
shared_fs = {shared_fs}
devices = {devices:?}
"
            );
        }
        text
    }

    /// Makes the devices and imports the content.
    pub(super) fn prepare(&self, ocactl: &Path, configuration: &Path) -> Result<()> {
        for device in self.tiers.iter().flat_map(|tier| &tier.devices) {
            std::fs::create_dir_all(device)?;
            let add = ["device", "add", &device.display().to_string()];
            ocactl_json(ocactl, configuration, &add)?;
        }
        for import in &self.imports {
            let folder = import.folder.display().to_string();
            let words = [
                "content",
                "import",
                &folder,
                "--prefix",
                import.prefix,
                "--tier",
                import.tier,
            ];
            ocactl_json(ocactl, configuration, &words)?;
        }
        Ok(())
    }
}
