//! What disks say of their wear: read from the files that a privileged program beside the daemon makes with `smartctl`, since asking a
//! disk takes rights that nobody who serves should have (docs/decisions/0007).
//!
//! The files lie in `<run_dir>-smart`, as in `/run/oca-smart/nvme0.json`. Without that folder nothing is known, and nothing said.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::disk::disks_below;
use protocol::config::Config;
use protocol::smart::Disk;
use steering::UnixTime;

use crate::limits::{SMART_BYTES, SMART_FILES, SMART_OLD, SMART_TICK};
use crate::shared::Shared;

/// A disk that told of itself lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worn {
    /// What it said.
    pub disk: Disk,
    /// The devices of the configuration that lie on it.
    pub devices: Vec<PathBuf>,
}

/// Looks at the files now and then.
#[derive(Debug, Default)]
pub struct Watch {
    looked: Option<Instant>,
    is_refused: bool,
}

impl Watch {
    /// To be called as often as one likes.
    pub fn look_if_due(&mut self, shared: &Shared, now: UnixTime) {
        if self.looked.is_some_and(|at| at.elapsed() < SMART_TICK) {
            return;
        }
        self.looked = Some(Instant::now());
        let config = shared.config.load();
        self.say_if_refused(&folder(&config));
        shared.worn.store(Arc::new(worn(&config, now)));
    }

    /// Once: a folder that was made after the daemon was started is not among its own ([`crate::sandbox`]).
    fn say_if_refused(&mut self, folder: &Path) {
        let refused =
            fs::read_dir(folder).is_err_and(|it| it.kind() == ErrorKind::PermissionDenied);
        if refused && !self.is_refused {
            tracing::warn!(folder = %folder.display(), "what disks say of their wear may not be read; if the folder is newer than this daemon, restart it");
        }
        self.is_refused = refused;
    }
}

/// Where the files are.
#[must_use]
pub fn folder(config: &Config) -> PathBuf {
    let mut path = OsString::from(&config.appliance.run_dir);
    path.push("-smart");
    path.into()
}

fn worn(config: &Config, now: UnixTime) -> Vec<Worn> {
    let disks = read_all(&folder(config), now);
    if disks.is_empty() {
        return Vec::new();
    }
    let below = |root: &Path| disks_below(root).unwrap_or_default();
    let devices: Vec<(PathBuf, Vec<String>)> = config
        .devices()
        .map(|(_, root)| (root.to_path_buf(), below(root)))
        .collect();
    let on = |disk: &Disk| {
        let lies = devices
            .iter()
            .filter(|(_, names)| names.iter().any(|name| disk.is(name)));
        lies.map(|(root, _)| root.clone()).collect()
    };
    disks
        .into_iter()
        .map(|disk| Worn {
            devices: on(&disk),
            disk,
        })
        .collect()
}

/// In the order of the disks' names. What is old, or no answer of a disk, is left out.
fn read_all(folder: &Path, now: UnixTime) -> Vec<Disk> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let is_json = |path: &PathBuf| path.extension().is_some_and(|end| end == "json");
    let mut disks: Vec<Disk> = paths
        .filter(is_json)
        .take(SMART_FILES)
        .filter_map(|path| {
            let found = read(&path);
            if let Err(why) = &found {
                tracing::warn!(file = %path.display(), "{why}");
            }
            found.ok()
        })
        .filter(|disk| now.since(UnixTime::from_seconds(disk.as_of)) < SMART_OLD)
        .collect();
    disks.sort_by(|one, other| one.name.cmp(&other.name));
    disks.dedup_by(|one, other| one.name == other.name);
    disks
}

fn read(path: &Path) -> Result<Disk, String> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(SMART_BYTES)
        .read_to_end(&mut text)
        .map_err(|error| error.to_string())?;
    Disk::read(&text).map_err(|error| error.to_string())
}

const _: () = assert!(SMART_OLD.as_secs() > Duration::as_secs(&SMART_TICK));

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn document(name: &str, as_of: u64) -> String {
        format!(
            "{{\"device\": {{\"name\": \"/dev/{name}\"}}, \"local_time\": {{\"time_t\": {as_of}}}}}"
        )
    }

    #[test]
    fn files_of_disks_are_read_and_all_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("sdb.json", document("sdb", NOW - 3600)),
            ("nvme0.json", document("nvme0", NOW)),
            ("old.json", document("sdc", NOW - 3 * 86_400)),
            ("half.json", "{\"device\":".to_owned()),
            ("sdd.json.new", document("sdd", NOW)),
        ];
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::create_dir(folder.path().join("folder.json")).unwrap();
        let found = read_all(folder.path(), UnixTime::from_seconds(NOW));
        let names: Vec<&str> = found.iter().map(|disk| disk.name.as_str()).collect();
        assert_eq!(names, ["nvme0", "sdb"]);
        assert!(read_all(&folder.path().join("none"), UnixTime::from_seconds(NOW)).is_empty());
    }
}
