//! `oca-control`: see the library for what it does.

mod arguments;
mod commands;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use command_line::{out, said};
use control_endpoint::config;
use control_endpoint::error::{Outcome, Usage};
use control_endpoint::keygen;
use control_endpoint::serve;
use protocol::config::ConfigError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments: Arguments = command_line::parse();
    log(matches!(arguments.command, Command::Serve));
    match run(arguments) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Partly) => ExitCode::from(1),
        Err(error) => {
            eprintln!("oca-control: {}", said::in_full(error.as_ref()));
            let is_usage = error.is::<Usage>() || error.is::<ConfigError>();
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

/// To standard error, where systemd and daemon(8) pick it up; `OCA_LOG=debug` for more.
fn log(serving: bool) {
    let level = if serving {
        LevelFilter::INFO
    } else {
        LevelFilter::WARN
    };
    let filter = EnvFilter::builder()
        .with_env_var("OCA_LOG")
        .with_default_directive(level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn run(arguments: Arguments) -> Result<Outcome> {
    if let Command::Keygen { target } = &arguments.command {
        let (private, public) = keygen::run(target)?;
        out::line(format_args!(
            "private {}\npublic  {}",
            private.display(),
            public.display()
        ))?;
        return Ok(Outcome::Done);
    }
    if let Command::Generate(generate) = &arguments.command {
        generate.run(Arguments::command())?;
        return Ok(Outcome::Done);
    }
    let config = config::load(&arguments.config)?;
    if let Command::Check = arguments.command {
        serve::check(&config)?;
        out::line("ok")?;
        return Ok(Outcome::Done);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match arguments.command {
            Command::Serve => serve::run(config).await.map(|()| Outcome::Done),
            command => commands::run(config, command).await,
        }
    })
}
