//! `ocactl check`: what the appliance needs, and what of it is missing. Changes nothing.

use std::collections::HashSet;
use std::path::Path;

use comfy_table::Cell;
use content_store::DeviceId;
use content_store::catalog::{CatalogProblem, CatalogReader, Snapshot};
use protocol::config::{Auto, Config};
use protocol::units::ByteSize;
use serde::Serialize;

use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, count};
use crate::store::{self, Probed};

/// Looks at everything, and prints it.
pub(crate) fn run(config: &Config, format: Format) -> Result<Outcome, Failure> {
    let probed = store::probe(config);
    let mut checks = Checks { checks: Vec::new() };
    checks.add("configuration", Level::Ok, "is right");
    let devices = probed.iter().map(|device| of_device(config, device));
    checks.checks.extend(devices);
    checks.checks.extend(besides_devices(config, &probed));
    output::print(format, &checks)?;
    let failed = checks.checks.iter().any(|check| check.level == Level::Fail);
    Ok(if failed {
        Outcome::Partly
    } else {
        Outcome::Done
    })
}

/// All but the configuration, which is right, and the devices.
pub(crate) fn besides_devices(config: &Config, probed: &[Probed]) -> Vec<Check> {
    let mut checks = Checks { checks: Vec::new() };
    folders(config, &mut checks);
    catalog(config, probed, &mut checks);
    memory(config, &mut checks);
    daemon(config, &mut checks);
    certificates(config, &mut checks);
    checks.checks
}

#[derive(Serialize)]
struct Checks {
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Serialize)]
pub(crate) struct Check {
    /// What.
    pub(crate) subject: String,
    pub(crate) level: Level,
    /// How it is.
    pub(crate) detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could, or not yet.
    Warn,
    /// Something will not work.
    Fail,
}

impl Checks {
    fn add(&mut self, subject: impl ToString, level: Level, detail: impl ToString) {
        self.checks.push(Check {
            subject: subject.to_string(),
            level,
            detail: detail.to_string(),
        });
    }
}

impl Report for Checks {
    fn text(&self) -> String {
        let mut table = output::table(["", "WHAT", "HOW IT IS"]);
        for check in &self.checks {
            let word = match check.level {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            table.add_row(vec![
                Cell::new(word),
                Cell::new(&check.subject),
                Cell::new(&check.detail),
            ]);
        }
        output::rendered(&table)
    }
}

fn folders(config: &Config, checks: &mut Checks) {
    for (name, folder) in [
        ("state_dir", &config.appliance.state_dir),
        ("run_dir", &config.appliance.run_dir),
    ] {
        let subject = format!("{name} {}", folder.display());
        match std::fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => checks.add(subject, Level::Ok, "is there"),
            Ok(_) => checks.add(subject, Level::Fail, "is not a folder"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                checks.add(
                    subject,
                    Level::Warn,
                    "is not there yet; it is made at the first start or import",
                );
            }
            Err(error) => checks.add(subject, Level::Fail, error),
        }
    }
    if let Err(Failure::Failed(problem) | Failure::Usage(problem)) =
        store::refuse_wrong_user(config)
    {
        checks.add("user", Level::Warn, problem);
    }
}

/// A device as it was found.
pub(crate) fn of_device(config: &Config, device: &Probed) -> Check {
    let (level, detail) = judge(config, device);
    Check {
        subject: format!("device {}", device.root.display()),
        level,
        detail,
    }
}

fn judge(config: &Config, device: &Probed) -> (Level, String) {
    let tier = &config.tiers[device.tier];
    let (device, space) = match &device.found {
        Ok(found) => found,
        Err(problem) => return (Level::Fail, problem.to_string()),
    };
    let identity = device.identity();
    if let Some(made_for) = identity.tier.as_ref().filter(|name| **name != tier.name) {
        return (
            Level::Warn,
            format!(
                "was made for tier {made_for}, and is configured in tier {}",
                tier.name
            ),
        );
    }
    if identity.shared_fs && !tier.shared_fs {
        let detail = "shares its file system with other folders: they fail together, and their speeds are one; \
                      say so with shared_fs = true in its [[tier]], or give it a disk of its own";
        return (Level::Warn, detail.to_owned());
    }
    let percent = space.available_bytes.saturating_mul(100) / space.total_bytes.max(1);
    (Level::Ok, format!("tier {}, {percent} % free", tier.name))
}

fn catalog(config: &Config, devices: &[Probed], checks: &mut Checks) {
    match CatalogReader::open(&config.appliance.state_dir).and_then(|mut reader| reader.load()) {
        Ok(snapshot) => {
            let found = format!(
                "generation {}, {}, {}",
                snapshot.generation.0,
                count(snapshot.paths.len() as u64, "path"),
                count(snapshot.objects.len() as u64, "object")
            );
            checks.add("catalog", Level::Ok, found);
            absent_devices(&snapshot, devices, checks);
        }
        Err(problem @ CatalogProblem::Missing { .. }) => {
            checks.add("catalog", Level::Warn, problem)
        }
        Err(problem) => checks.add("catalog", Level::Fail, problem),
    }
}

/// Objects that lie on a device that is not here.
fn absent_devices(snapshot: &Snapshot, devices: &[Probed], checks: &mut Checks) {
    let here: HashSet<DeviceId> = devices.iter().filter_map(Probed::id).collect();
    let lacks = |record: &&content_store::catalog::ObjectRecord| {
        record
            .copies
            .iter()
            .all(|copy| copy.devices.iter().any(|device| !here.contains(device)))
    };
    let lacking = snapshot.objects.iter().filter(lacks).count() as u64;
    if lacking > 0 {
        let detail = format!(
            "{} need a device that is not here",
            count(lacking, "object")
        );
        checks.add("objects", Level::Fail, detail);
    }
}

fn memory(config: &Config, checks: &mut Checks) {
    let lockable = platform::file::lockable_bytes();
    let Auto::Fixed(wanted) = config.workers.memory else {
        return;
    };
    if wanted.bytes() > platform::file::memory_bytes() {
        let have = ByteSize::from_bytes(platform::file::memory_bytes());
        checks.add(
            "memory",
            Level::Fail,
            format!("workers.memory is {wanted}, and there are {have}"),
        );
    } else if wanted.bytes() > lockable {
        let may = ByteSize::from_bytes(lockable);
        let advice = platform::file::lock_limit_advice();
        checks.add(
            "memory",
            Level::Warn,
            format!("workers.memory is {wanted}, and this user may lock {may}: {advice}"),
        );
    } else {
        checks.add("memory", Level::Ok, format!("{wanted} may be locked"));
    }
}

fn daemon(config: &Config, checks: &mut Checks) {
    match Daemon::at(config.daemon_socket()).status() {
        Ok(status) => checks.add(
            "daemon",
            Level::Ok,
            format!("version {}, {}", status.version, status.state),
        ),
        Err(error) if error.is_not_running() => checks.add("daemon", Level::Warn, error),
        Err(error) => checks.add("daemon", Level::Fail, error),
    }
    socket_folder(&config.appliance.run_dir, checks);
}

/// As the daemon reads them; while it does not run, `oca-daemon check` says what it would find.
fn certificates(config: &Config, checks: &mut Checks) {
    let Some(tls) = &config.tls else {
        return;
    };
    let daemon = Daemon::at(config.daemon_socket());
    match daemon.check_certificates(tls.certificates.clone()) {
        Ok(checked) => {
            for checked in checked {
                let (level, detail) = match checked.problem {
                    Some(problem) => (Level::Fail, problem),
                    None => (Level::Ok, "fits its key".to_owned()),
                };
                checks.add(
                    format!("certificate {}", checked.cert.display()),
                    level,
                    detail,
                );
            }
        }
        Err(error) if error.is_not_running() => checks.add(
            "certificates",
            Level::Warn,
            "not looked at, since the daemon is not running; look with: oca-daemon check",
        ),
        Err(error) => checks.add("certificates", Level::Fail, error),
    }
}

/// Whoever may write there can put a false socket in the place of the daemon's.
fn socket_folder(run_dir: &Path, checks: &mut Checks) {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = std::fs::metadata(run_dir) else {
        return;
    };
    if metadata.mode() & 0o002 != 0 {
        let detail =
            "anybody may write there, so anybody could answer in the daemon's place; chmod o-w";
        checks.add(
            format!("run_dir {}", run_dir.display()),
            Level::Fail,
            detail,
        );
    }
}
