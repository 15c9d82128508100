//! What may be typed. Help, man pages and completions all come from here.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use command_line::Generate;
use content_store::DeviceId;
use protocol::manifest::Serial;
use protocol::units::{BitRate, Interval};

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
Examples:
  ocactl status
  ocactl status --json | jq '.devices[] | select(.state != \"ok\")'")]
    Status,

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

    /// Put a drained appliance back into service
    #[command(after_help = "The daemon tests itself first, and refuses if it would not pass.")]
    Undrain,

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

/// `device ..`
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Make an empty folder into a device by writing its identity file
    #[command(after_help = "\
The folder must be the root of its own file system (a mount point), unless it belongs to a tier
with shared_fs = true, or --shared-fs is given. Nothing that is in it is ever deleted: a folder with
other files is refused.

Examples:
  mkfs.ext4 /dev/nvme0n1 && mount /dev/nvme0n1 /srv/oca/nvme0
  ocactl device add /srv/oca/nvme0
  ocactl device add /home/me/trial/nvme0 --shared-fs")]
    Add {
        /// The folder
        path: PathBuf,

        /// Name of the tier; must match the configuration if the folder is in it already
        #[arg(long, value_name = "NAME")]
        tier: Option<String>,

        /// The folder may share its file system with others (a trial on one disk)
        #[arg(long)]
        shared_fs: bool,
    },

    /// List the devices with their state, space, and what would be lost with each one
    #[command(
        visible_alias = "list",
        after_help = "\
TOUCHES is the share of all objects that have a part on the device; ALONE are those that have no whole
copy elsewhere, and what of them would have to be copied or fetched again. The state is the worst of what
this command sees and what daemon and fill agent say. Exit code 1 unless all are `ok`."
    )]
    Ls,

    /// Take a device out of use for a while: it is neither read nor written, and nothing is fetched in its place
    #[command(after_help = "\
What it alone holds is answered with 503 meanwhile, or sent by another appliance. It may be unmounted as
soon as transfers that run have ended. It survives restarts, and ends only with `ocactl device online`.

Example:
  ocactl device offline /srv/oca/nvme1 --reason \"new cable\"")]
    Offline {
        /// The folder, as in the configuration
        path: PathBuf,

        /// Why; shown to others in `ocactl device ls`
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },

    /// Take a device back that was offline, or evacuated, or away
    #[command(after_help = "\
If the catalog changed while it was away, what it holds is compared with the catalog before anything is
written to it: by the fill agent, or by this command if the agent does not run. It is read at once.")]
    Online {
        /// The folder, as in the configuration
        path: PathBuf,
    },

    /// Copy what a device alone holds to others of its tier, without fetching anything, so that it can be pulled
    #[command(after_help = "\
From now on nothing new is written to it; it serves until it is removed. Done by the fill agent, whatever
the window, or by this command if the agent does not run. `ocactl device online` ends it.

Example:
  ocactl device evacuate /srv/oca/nvme1 --wait && ocactl device remove /srv/oca/nvme1")]
    Evacuate {
        /// The folder, as in the configuration
        path: PathBuf,

        /// Come back when nothing lies on it alone
        #[arg(long)]
        wait: bool,
    },

    /// Let a new and empty device take the place of one that is gone for good
    #[command(after_help = "\
Makes the folder into a device unless it is one. The old device is forgotten: what was on it counts as
lost, and is copied or fetched again. Daemon and fill agent use the new one without a restart.

Example:
  mkfs.ext4 /dev/nvme1n1 && mount /dev/nvme1n1 /srv/oca/nvme1
  ocactl device replace /srv/oca/nvme1")]
    Replace {
        /// The folder, as in the configuration
        path: PathBuf,

        /// The device that was there, if it is not known
        #[arg(long, value_name = "ID")]
        old: Option<DeviceId>,

        /// The folder may share its file system with others (a trial on one disk)
        #[arg(long)]
        shared_fs: bool,
    },

    /// Take a device out of use for good
    #[command(after_help = "\
Refused while objects lie on it alone, unless forced: then they are fetched again. It is never taken in
again; to use the disk once more, empty it (mkfs) and add it. Take its folder out of the configuration at
the next restart.")]
    Remove {
        /// The folder, as in the configuration
        path: PathBuf,

        /// The device, if it is not here and not known
        #[arg(long, value_name = "ID")]
        id: Option<DeviceId>,

        /// Although objects lie on it alone
        #[arg(long)]
        force: bool,
    },
}

/// `content ..`
#[derive(Debug, Subcommand)]
pub(crate) enum ContentCommand {
    /// Publish all files below a folder
    #[command(after_help = "\
Each file is hashed, written to its tier, and published under PREFIX with its path below DIR.
The type comes from the end of the name (DASH, HLS, CMAF are known); playlists and manifests may be
kept by players for seconds, segments for ever. A path that is published already is replaced at once;
viewers who are reading the old file finish it. Files that are published already are not written again.

Names that begin with a dot are left out. Symbolic links are not followed. A link, a file that cannot be
read, changes or vanishes meanwhile is named, skipped and counted, and the exit code is 1.

Examples:
  ocactl content import /media/title                    /media/title/a.mpd -> /a.mpd
  ocactl content import /media/title --prefix /title    /media/title/a.mpd -> /title/a.mpd
  ocactl content import /media/title --tier hdd")]
    Import {
        /// Folder with the files, or one file
        dir: PathBuf,

        /// First part of the paths under which the files are served
        #[arg(long, value_name = "PATH", default_value = "/")]
        prefix: String,

        /// Tier to write to; without it, the first one of role `hot`, else the first one
        #[arg(long, value_name = "NAME")]
        tier: Option<String>,
    },

    /// List what is published
    #[command(
        visible_alias = "list",
        after_help = "\
Examples:
  ocactl content ls /title --limit 100
  ocactl content ls /title --limit 100 --after /title/segment-00100.m4s"
    )]
    Ls {
        /// Only paths that begin so
        #[arg(default_value = "/")]
        prefix: String,
        /// Only paths that come after this one
        #[arg(long, value_name = "PATH")]
        after: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
    },

    /// Say all about one path: object, type, layout, devices
    Stat {
        /// Path as it is served, as in /title/a.mpd
        path: String,
    },

    /// Read objects from their devices and check every byte
    #[command(after_help = "Exit code 1 if anything is damaged or missing.")]
    Verify {
        /// Only paths that begin so
        #[arg(default_value = "/")]
        prefix: String,
    },

    /// Remove paths; objects that no path leads to any more are deleted
    #[command(after_help = "\
Waits until the daemon uses them no longer (at most 60 s) before their files are deleted.

Examples:
  ocactl content rm /title/a.mpd /title/video.mp4
  ocactl content rm --recursive /title")]
    Rm {
        /// Paths as they are served
        #[arg(required = true)]
        paths: Vec<String>,

        /// Everything below the paths as well
        #[arg(long, short)]
        recursive: bool,
    },
}

/// `fill ..`
#[derive(Debug, Subcommand)]
pub(crate) enum FillCommand {
    /// Say what the fill agent does, or why it does nothing
    #[command(after_help = "\
With --watch on a terminal, a view that is drawn anew every second, until Ctrl-C; elsewhere, one
block (with --json, one line) whenever something has changed, at most one a second.

Examples:
  ocactl fill status
  ocactl fill status --watch
  ocactl fill status --json | jq -r .why")]
    Status {
        /// Go on showing it, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },

    /// List what is fetched, moved and evicted, in this order; changes nothing
    Plan {
        /// The most entries of each list
        #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },

    /// Fetch, move and evict nothing, and let others write to the store
    #[command(after_help = "\
What was taken down is still removed. What is partly fetched is kept, and continued afterwards.
A pause survives restarts.

Examples:
  ocactl fill pause --for 2h
  ocactl fill pause && ocactl content import /media/title; ocactl fill resume")]
    Pause {
        /// How long, as in 2h or \"30 min\"; without it, until `ocactl fill resume`
        #[arg(long = "for", value_name = "TIME")]
        length: Option<Interval>,
    },

    /// End a pause
    Resume,

    /// Let a held manifest through
    #[command(after_help = "\
A manifest that would empty the appliance (fewer than half of the objects, or more evictions than
fill.max_evict_per_day) is held until somebody has looked at it. `ocactl fill status` shows its serial.

Example:
  ocactl fill accept 1.43")]
    Accept {
        /// Serial of the held manifest
        serial: Serial,
    },
}

/// `fill-window ..`
#[derive(Debug, Subcommand)]
pub(crate) enum FillWindowCommand {
    /// Say what is configured, what was set, and what is in force
    Show,

    /// List the next times at which it opens and closes
    Next,

    /// Replace the configured hours, until they are set again
    #[command(after_help = "\
The configuration file stays as it is; what is set survives restarts. What is not given is as configured.

Examples:
  ocactl fill-window set 01:00-07:00
  ocactl fill-window set 00:00-24:00 --rate \"500 Mbit/s\"      always open
  ocactl fill-window set --configured                          as configured again")]
    Set(SetArguments),

    /// Open or close it whatever its hours
    #[command(subcommand)]
    Override(OverrideCommand),
}

/// `fill-window set`
#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    /// Civil time of every day, as in 02:00-14:00; may cross midnight
    #[arg(required_unless_present = "configured")]
    pub(crate) window: Option<String>,

    /// Name of the time zone, as in Europe/Berlin
    #[arg(long, value_name = "NAME")]
    pub(crate) timezone: Option<String>,

    /// The most that is fetched at once, as in \"1.2 Gbit/s\"
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<BitRate>,

    /// Go back to what is configured
    #[arg(long, conflicts_with_all = ["window", "timezone", "rate"])]
    pub(crate) configured: bool,
}

/// `fill-window override ..`
#[derive(Debug, Subcommand)]
pub(crate) enum OverrideCommand {
    /// Fill now
    Open(EndArguments),
    /// Do not fill
    Closed(EndArguments),
    /// By its hours again
    Clear,
}

/// When an override ends.
#[derive(Debug, Args)]
#[command(after_help = "Without --for and --until: until `ocactl fill-window override clear`.")]
pub(crate) struct EndArguments {
    /// How long, as in 2h or \"30 min\"
    #[arg(long = "for", value_name = "TIME", conflicts_with = "until")]
    pub(crate) length: Option<Interval>,

    /// Until when, in the zone of the window: 2026-11-22T06:00, or 06:00 for the next time that it is so late
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// `scrub ..`
#[derive(Debug, Subcommand)]
pub(crate) enum ScrubCommand {
    /// Say how far each device is, what was found, and when the next pass begins
    Status,

    /// Begin a pass now
    #[command(after_help = "\
What is found bad is not served any more, and is repaired inside the fill window.

Examples:
  ocactl scrub start
  ocactl scrub start nvme0 && ocactl scrub status")]
    Start {
        /// Last part of the device's path; without it, all devices
        device: Option<String>,
    },

    /// Read nothing back
    #[command(
        after_help = "A pause survives restarts. A pass that was begun goes on where it was."
    )]
    Pause {
        /// How long, as in 2h or \"30 min\"; without it, until `ocactl scrub resume`
        #[arg(long = "for", value_name = "TIME")]
        length: Option<Interval>,
    },

    /// End a pause
    Resume,
}

/// `catalog ..`
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Make the catalog anew from what the devices hold; nothing is hashed or fetched
    #[command(after_help = "\
For a lost or damaged state_dir. Deletes nothing: a damaged catalog is moved aside to
catalog.broken-<time>. Mount all devices first: objects that miss a part are listed, and not published.")]
    Rebuild,

    /// Read the whole catalog and check it
    Check,
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
    #[command(after_help = "\
The running daemon reads them, as its own user, and shows nobody what it found. Exit code 1 if anything is
wrong. Before the first start: oca-daemon check.

Examples:
  ocactl tls check && systemctl reload oca-daemon
  ocactl --config /tmp/new.toml tls check")]
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
