//! A control group that holds this process and its children, and what they may ask of a block device.
//!
//! The kernel charges what a loop device reads and writes below itself to whoever asked it (since 5.14), so a rule on the lower of
//! two loop devices holds for the servers and the fill although a kernel thread submits it. Version 1 (`blkio`) and version 2 (`io`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// What a device gives to all together, each second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Rule {
    /// Bytes read, and as many written.
    pub(super) bytes: Option<u64>,
    /// Reads, and as many writes.
    pub(super) operations: Option<u64>,
}

impl Rule {
    pub(super) const NONE: Self = Self {
        bytes: None,
        operations: None,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// To be dissolved by who made it.
pub(super) struct Group {
    folder: PathBuf,
    parent: PathBuf,
    version: Version,
}

impl Group {
    /// Errors: no right to do so, or the kernel has neither `blkio` nor `io`.
    pub(super) fn join() -> Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let (version, parent) = if root.join("cgroup.controllers").exists() {
            let control = root.join("cgroup.subtree_control");
            fs::write(&control, "+io").context("no control of I/O by cgroup v2")?;
            (Version::Two, root.to_owned())
        } else {
            (Version::One, root.join("blkio"))
        };
        ensure!(parent.exists(), "no cgroup that controls block devices");
        let folder = parent.join(format!("oca-bench-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let group = Self {
            folder,
            parent,
            version,
        };
        if let Err(error) = group.enter(&group.folder, std::process::id()) {
            group.dissolve()?;
            return Err(error);
        }
        Ok(group)
    }

    fn enter(&self, folder: &Path, process: u32) -> Result<()> {
        let file = folder.join("cgroup.procs");
        fs::write(&file, process.to_string()).with_context(|| file.display().to_string())
    }

    /// From now on; `device` is `major:minor`.
    ///
    /// Errors: the kernel does not take it, or does not say afterwards that it holds.
    pub(super) fn set(&self, device: &str, rule: Rule) -> Result<()> {
        for (file, value) in self.lines(device, rule) {
            let path = self.folder.join(file);
            let line = format!("{device} {value}");
            fs::write(&path, &line).with_context(|| format!("{}: {line}", path.display()))?;
        }
        self.check(device, rule)
    }

    /// What is written to which file.
    fn lines(&self, _device: &str, rule: Rule) -> Vec<(&'static str, String)> {
        match self.version {
            Version::One => {
                let number = |value: Option<u64>| value.unwrap_or(0).to_string();
                vec![
                    ("blkio.throttle.read_bps_device", number(rule.bytes)),
                    ("blkio.throttle.write_bps_device", number(rule.bytes)),
                    ("blkio.throttle.read_iops_device", number(rule.operations)),
                    ("blkio.throttle.write_iops_device", number(rule.operations)),
                ]
            }
            Version::Two => {
                let word = |value: Option<u64>| value.map_or("max".into(), |it| it.to_string());
                let (bytes, operations) = (word(rule.bytes), word(rule.operations));
                let all =
                    format!("rbps={bytes} wbps={bytes} riops={operations} wiops={operations}");
                vec![("io.max", all)]
            }
        }
    }

    /// Whether the kernel says that the rule holds, and that this process is under it.
    pub(super) fn check(&self, device: &str, rule: Rule) -> Result<()> {
        for (file, value) in self.lines(device, rule) {
            let said = fs::read_to_string(self.folder.join(file))?;
            let line = said
                .lines()
                .find(|line| line.starts_with(&format!("{device} ")));
            let held = line.map(|line| line[device.len()..].trim());
            let lifted = rule == Rule::NONE || value == "0";
            if held != Some(value.as_str()) && !(lifted && held.is_none()) {
                bail!("{file}: {device} was to be held to {value}, the kernel says {held:?}");
            }
        }
        let own = std::process::id().to_string();
        let members = fs::read_to_string(self.folder.join("cgroup.procs"))?;
        ensure!(members.lines().any(|line| line == own), "not in the cgroup");
        Ok(())
    }

    /// Lifts all rules, lets everybody go, and removes the group. What was held back goes on at once.
    pub(super) fn dissolve(&self) -> Result<()> {
        for file in [
            "io.max",
            "blkio.throttle.read_bps_device",
            "blkio.throttle.read_iops_device",
        ] {
            for line in fs::read_to_string(self.folder.join(file))
                .unwrap_or_default()
                .lines()
            {
                let device = line.split(' ').next().unwrap_or_default();
                self.set(device, Rule::NONE)?;
            }
        }
        for member in fs::read_to_string(self.folder.join("cgroup.procs"))?.lines() {
            // It may have ended meanwhile.
            let _ = self.enter(&self.parent, member.parse()?);
        }
        fs::remove_dir(&self.folder).with_context(|| self.folder.display().to_string())
    }
}
