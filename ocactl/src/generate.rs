//! `ocactl generate`: man pages and completions, from the same source as the help.

use std::path::Path;

use clap::CommandFactory;

use crate::arguments::{Arguments, GenerateCommand};
use crate::error::{Failure, Outcome};

/// Writes them.
pub(crate) fn run(command: &GenerateCommand) -> Result<Outcome, Failure> {
    match command {
        GenerateCommand::Man { dir } => man_pages(dir)?,
        GenerateCommand::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "ocactl", &mut script);
            crate::output::line(String::from_utf8_lossy(&script).trim_end())?;
        }
    }
    Ok(Outcome::Done)
}

fn man_pages(dir: &Path) -> Result<(), Failure> {
    let cannot = |error| {
        Failure::failed(format!(
            "{}: cannot write man pages: {error}",
            dir.display()
        ))
    };
    std::fs::create_dir_all(dir).map_err(cannot)?;
    clap_mangen::generate_to(Arguments::command(), dir).map_err(cannot)
}
