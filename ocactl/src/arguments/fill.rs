//! `ocactl fill` and `fill-window`: what is fetched, and when.

use clap::{Args, Subcommand};
use protocol::manifest::Serial;
use protocol::units::{BitRate, Interval};

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
        /// How long, as in 2h or "30 min"; without it, until `ocactl fill resume`
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

    /// The most that is fetched at once, as in "1.2 Gbit/s"
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
    /// How long, as in 2h or "30 min"
    #[arg(long = "for", value_name = "TIME", conflicts_with = "until")]
    pub(crate) length: Option<Interval>,

    /// Until when, in the zone of the window: 2026-11-22T06:00, or 06:00 for the next time that it is so late
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}
