//! Processes that ask an ill device for something, to see how it is.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::case::{Case, Illness};
use super::mirror::Mood;

/// One process; ended with this value if the kernel lets it.
pub(super) struct Probe {
    child: Child,
}

impl Probe {
    /// Those that a device with this illness lets hang.
    pub(super) fn all(mount: &Path, case: Case) -> Result<Vec<Self>> {
        let file = mount.join("fill").display().to_string();
        let read = [
            "dd",
            &format!("if={file}"),
            "of=/dev/null",
            "bs=64k",
            "count=1",
            "iflag=direct",
        ];
        let mut probes = vec![Self::start(&read)?];
        if case.illness() == Illness::In(Mood::Silent) {
            probes.push(Self::start(&["stat", &file])?);
            probes.push(Self::start(&["tail", "-c", "1", &file])?);
        }
        Ok(probes)
    }

    fn start(words: &[&str]) -> Result<Self> {
        let child = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context(words[0].to_owned())?;
        Ok(Self { child })
    }

    /// It has not ended.
    pub(super) fn hangs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Whether a read ends with EIO.
    pub(super) fn meets_eio(mount: &Path) -> Result<bool> {
        let file = format!("if={}", mount.join("fill").display());
        let output = Command::new("dd")
            .args([&file, "of=/dev/null", "bs=64k", "count=1", "iflag=direct"])
            .env("LC_ALL", "C")
            .output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        Ok(!output.status.success() && words.contains("Input/output error"))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // One that hangs ends when the device does.
        let _ = self.child.kill();
        let _ = self.child.try_wait();
    }
}
