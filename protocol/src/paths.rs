//! Where the programs look and write when nothing else is said, per operating system.

use std::path::Path;

/// The places of one operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paths {
    /// The configuration file.
    pub config: &'static str,
    /// What must survive a restart: catalog, operator intent.
    pub state_dir: &'static str,
    /// What lives as long as the processes: sockets.
    pub run_dir: &'static str,
}

/// Linux, after the Filesystem Hierarchy Standard 3.0.
pub const LINUX: Paths = Paths {
    config: "/etc/oca/oca.toml",
    state_dir: "/var/lib/oca",
    run_dir: "/run/oca",
};

/// FreeBSD, after hier(7): ports configure below `/usr/local/etc`.
pub const FREEBSD: Paths = Paths {
    config: "/usr/local/etc/oca/oca.toml",
    state_dir: "/var/db/oca",
    run_dir: "/var/run/oca",
};

impl Paths {
    /// The places of `system`, a value of [`std::env::consts::OS`]. Systems that are not in the table get Linux's.
    #[must_use]
    pub fn of(system: &str) -> &'static Self {
        match system {
            "freebsd" => &FREEBSD,
            _ => &LINUX,
        }
    }

    /// The places of the system this program was built for.
    #[must_use]
    pub fn here() -> &'static Self {
        Self::of(std::env::consts::OS)
    }

    /// The folder of the configuration.
    #[must_use]
    pub fn folder(&self) -> &Path {
        let config = self.config();
        config.parent().unwrap_or(config)
    }

    /// [`Paths::config`] as a path.
    #[must_use]
    pub fn config(&self) -> &Path {
        Path::new(self.config)
    }
}

/// For `--print-paths`: one `name = "path"` a line.
impl std::fmt::Display for Paths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "config = \"{}\"", self.config)?;
        writeln!(f, "state_dir = \"{}\"", self.state_dir)?;
        write!(f, "run_dir = \"{}\"", self.run_dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_has_its_own_places() {
        assert_eq!(Paths::of("freebsd").state_dir, "/var/db/oca");
        assert_eq!(Paths::of("linux").state_dir, "/var/lib/oca");
        assert_eq!(Paths::of("plan9"), &LINUX);
        assert_eq!(FREEBSD.folder(), Path::new("/usr/local/etc/oca"));
    }
}
