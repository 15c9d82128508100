//! `oca-fill-agent`: see the library for what it does.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fill_agent::agent::Mode;
use fill_agent::service;
use protocol::config;
use protocol::paths::Paths;

/// The configuration or the command line is wrong.
const WRONG_USAGE: u8 = 2;

/// Makes an appliance hold what its manifest asks for.
#[derive(Debug, Parser)]
#[command(name = "oca-fill-agent", version, about, arg_required_else_help = true, after_help = EXAMPLES)]
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

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Fill every night, until SIGTERM.
    Run,
    /// Get the manifest, fill until all that is wanted and fits is here, and exit. Keeps to the window.
    Once {
        /// Whatever the hours, and although the window was closed by an operator. A pause and the rate are kept to.
        #[arg(long)]
        now: bool,
    },
    /// Check configuration, keys, token, state, and that the control endpoint answers; and exit.
    Check,
}

const EXAMPLES: &str = "Examples:
  oca-fill-agent --config /etc/oca/oca.toml check         check everything that can be checked without filling
  oca-fill-agent --config /etc/oca/oca.toml run           fill until SIGTERM
  oca-fill-agent --config /etc/oca/oca.toml once --now    fill now, once
Signals: SIGTERM publishes what is whole and stops, SIGHUP reads the configuration again.
Exit codes: 0 done, 1 failed or refused (once: not complete), 2 wrong usage or configuration.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(command) = arguments.command else {
        return without_command(arguments.print_paths);
    };
    let config = match config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let result = match command {
        Command::Run => service::work(config, arguments.config, Mode::Service),
        Command::Once { now } => service::work(config, arguments.config, Mode::Once { now }),
        Command::Check => service::check(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oca-fill-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn without_command(print_paths: bool) -> ExitCode {
    if print_paths {
        println!("{}", Paths::here());
        return ExitCode::SUCCESS;
    }
    eprintln!("oca-fill-agent: a command is missing: run, once or check; see --help");
    ExitCode::from(WRONG_USAGE)
}
