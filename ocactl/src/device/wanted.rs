//! `ocactl device offline | online | replace | remove`: what is wanted of a device, written down; then daemon and fill agent are told.

use std::path::Path;
use std::time::Instant;

use content_store::catalog::CatalogProblem;
use content_store::device::{Blast, Intent, Intents, Wanted};
use content_store::{DeviceId, Store, StoreError};
use protocol::config::Config;
use protocol::fill::Request;
use protocol::status::DeviceState;
use serde::Serialize;

use super::meant::{Known, Meant};
use super::{Addition, add, now_s};
use crate::agent::Agent;
use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::limits::{LET_GO_TIMEOUT, POLL_INTERVAL};
use crate::output::{self, Format, Report, bytes, count};
use crate::store;

/// Takes a device out of use for a while.
pub(super) fn offline(
    config: &Config,
    format: Format,
    path: &Path,
    reason: Option<String>,
) -> Result<Outcome, Failure> {
    let known = Known::of(config);
    let meant = Meant::by(config, &known, path)?;
    let intent = intent(&meant, meant.id, Wanted::Offline, reason);
    change(config, |intents| intents.want(intent))?;
    let told = tell(config);
    let daemon = await_daemon(config, &meant.root, |state| state == DeviceState::Offline);
    said(
        format,
        &meant,
        "offline",
        known.blast(meant.id),
        told.and(daemon),
    )
}

/// Takes a device back.
pub(super) fn online(config: &Config, format: Format, path: &Path) -> Result<Outcome, Failure> {
    let meant = Meant::by(config, &Known::of(config), path)?;
    change(config, |intents| intents.forget(&meant.root, meant.id))?;
    take_back(config)?;
    let told = tell(config);
    // Looked at again: what was offline was not touched before.
    let known = Known::of(config);
    let meant = Meant::by(config, &known, path)?;
    said(format, &meant, "online", known.blast(meant.id), told)
}

/// Compares devices that are back with the catalog, unless somebody else writes: then the fill agent does it.
fn take_back(config: &Config) -> Result<(), Failure> {
    store::refuse_wrong_user(config)?;
    let mut store = match Store::open(store::to_open(config)) {
        Err(StoreError::Catalog(CatalogProblem::Locked { .. })) => return Ok(()),
        opened => opened?,
    };
    for mut comparison in store.returned()? {
        while !comparison.step()? {}
        let lost = store.readmit(comparison)?;
        if lost > 0 {
            eprintln!(
                "ocactl: {} of a device that is back are lost, and fetched again",
                count(lost, "column")
            );
        }
    }
    Ok(())
}

/// Takes a device out of use for good.
pub(super) fn remove(
    config: &Config,
    format: Format,
    path: &Path,
    id: Option<DeviceId>,
    force: bool,
) -> Result<Outcome, Failure> {
    let known = Known::of(config);
    let meant = Meant::by(config, &known, path)?;
    match known.must_know(&meant.root) {
        Err(Failure::Failed(problem)) if force => eprintln!("ocactl: {problem}"),
        refused_or_not => refused_or_not?,
    }
    let here = meant.device.as_ref().map(content_store::Device::id);
    let id = match id.or(here) {
        Some(id) => Some(id),
        None => meant.gone(&known, None)?,
    };
    let blast = known.blast(id);
    if blast.objects_alone > 0 && !force {
        return Err(Failure::failed(format!(
            "{} of {} lie on {} alone: `ocactl device evacuate {}` copies them to others; with --force they are fetched again",
            count(blast.objects_alone, "object"),
            bytes(blast.bytes_alone),
            meant.root.display(),
            meant.root.display()
        )));
    }
    let Some(id) = id else {
        return Err(Failure::failed(format!(
            "it is not known which device was at {}, and the catalog misses none: take it out of the configuration",
            meant.root.display()
        )));
    };
    let intent = intent(&meant, Some(id), Wanted::Removed, None);
    change(config, |intents| {
        intents.forget(&meant.root, Some(id));
        intents.want(intent);
    })?;
    let told = tell(config);
    said(format, &meant, "removed", blast, told)
}

/// Lets a new device take the place of one that is gone.
pub(super) fn replace(
    config: &Config,
    format: Format,
    path: &Path,
    old: Option<DeviceId>,
    shared_fs: bool,
) -> Result<Outcome, Failure> {
    let known = Known::of(config);
    let meant = Meant::by(config, &known, path)?;
    let old = meant.gone(&known, old)?;
    let new = match content_store::device::open(&meant.root) {
        Ok(device) => {
            refuse_used(&device, old)?;
            device.id()
        }
        Err(content_store::DeviceProblem::NoIdentity { .. }) => {
            let addition = Addition {
                path: meant.root.clone(),
                tier: None,
                shared_fs,
            };
            add(config, addition)?.id
        }
        Err(problem) => return Err(problem.into()),
    };
    let blast = known.blast(old);
    let intent = old.map(|old| intent(&meant, Some(old), Wanted::Removed, None));
    change(config, |intents| {
        intents.forget(&meant.root, old);
        intent.into_iter().for_each(|intent| intents.want(intent));
    })?;
    let told = tell(config);
    let daemon = await_daemon(config, &meant.root, |state| state == DeviceState::Ok);
    let meant = Meant {
        id: Some(new),
        ..meant
    };
    said(format, &meant, "replaced", blast, told.and(daemon))
}

/// What is there must be new.
fn refuse_used(device: &content_store::Device, old: Option<DeviceId>) -> Result<(), Failure> {
    let path = device.root().display();
    if old == Some(device.id()) {
        return Err(Failure::failed(format!(
            "{path}: the old device {} is still there: mount the new one first",
            device.id()
        )));
    }
    if device.holds_objects() {
        return Err(Failure::failed(format!(
            "{path}: device {} holds objects, and what takes the place of another one must be empty (mkfs)",
            device.id()
        )));
    }
    Ok(())
}

pub(super) fn intent(
    meant: &Meant,
    id: Option<DeviceId>,
    wanted: Wanted,
    reason: Option<String>,
) -> Intent {
    Intent {
        root: meant.root.clone(),
        id,
        wanted,
        since: now_s(),
        by: store::operator(),
        reason,
    }
}

/// Writes down what is wanted.
pub(super) fn change(config: &Config, change: impl FnOnce(&mut Intents)) -> Result<(), Failure> {
    Intents::change(&config.appliance.state_dir, change)?;
    Ok(())
}

/// Whoever does not run reads it when it starts; whoever does not answer reads it by itself, a little later.
pub(super) fn tell(config: &Config) -> Result<(), String> {
    let daemon = Daemon::at(config.daemon_socket()).reload().map(drop);
    let agent = Agent::of(config).status(&Request::Devices).map(drop);
    for told in [daemon, agent] {
        match told {
            Err(error) if !error.is_not_running() => return Err(error.to_string()),
            _ => {}
        }
    }
    Ok(())
}

/// Waits until the daemon, if it runs, sees the device so.
fn await_daemon(
    config: &Config,
    root: &Path,
    is_so: impl Fn(DeviceState) -> bool,
) -> Result<(), String> {
    let daemon = Daemon::at(config.daemon_socket());
    let begun = Instant::now();
    loop {
        let status = match daemon.status() {
            Ok(status) => status,
            Err(error) if error.is_not_running() => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let mut devices = status.devices.iter();
        let device =
            devices.find(|device| Path::new(&device.path).components().eq(root.components()));
        match device {
            Some(device) if is_so(device.state) => return Ok(()),
            None => {
                return Err(
                    "the daemon does not have it in its configuration yet: restart it".to_owned(),
                );
            }
            Some(device) if begun.elapsed() >= LET_GO_TIMEOUT => {
                return Err(format!(
                    "the daemon says {}: {}",
                    device.state.as_str(),
                    device.cause
                ));
            }
            Some(_) => std::thread::sleep(POLL_INTERVAL),
        }
    }
}

fn said(
    format: Format,
    meant: &Meant,
    done: &'static str,
    blast: Blast,
    told: Result<(), String>,
) -> Result<Outcome, Failure> {
    output::print(
        format,
        &Said {
            path: meant.root.display().to_string(),
            id: meant.id,
            done,
            blast,
            problem: told.as_ref().err().cloned(),
        },
    )?;
    Ok(match told {
        Ok(()) => Outcome::Done,
        Err(_) => Outcome::Partly,
    })
}

#[derive(Serialize)]
struct Said {
    path: String,
    id: Option<DeviceId>,
    /// `offline`, `online`, `removed`, `replaced`.
    done: &'static str,
    #[serde(flatten)]
    blast: Blast,
    /// Why it is written down, and not seen to be done yet.
    problem: Option<String>,
}

impl Report for Said {
    fn text(&self) -> String {
        let alone = format!(
            "{}, {} on it",
            count(self.blast.objects_alone, "object"),
            bytes(self.blast.bytes_alone)
        );
        let path = &self.path;
        let id = self.id.map_or("unknown".to_owned(), |id| id.to_string());
        let mut text = match self.done {
            "offline" => format!(
                "{path} (device {id}) is offline until `ocactl device online {path}`\n{alone}, cannot be served meanwhile"
            ),
            "online" => format!("{path} (device {id}) is to be used"),
            "removed" => format!(
                "{path} (device {id}) is removed: take it out of the configuration at the next restart\n{alone}, are lost with it"
            ),
            _ => format!("{path} is device {id} now\nof the old one {alone}, are lost"),
        };
        if let Some(problem) = &self.problem {
            text.push_str(&format!("\nit is written down, but {problem}"));
        }
        text
    }
}
