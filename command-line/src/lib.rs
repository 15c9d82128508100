//! What all programs have in common towards those who run them: man pages and completions, made from the same source as the help, so that
//! packages of any system can hold them; the [`log`]; what goes [`out`]; and errors as they are [said](mod@said).

pub mod log;
pub mod out;
pub mod said;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, Parser, Subcommand};

/// What was typed. Ends the program where help or version was asked for, with 1 if that could not be written, and where it is wrong, with 2.
#[must_use]
pub fn parse<A: Parser>() -> A {
    A::try_parse().unwrap_or_else(|error| {
        let code = match out::written(error.print()) {
            Ok(()) => error.exit_code(),
            Err(_) => 1,
        };
        std::process::exit(code)
    })
}

/// `generate ..`
#[derive(Debug, Clone, Subcommand)]
pub enum Generate {
    /// Man pages, one file per command
    Man {
        /// Folder to write to
        dir: PathBuf,
    },
    /// A completion script, to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Generate {
    /// Writes what is asked for, of this program.
    ///
    /// # Errors
    /// A folder or file that cannot be written, by name; standard output that is closed.
    pub fn run(&self, program: Command) -> io::Result<()> {
        match self {
            Self::Man { dir } => man_pages(program, dir),
            Self::Completions { shell } => completions(program, *shell),
        }
    }
}

fn man_pages(program: Command, dir: &Path) -> io::Result<()> {
    let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(program, dir));
    written.map_err(|error| {
        let what = format!("{}: cannot write man pages: {error}", dir.display());
        io::Error::new(error.kind(), what)
    })
}

fn completions(mut program: Command, shell: clap_complete::Shell) -> io::Result<()> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, name, &mut script);
    out::bytes(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        Command::new("oca-test")
            .version("1")
            .subcommand(Command::new("check").about("Looks"))
    }

    #[test]
    fn there_is_a_page_for_the_program_and_one_for_each_command() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("man");
        Generate::Man { dir: dir.clone() }.run(program()).unwrap();
        let page = fs::read_to_string(dir.join("oca-test-check.1")).unwrap();
        assert!(page.contains(".TH") && page.contains("Looks"), "{page}");
        assert!(dir.join("oca-test.1").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = PathBuf::from("/dev/null/man");
        let error = Generate::Man { dir }.run(program()).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("/dev/null/man: cannot write man pages: "),
            "{said}"
        );
    }
}
