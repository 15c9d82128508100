//! What writes to the ill device beside the viewers: `fio`, past the page cache, with as many requests under way as the device has places.

use std::path::Path;

use anyhow::{Context, Result};

use super::disk::{PLACES, run};
use crate::process::Process;

/// The file that is written over and over.
const BYTES: u64 = 128 << 20;

/// Writes between [`Fill::go`] and [`Fill::rest`]; ends with this value.
pub(super) struct Fill {
    process: Process,
}

impl Fill {
    /// The file, before anything is measured.
    pub(super) fn lay_out(folder: &Path) -> Result<()> {
        let file = format!("of={}", folder.join("fill").display());
        let count = format!("count={}", BYTES >> 20);
        run(
            "dd",
            &[
                "if=/dev/zero",
                &file,
                "bs=1M",
                &count,
                "oflag=direct",
                "status=none",
            ],
        )
    }

    /// Does not write yet. `tries_per_second` is how often it tries again a device that answers with errors.
    pub(super) fn start(folder: &Path, core: usize, tries_per_second: Option<u32>) -> Result<Self> {
        let mut arguments = vec![
            // All of it in one process, for it to be stopped at once.
            "--thread".to_owned(),
            "--name=fill".into(),
            format!("--filename={}", folder.join("fill").display()),
            format!("--size={BYTES}"),
            "--rw=write".into(),
            "--bs=256k".into(),
            "--direct=1".into(),
            "--ioengine=io_uring".into(),
            format!("--iodepth={PLACES}"),
            "--time_based".into(),
            "--runtime=3600".into(),
            "--continue_on_error=all".into(),
            "--output-format=terse".into(),
        ];
        arguments.extend(tries_per_second.map(|tries| format!("--rate_iops={tries}")));
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let log = folder.with_extension("fio.log");
        let process = Process::start(Path::new("fio"), &words, core, &log).context("fio")?;
        let fill = Self { process };
        fill.rest()?;
        Ok(fill)
    }

    pub(super) fn go(&self) -> Result<()> {
        self.process.signal("CONT")
    }

    /// What is under way ends by itself.
    pub(super) fn rest(&self) -> Result<()> {
        self.process.signal("STOP")
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        // A stopped process does not hear that it is to end.
        let _ = self.go();
    }
}
