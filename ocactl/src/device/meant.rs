//! The device that an operator means by a path, and what is known of it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use content_store::catalog::Snapshot;
use content_store::device::Blast;
use content_store::{Device, DeviceId};
use protocol::config::Config;
use protocol::fill::Request;
use protocol::status::{self, DeviceState};

use crate::agent::Agent;
use crate::daemon::Daemon;
use crate::error::Failure;
use crate::socket::AskError;
use crate::store::{self, Probed};

/// All that is known of all devices.
pub(super) struct Known {
    pub(super) probed: Vec<Probed>,
    pub(super) snapshot: Result<Snapshot, Failure>,
    /// As the daemon says, or why it does not.
    pub(super) daemon: Result<Vec<status::Device>, AskError>,
    /// As the fill agent says; none if it does not run.
    pub(super) agent: Option<Vec<protocol::fill::DeviceFill>>,
    seen: content_store::device::Seen,
}

impl Known {
    /// Looks, and asks.
    pub(super) fn of(config: &Config) -> Self {
        let daemon = Daemon::at(config.daemon_socket()).status();
        let agent = Agent::of(config).status(&Request::Status).ok();
        let probed = store::probe(config);
        let mut seen = store::seen(config);
        let found = probed.iter().flat_map(|device| &device.found);
        seen.find(found.map(|(device, _)| device));
        Self {
            snapshot: held(config, &probed),
            probed,
            daemon: daemon.map(|status| status.devices),
            agent: agent.map(|status| status.devices),
            seen,
        }
    }

    /// The daemon's words on the device at `root`.
    pub(super) fn judged(&self, root: &Path) -> Option<&status::Device> {
        let mut devices = self.daemon.iter().flatten();
        devices.find(|device| same(Path::new(&device.path), root))
    }

    /// The device of a place: the one that is here and may be; else the one that was seen there last.
    pub(super) fn id(&self, device: &Probed) -> Option<DeviceId> {
        let told = || self.judged(&device.root)?.id.as_ref()?.parse().ok();
        let seen = || self.seen.at(&device.root);
        device.id().or_else(seen).or_else(told)
    }

    /// The devices that are read.
    pub(super) fn here(&self) -> HashSet<DeviceId> {
        let read = self.probed.iter().filter(|device| {
            let condition = device.found.as_ref().err().map(|wrong| wrong.condition);
            let found = condition.map_or(DeviceState::Ok, |it| DeviceState::of_word(it.as_str()));
            let judged = self.judged(&device.root).map(|judged| judged.state);
            found.is_read() && judged.is_none_or(DeviceState::is_read)
        });
        read.filter_map(|device| self.id(device)).collect()
    }

    /// Refuses if it is not known what the devices hold: to tell nothing of it is not to hold nothing.
    pub(super) fn must_know(&self, root: &Path) -> Result<(), Failure> {
        let Err(Failure::Failed(problem) | Failure::Usage(problem)) = &self.snapshot else {
            return Ok(());
        };
        Err(Failure::failed(format!(
            "what lies on {} is not known: {problem}",
            root.display()
        )))
    }

    /// What fails with a device; nothing, if it is not known.
    pub(super) fn blast(&self, id: Option<DeviceId>) -> Blast {
        let (Some(id), Ok(snapshot)) = (id, &self.snapshot) else {
            return Blast::default();
        };
        Blast::of(snapshot, id, &self.here())
    }

    /// Devices of the catalog that are nowhere, and were seen nowhere that is configured.
    fn unknown(&self) -> HashSet<DeviceId> {
        let known: HashSet<DeviceId> = self.probed.iter().filter_map(|it| self.id(it)).collect();
        let records = self.snapshot.iter().flat_map(|snapshot| &snapshot.objects);
        let devices = records
            .flat_map(|record| &record.copies)
            .flat_map(|copy| &copy.devices);
        devices.filter(|id| !known.contains(id)).copied().collect()
    }
}

/// What is published; nothing, on a new appliance. Where devices hold objects, a catalog that is not there is a lost one.
fn held(config: &Config, probed: &[Probed]) -> Result<Snapshot, Failure> {
    let snapshot = store::snapshot_or_empty(config)?;
    let mut here = probed.iter().filter_map(|it| it.found.as_ref().ok());
    match snapshot.objects.is_empty() && here.any(|(device, _)| device.holds_objects()) {
        true => store::snapshot(config),
        false => Ok(snapshot),
    }
}

/// A configured device.
pub(super) struct Meant {
    /// Configured path.
    pub(super) root: PathBuf,
    /// The device that belongs there.
    pub(super) id: Option<DeviceId>,
    /// The device that is there and may be used.
    pub(super) device: Option<Device>,
}

impl Meant {
    /// The one at `path`, which must be configured.
    pub(super) fn by(config: &Config, known: &Known, path: &Path) -> Result<Self, Failure> {
        let path = std::path::absolute(path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        let found = known.probed.iter().find(|device| same(&device.root, &path));
        let Some(probed) = found else {
            let roots = config.devices().map(|(_, root)| root.display().to_string());
            return Err(Failure::usage(format!(
                "{} is no device of the configuration; there are: {}",
                path.display(),
                roots.collect::<Vec<_>>().join(", ")
            )));
        };
        Ok(Self {
            root: probed.root.clone(),
            id: known.id(probed),
            device: probed.found.as_ref().ok().map(|(device, _)| device.clone()),
        })
    }

    /// The device that was here before, for one that is gone: as it was given, seen, or the only one that the catalog misses.
    pub(super) fn gone(
        &self,
        known: &Known,
        given: Option<DeviceId>,
    ) -> Result<Option<DeviceId>, Failure> {
        let here = self.device.as_ref().map(Device::id);
        if let Some(id) = given.or(self.id.filter(|id| Some(*id) != here)) {
            return Ok(Some(id));
        }
        let unknown: Vec<DeviceId> = known.unknown().into_iter().collect();
        match unknown[..] {
            [] => Ok(None),
            [only] => Ok(Some(only)),
            _ => {
                let ids: Vec<String> = unknown.iter().map(ToString::to_string).collect();
                Err(Failure::failed(format!(
                    "it is not known which device was at {}; the catalog misses {}: say which one with its id",
                    self.root.display(),
                    ids.join(", ")
                )))
            }
        }
    }
}

fn same(one: &Path, other: &Path) -> bool {
    one.components().eq(other.components())
}
