//! What may be typed. Help, man pages and completions all come from here.

mod fill;
mod store;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use command_line::Generate;
use protocol::service;
use protocol::units::Interval;

pub(crate) use fill::{
    EndArguments, FillCommand, FillWindowCommand, OverrideCommand, SetArguments,
};
pub(crate) use store::{CatalogCommand, ContentCommand, DeviceCommand, ScrubCommand};

/// The operator's one command for an appliance.
#[derive(Debug, Parser)]
#[command(
    name = "ocactl",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
First steps:
  ocactl check                        is the configuration right, are the devices there?
  ocactl device add /srv/oca/nvme0    make a folder into a device, once
  ocactl content import /media/title  publish the files of a folder
  ocactl status                       is the box well, what does it serve?

Exit codes: 0 done, 1 failed or refused (or done in part), 2 wrong usage or configuration."
)]
pub(crate) struct Arguments {
    /// Configuration file
    #[arg(long, short, global = true, value_name = "FILE", default_value = protocol::paths::Paths::here().config)]
    pub(crate) config: PathBuf,

    /// Print one JSON document instead of tables and sentences
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print where things are on this system
    #[arg(long, exclusive = true)]
    pub(crate) print_paths: bool,

    /// What to do
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say how the appliance is: state and causes, devices, memory, catalog
    #[command(after_help = "\
With --watch on a terminal, what the status page shows, drawn anew every second, until Ctrl-C; elsewhere,
one block (with --json, one line) whenever something has changed, at most one a second.

Examples:
  ocactl status
  ocactl status --watch
  ocactl status --json | jq '.devices[] | select(.state != \"ok\")'")]
    Status {
        /// Go on showing it, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },

    /// Look whether everything that the appliance needs is there, and say what is not
    #[command(after_help = "Changes nothing. Works whether or not the daemon is running.")]
    Check,

    /// Look for what keeps this machine from serving well: what, why it matters, and the command that mends it
    #[command(after_help = "\
Looks at the configuration, devices, mounts, kernel, clock, permissions, interfaces and cores. Changes
nothing, and works whether or not the daemon is running and the configuration is right. Run it as root, or
as the daemon's user, to see everything.

Each finding is one of: ok; advice (it would serve better otherwise); warn (it serves, until something else
happens); FAIL (something does not work). Exit code 1 if anything failed.

Examples:
  ocactl doctor
  ocactl doctor --json | jq -r '.findings[] | select(.level != \"ok\") | .mend'")]
    Doctor,

    /// Write all that a supporter needs into one tar file, without keys, tokens and passwords
    #[command(after_help = "\
Holds the meaning of the configuration, what this command and the daemon say, two days of their logs, and
what the system says of disks and interfaces. Not the access log, and nothing of what viewers asked for.
Run it as root, so that secrets can be read and looked for in all that is collected.

Example:
  ocactl support-bundle --output /tmp/box.tar && tar -tf /tmp/box.tar")]
    SupportBundle {
        /// The file; it must not be there yet. Without it, oca-support-ID-TIME.tar in this folder
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },

    /// Take the appliance out of service without cutting a viewer
    #[command(after_help = "\
Viewers are sent elsewhere first; transfers that run are let finish; what still runs after
steering.drain_bound is cut. It is safe to unplug when the state is `drained` or `drained-forced`.
A drain survives restarts, and ends only with `ocactl undrain`. The control endpoint is asked first: it
refuses if the site would have too few left; that, and that it does not answer, is overridden by --force.

Examples:
  ocactl drain --reason \"new fans\"
  ocactl drain --wait && poweroff")]
    Drain(DrainArguments),

    /// Let the daemon test itself: listeners, devices, workers, interfaces, certificates, catalog
    #[command(after_help = "\
Each address for viewers is asked a question, each device for a read from the disk itself; all else is as health sees
it now. Changes nothing, but what is found of the listeners counts for health. A drained box lets connections in
for the moment of the test.

Exit code 0: all is well. 1: something of the box's own is not; `result` in --json says whether viewers can be
served (degraded) or not (down).

Example:
  ocactl selftest --json | jq '.checks[] | select(.result != \"ok\")'")]
    Selftest,

    /// Put a drained appliance back into service
    #[command(after_help = "The daemon tests itself first, and refuses if it would not pass.")]
    Undrain,

    /// Let the program that is installed now serve, in a new process, without losing a viewer
    #[command(after_help = format!("\
After a new package, or a change of the configuration that a reload does not follow. The new process checks,
takes over the listening sockets, tests itself, and lets viewers in; the old one finishes what it sends. If
the new one finds something wrong, ends, or takes too long, the old one serves on, and it is said why.

--rollback starts the program that was installed before ({}). To keep it after the next
start of the machine, install its package.

Examples:
  {} && ocactl upgrade
  ocactl upgrade --rollback", service::previous_programs(), service::install()))]
    Upgrade(UpgradeArguments),

    /// Storage devices: make one, list them, take them out of use, evacuate or replace them
    #[command(subcommand)]
    Device(DeviceCommand),

    /// Filling by the fill agent: how far it is, what it plans, pause, held manifests
    #[command(subcommand)]
    Fill(FillCommand),

    /// When filling is allowed: show and change the window
    #[command(subcommand)]
    FillWindow(FillWindowCommand),

    /// Reading back what is stored: how far it is, begin now, pause
    #[command(subcommand)]
    Scrub(ScrubCommand),

    /// What is served: publish, list, verify, remove
    #[command(subcommand)]
    Content(ContentCommand),

    /// The index of all content
    #[command(subcommand)]
    Catalog(CatalogCommand),

    /// Certificates that viewers are shown: list them, check their files
    #[command(subcommand)]
    Tls(TlsCommand),

    /// Sessions with routers: who is there, what was learned, what is announced
    #[command(subcommand)]
    Bgp(BgpCommand),

    /// Say how much daemon and fill agent log, or change it while they run
    #[command(after_help = "\
LEVEL is off, error, warn, info, debug or trace; after a comma, others for parts of the programs. What is
set ends after --for, or with the program: then it is as configured (OCA_LOG in the unit) again. A program
that does not run is said, and left alone. At debug and trace, workers write to the log while they serve.

Examples:
  ocactl log-level
  ocactl log-level debug --for 10min
  ocactl log-level info,oca_daemon::bgp=debug --of daemon
  ocactl log-level --configured")]
    LogLevel(LogLevelArguments),

    /// Man pages and shell completions, for packagers
    #[command(subcommand, hide = true)]
    Generate(Generate),
}

/// `drain`
#[derive(Debug, Args)]
pub(crate) struct DrainArguments {
    /// Why; shown to others in `ocactl status`
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,

    /// Even if the site would have too few appliances left, or the control endpoint does not say
    #[arg(long)]
    pub(crate) force: bool,

    /// Come back when it is safe to unplug
    #[arg(long)]
    pub(crate) wait: bool,
}

/// `upgrade`
#[derive(Debug, Args)]
pub(crate) struct UpgradeArguments {
    /// The program that was installed before
    #[arg(long)]
    pub(crate) rollback: bool,

    /// Whatever the check of the new process finds, as when a disk is dead
    #[arg(long)]
    pub(crate) force: bool,

    /// How long the new process may take until it serves, at most 10 min
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) within: Interval,
}

/// `tls ..`
#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// List the certificates in force: names, end, key, files, since when, and how the last reload ended
    #[command(
        visible_alias = "list",
        after_help = "\
Example:
  ocactl tls ls --json | jq '.certificates[] | select(.days_left < 14) | .cert'"
    )]
    Ls,

    /// Read the files that the configuration names, as the daemon would, and say what is wrong with them
    #[command(after_help = format!("\
The running daemon reads them, as its own user, and shows nobody what it found. Exit code 1 if anything is
wrong. Before the first start: oca-daemon check.

Examples:
  ocactl tls check && {}
  ocactl --config /tmp/new.toml tls check", service::DAEMON.reload()))]
    Check,
}

/// `bgp ..`
#[derive(Debug, Subcommand)]
pub(crate) enum BgpCommand {
    /// List the neighbours: state of the session, since when, what was learned or told, and how the last one ended
    #[command(after_help = "\
Example:
  ocactl bgp neighbors --json | jq '.neighbors[] | select(.state != \"established\") | .ending'")]
    Neighbors,

    /// List the prefixes that neighbours want served, or that are configured for when none tells any
    #[command(after_help = "\
A stale prefix is of a session that has ended; it is kept for bgp.stale_time.

Example:
  ocactl bgp routes --neighbor 198.51.100.1 | grep stale")]
    Routes {
        /// Only those of this neighbour
        #[arg(long, value_name = "ADDRESS")]
        neighbor: Option<IpAddr>,
    },

    /// List what neighbours are told of the service addresses, and why it is not told of one
    Advertised,
}

/// `log-level`
#[derive(Debug, Args)]
pub(crate) struct LogLevelArguments {
    /// What is to be logged; without it, nothing is changed
    pub(crate) level: Option<String>,

    /// How long, as in 2h or "30 min"; without it, until the program ends
    #[arg(long = "for", value_name = "TIME", requires = "level")]
    pub(crate) length: Option<Interval>,

    /// Go back to what is configured
    #[arg(long, conflicts_with_all = ["level", "length"])]
    pub(crate) configured: bool,

    /// Only of this program
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) of: Option<LogOf>,
}

/// Whose log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogOf {
    /// `oca-daemon`
    Daemon,
    /// `oca-fill-agent`
    Agent,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
