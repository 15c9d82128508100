//! `ocactl device`, `content`, `scrub`, `catalog`: what is stored, and where.

use std::path::PathBuf;

use clap::Subcommand;
use content_store::DeviceId;
use protocol::units::Interval;

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
        /// How long, as in 2h or "30 min"; without it, until `ocactl scrub resume`
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

    /// Read the whole catalog, and hold it against what the devices hold
    Check,
}
