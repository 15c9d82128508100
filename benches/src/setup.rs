//! What the commands begin with: cores, programs, a folder; and the file that the figures go to.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Where the servers and their client run, and where the figures go.
#[derive(clap::Args)]
pub(crate) struct Setup {
    /// Core of the servers; default: the first one
    #[arg(long)]
    server_core: Option<usize>,
    /// Core of the clients; default: the last one
    #[arg(long)]
    client_core: Option<usize>,
    /// Folder with our programs; default: where this one is
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Write all figures there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Setup {
    /// A core for the servers and one for the clients.
    pub(crate) fn cores(&self) -> Result<(usize, usize)> {
        let usable = platform::cpu::usable_cores()?;
        let (Some(&first), Some(&last)) = (usable.first(), usable.last()) else {
            anyhow::bail!("no core may be used");
        };
        let server = self.server_core.unwrap_or(first);
        let client = self.client_core.unwrap_or(last);
        ensure!(
            server != client,
            "clients and servers need a core each; this process may use {usable:?}"
        );
        Ok((server, client))
    }

    /// The core of the clients, if one was named.
    pub(crate) fn named_client_core(&self) -> Option<usize> {
        self.client_core
    }

    /// The folder that was named, or the one of this program.
    pub(crate) fn programs(&self) -> Result<PathBuf> {
        if let Some(folder) = &self.programs {
            return Ok(folder.clone());
        }
        let own = std::env::current_exe()?;
        Ok(own.parent().unwrap_or(Path::new(".")).to_owned())
    }

    /// Writes the figures, if that was asked for.
    pub(crate) fn write(&self, figures: &impl serde::Serialize) -> Result<()> {
        let Some(file) = &self.json else {
            return Ok(());
        };
        write(file, &serde_json::to_string_pretty(figures)?)
    }
}

/// Seconds of a sample, for clap: what a [`Duration`](std::time::Duration) holds, and somebody can wait for.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    between(text, 1e-3..=86_400.0)
}

/// Requests a second, for clap.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    between(text, 1e-3..=1e9)
}

/// A share of something, not none of it, for clap.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    between(text, 1e-3..=1.0)
}

/// How many of something, not none, for clap.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| "not a number".to_owned())?;
    if count == 0 {
        return Err("there must be one at least".to_owned());
    }
    Ok(count)
}

/// NaN is in no range.
fn between(text: &str, range: RangeInclusive<f64>) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let (least, most) = (range.start(), range.end());
    if !range.contains(&value) {
        return Err(format!("{value} is not in {least}..={most}"));
    }
    Ok(value)
}

pub(crate) fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| file.display().to_string())
}

/// Everything below is removed with this value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// Makes the folder that is wanted, or a new one among the temporary files.
    pub(crate) fn make(wanted: Option<PathBuf>) -> Result<Self> {
        let path = wanted.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("oca-bench-{}", std::process::id()))
        });
        // A folder that is there already holds something of somebody.
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_numbers_are_refused_with_the_range() {
        assert_eq!(share("0.5"), Ok(0.5));
        assert_eq!(share("1"), Ok(1.0));
        for bad in ["0", "-0.5", "1.01", "NaN", "inf", "half"] {
            assert!(share(bad).is_err(), "{bad}");
        }
        for bad in ["0", "-1", "NaN", "inf", "1e300"] {
            assert!(seconds(bad).is_err() && rate(bad).is_err(), "{bad}");
        }
        assert_eq!(rate("0").unwrap_err(), "0 is not in 0.001..=1000000000");
    }
}
