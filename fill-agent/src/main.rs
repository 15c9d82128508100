//! `oca-fill-agent`: see the library for what it does.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use command_line::{Generate, out, said};
use fill_agent::agent::Mode;
use fill_agent::service;
use protocol::config::{self, Config};
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

#[derive(Debug, Clone, Subcommand)]
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
    /// Man pages and shell completions, for packagers.
    #[command(hide = true, subcommand)]
    Generate(Generate),
}

const EXAMPLES: &str = "Examples:
  oca-fill-agent check         check everything that can be checked without filling
  oca-fill-agent run           fill until SIGTERM
  oca-fill-agent once --now    fill now, once
Signals: SIGTERM publishes what is whole and stops, SIGHUP reads the configuration again.
Exit codes: 0 done, 1 failed or refused (once: not complete), 2 wrong usage or configuration.";

fn main() -> ExitCode {
    let arguments: Arguments = command_line::parse();
    let Some(command) = arguments.command else {
        return without_command(arguments.print_paths);
    };
    if let Command::Generate(generate) = command {
        return conclude(generate.run(Arguments::command()).map_err(Into::into));
    }
    let config = match config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    conclude(obey(&command, config, arguments.config))
}

fn obey(command: &Command, config: Config, file: PathBuf) -> anyhow::Result<()> {
    match command {
        Command::Run => service::work(config, file, Mode::Service),
        Command::Once { now } => service::work(config, file, Mode::Once { now: *now }),
        Command::Check => service::check(&config),
        // Needs no configuration: `main` has seen to it.
        Command::Generate(_) => Ok(()),
    }
}

fn conclude(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oca-fill-agent: {}", said::in_full(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn without_command(print_paths: bool) -> ExitCode {
    if print_paths {
        return conclude(out::line(Paths::here()).map_err(Into::into));
    }
    eprintln!("oca-fill-agent: a command is missing: run, once or check; see --help");
    ExitCode::from(WRONG_USAGE)
}
