//! What the commands begin with: cores, programs, a folder; and the file that the figures go to.

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
