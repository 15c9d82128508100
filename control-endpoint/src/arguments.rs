//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use command_line::Generate;
use control_endpoint::config;
use protocol::config::TierRole;
use protocol::paths::Paths;
use protocol::units::ByteSize;

/// The control endpoint: registers content and appliances, builds and signs manifests, serves them and the bytes.
#[derive(Debug, Parser)]
#[command(name = "oca-control", version, after_help = examples())]
pub(crate) struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value_os_t = config::default_file(), global = true)]
    pub(crate) config: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn examples() -> String {
    let folder = Paths::here().folder().display();
    format!(
        "Examples:
  oca-control keygen {folder}                  a pair of keys; the public one goes to every appliance
  oca-control appliance add c001.fra001.example --site fra001.example --cluster fra001
  oca-control ingest /srv/media --prefix /vod                 register what lies there
  oca-control rm /vod/title/seg-1.m4s                         take down: unreachable within a minute, and not fetched again
  oca-control serve
Exit codes: 0 done, 1 failed or refused, 2 wrong usage or configuration."
    )
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer appliances and operators, and build manifests in time.
    Serve,
    /// Check the configuration, the keys and the token file, and end.
    Check,
    /// Write a new pair of keys: DIR/control-1.key and .pub, or FILE and its .pub. Nothing is overwritten.
    Keygen {
        /// A folder, or the private key's file.
        #[arg(value_name = "DIR|FILE")]
        target: PathBuf,
    },
    /// Appliances and their tokens.
    #[command(subcommand)]
    Appliance(ApplianceCommand),
    /// Register files: a folder, or one file. They are served from where they lie and must not change there.
    Ingest {
        /// A folder, or one file.
        dir: PathBuf,
        /// Put before the paths.
        #[arg(long, default_value = "/")]
        prefix: String,
        /// Bytes a day that viewers of a cluster are expected to ask for, of each file. Default: its size. It fades by half
        /// each week, while what is served counts.
        #[arg(long, value_name = "BYTES_PER_DAY")]
        demand: Option<ByteSize>,
        /// Fetched outside the fill window as well, for a day; manifests are built at once.
        #[arg(long)]
        urgent: bool,
        /// Copy into the state folder instead of serving from where they lie.
        #[arg(long)]
        copy: bool,
        /// Publish also what was taken down from the same path; otherwise it is skipped.
        #[arg(long)]
        lift_takedown: bool,
    },
    /// Take paths down: no appliance serves them any more, within a minute.
    Rm {
        /// URL paths.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<String>,
    },
    /// List what is published.
    Ls {
        /// Only paths that begin so.
        #[arg(default_value = "/")]
        prefix: String,
    },
    /// Build manifests now.
    Build {
        /// Only this one's.
        #[arg(long, value_name = "ID")]
        appliance: Option<String>,
        /// Also one with fewer than half the objects of the last, or none.
        #[arg(long)]
        allow_shrink: bool,
    },
    /// Write the database to a new file, while it is in use. Keys and copied objects are not in it.
    Backup {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Put a backup in the place of the database; `serve` must not run. Appliances take its manifests although they are older.
    Restore {
        /// A file that `backup` has written.
        file: PathBuf,
    },
    /// Man pages and shell completions, for packagers.
    #[command(hide = true, subcommand)]
    Generate(Generate),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApplianceCommand {
    /// Register one, and print its token: it is not kept.
    Add {
        /// `appliance.id`, as in c001.fra001.example.
        id: String,
        /// `appliance.site`.
        #[arg(long)]
        site: String,
        /// Appliances of one cluster share popularity, and fill from each other.
        #[arg(long)]
        cluster: String,
        /// Bytes to fill in the tier of a role, as in hot=4TB. Default: 90 % of what it reports.
        #[arg(long = "tier", value_name = "ROLE=SIZE", value_parser = tier)]
        tiers: Vec<(TierRole, ByteSize)>,
        /// An appliance to fill from before the origin; the nearest first.
        #[arg(long = "upstream", value_name = "ID")]
        upstreams: Vec<String>,
    },
    /// List them.
    Ls,
    /// Forget one, with its reports and its manifest.
    Rm {
        /// `appliance.id`.
        id: String,
    },
    /// Give it a new token, and print it; the old one is refused from now on.
    Token {
        /// `appliance.id`.
        id: String,
    },
}

fn tier(text: &str) -> Result<(TierRole, ByteSize), String> {
    let allowed = "allowed: hot=SIZE or capacity=SIZE, as in hot=4TB";
    let (role, size) = text.split_once('=').ok_or(allowed)?;
    let role = match role {
        "hot" => TierRole::Hot,
        "capacity" => TierRole::Capacity,
        _ => return Err(allowed.to_owned()),
    };
    let size = size.parse().map_err(|error| format!("{error}"))?;
    Ok((role, size))
}
