//! `ocactl`: the operator's one command.
//!
//! What is typed ([`arguments`]) and the configuration lead to one command; each has a file of its own, and ends as an
//! [`error::Outcome`] or an [`error::Failure`]. What concerns a running program goes through its socket ([`daemon`],
//! [`agent`]); what concerns content goes to the store, under its writer lock.

mod agent;
mod arguments;
mod bgp;
mod catalog;
mod check;
mod clock;
mod content;
mod daemon;
mod device;
mod doctor;
mod drain;
mod error;
mod fill;
mod fill_window;
mod layout;
mod limits;
mod log_level;
mod output;
mod progress;
mod scrub;
mod selftest;
mod socket;
mod status;
mod store;
mod support_bundle;
mod tls;
mod upgrade;
mod watch;
mod watched;

use std::process::ExitCode;

use clap::CommandFactory;
use protocol::config::{self, Config};
use protocol::paths::Paths;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use arguments::{Arguments, CatalogCommand, Command};
use error::{Failure, Outcome};
use output::Format;

fn main() -> ExitCode {
    log_to_standard_error();
    error::conclude(run(command_line::parse()))
}

/// What the store remarks, as far as it is a warning; `OCA_LOG=debug ocactl ..` for more.
fn log_to_standard_error() {
    let filter = EnvFilter::builder()
        .with_env_var("OCA_LOG")
        .with_default_directive(LevelFilter::WARN.into());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter.from_env_lossy());
    subscriber
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
}

fn run(arguments: Arguments) -> Result<Outcome, Failure> {
    let format = if arguments.json {
        Format::Json
    } else {
        Format::Text
    };
    let Some(command) = arguments.command else {
        output::line(&Paths::here().to_string())?;
        return Ok(Outcome::Done);
    };
    match command {
        Command::Generate(command) => {
            command.run(Arguments::command())?;
            Ok(Outcome::Done)
        }
        // These two are for when something is wrong, so also for when the configuration is.
        Command::Doctor => doctor::run(&arguments.config, format),
        Command::SupportBundle { output } => support_bundle::run(&arguments.config, format, output),
        command => {
            let config = config::load(&arguments.config).map_err(Failure::usage)?;
            obey(command, &config, format)
        }
    }
}

fn obey(command: Command, config: &Config, format: Format) -> Result<Outcome, Failure> {
    match command {
        Command::Status { watch } => status::run(config, format, watch),
        Command::Drain(arguments) => drain::begin(config, format, arguments),
        Command::Undrain => drain::end(config, format),
        Command::Upgrade(arguments) => upgrade::run(config, format, &arguments),
        Command::Selftest => selftest::run(config, format),
        Command::Check => check::run(config, format),
        Command::Device(command) => device::run(config, format, command),
        Command::Bgp(command) => bgp::run(config, format, command),
        Command::LogLevel(arguments) => log_level::run(config, format, arguments),
        Command::Tls(command) => tls::run(config, format, command),
        Command::Fill(command) => fill::run(config, format, command),
        Command::FillWindow(command) => fill_window::run(config, format, command),
        Command::Scrub(command) => scrub::run(config, format, command),
        Command::Content(command) => content::run(config, format, command),
        Command::Catalog(CatalogCommand::Rebuild) => catalog::rebuild(config, format),
        Command::Catalog(CatalogCommand::Check) => catalog::check(config, format),
        // Need no configuration: `run` has seen to them.
        Command::Generate(_) | Command::Doctor | Command::SupportBundle { .. } => Ok(Outcome::Done),
    }
}
