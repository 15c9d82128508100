//! `oca-daemon`: see the library for what it does.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory, Parser, Subcommand};
use command_line::{Generate, out, said};
use oca_daemon::daemon::{self, Origin};
use oca_daemon::succession::{parent, successor::Successor};
use platform::allocation::CountingAllocator;
use platform::messages::Messages;
use protocol::config::{self, Config};
use protocol::paths::Paths;

/// Counts what each thread allocates: `oca_worker_heap_allocations_total` shows that serving allocates nothing.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The configuration or the command line is wrong.
const WRONG_USAGE: u8 = 2;

/// Serves byte ranges of media files from the tiers of one appliance.
#[derive(Debug, Parser)]
#[command(name = "oca-daemon", version, about, after_help = EXAMPLES)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = Paths::here().config)]
    config: PathBuf,
    /// Print the paths used when the configuration names none, and exit.
    #[arg(long, exclusive = true)]
    print_paths: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the daemon, and the next one at `ocactl upgrade`: what the unit of the package runs.
    Parent,
    /// Serve as the child of a parent.
    #[command(hide = true)]
    Child,
    /// Serve in the place of the daemon at the other end of the standard input.
    #[command(hide = true)]
    TakeOver {
        /// Whatever the check finds.
        #[arg(long)]
        force: bool,
    },
    /// Check configuration, devices, catalog and limits, and exit.
    Check,
    /// Man pages and shell completions, for packagers.
    #[command(hide = true, subcommand)]
    Generate(Generate),
}

const EXAMPLES: &str = "Examples:
  oca-daemon check                            check everything that can be checked without serving
  oca-daemon                                  serve until SIGTERM
  oca-daemon --config /tmp/new.toml check     check another configuration
Signals: SIGTERM stops within serve.stop_bound, SIGHUP reads the configuration and the
certificates again, SIGUSR1 opens the access log anew (so does SIGHUP).
Exit codes: 0 done, 1 failed or refused, 2 wrong usage or configuration.";

fn main() -> ExitCode {
    let arguments: Arguments = command_line::parse();
    if arguments.print_paths {
        return report(out::line(Paths::here()).map_err(Into::into));
    }
    if let Some(Command::Generate(generate)) = &arguments.command {
        return report(generate.run(Arguments::command()).map_err(Into::into));
    }
    if let Some(Command::TakeOver { force }) = arguments.command {
        return report(take_over(arguments.config, force));
    }
    let config = match config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    report(match arguments.command {
        Some(Command::Check) => check(&config),
        Some(Command::Parent) => return bring_up(arguments.config),
        Some(Command::Child) => be_child(config, arguments.config),
        // These need no configuration: they have been done.
        Some(Command::Generate(_) | Command::TakeOver { .. }) => Ok(()),
        None => serve(config, arguments.config, Origin::Alone),
    })
}

fn bring_up(config: PathBuf) -> ExitCode {
    command_line::log::start("oca-daemon");
    match parent::run(config) {
        Ok(code) => ExitCode::from(code),
        Err(error) => report(Err(error)),
    }
}

fn be_child(config: Config, path: PathBuf) -> anyhow::Result<()> {
    let parent =
        Messages::of_standard_input().context("child is for `oca-daemon parent` to start")?;
    serve(config, path, Origin::Child(parent))
}

/// What keeps it from serving is told to the daemon that serves, which tells the operator.
fn take_over(path: PathBuf, force: bool) -> anyhow::Result<()> {
    let successor = Successor::of_standard_input()?;
    let taken = try_to_take_over(path, force, successor.try_clone()?);
    if let Err(error) = &taken {
        successor.failed(&said::in_full(error.as_ref()));
    }
    taken
}

fn try_to_take_over(path: PathBuf, force: bool, successor: Successor) -> anyhow::Result<()> {
    let config = config::load(&path)?;
    if !force {
        let faults = daemon::check_itself(&config).faults;
        anyhow::ensure!(
            faults.is_empty(),
            "its check found: {}. `ocactl upgrade --force` goes on all the same",
            faults.join("; ")
        );
    }
    serve(config, path, Origin::Successor(successor))
}

fn serve(config: Config, path: PathBuf, origin: Origin) -> anyhow::Result<()> {
    command_line::log::start("oca-daemon");
    daemon::run(config, path, origin)
}

fn check(config: &Config) -> anyhow::Result<()> {
    let findings = daemon::check(config);
    findings.notes.iter().try_for_each(out::line)?;
    anyhow::ensure!(findings.faults.is_empty(), findings.faults.join("\n"));
    Ok(out::line("ok")?)
}

fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oca-daemon: {}", said::in_full(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
