//! `ocactl support-bundle`: what a stranger needs to help, in one tar file, without anything that is secret.
//!
//! What goes in is a closed list: what this program's own commands answer, what some of the system's say, and some files. All of it
//! goes through [`Secrets`] on its way.

mod collect;
mod secrets;
mod tar;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use protocol::config::{self, Config, ConfigError};
use serde::Serialize;

use crate::clock::Clock;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, bytes, count};
use secrets::Secrets;

/// Collects, and writes the file.
pub(crate) fn run(
    path: &Path,
    format: Format,
    output: Option<PathBuf>,
) -> Result<Outcome, Failure> {
    let config = config::load(path);
    let output = output.unwrap_or_else(|| named(config.as_ref().ok()));
    let bundle = Bundle::of(path, &config);
    let written = bundle.write(&output)?;
    output::print(format, &written)?;
    Ok(Outcome::Done)
}

/// As in `oca-support-c001.fra001.example-1790000000.tar`.
fn named(config: Option<&Config>) -> PathBuf {
    let id = config.map_or("unknown", |config| config.appliance.id.as_str());
    PathBuf::from(format!("oca-support-{id}-{}.tar", Clock::now_in_utc().now))
}

/// A file of the bundle.
struct Member {
    /// Below the bundle's folder.
    name: String,
    text: String,
}

struct Bundle {
    members: Vec<Member>,
}

impl Bundle {
    fn of(path: &Path, config: &Result<Config, ConfigError>) -> Self {
        let secrets = Secrets::of(config.as_ref().ok());
        let mut members = match config {
            Ok(config) => collect::of_appliance(path, config, &secrets),
            // What is wrong may be a secret that stands in the wrong place: only where it is wrong is told.
            Err(error) => vec![Member {
                name: "configuration.txt".to_owned(),
                text: places(error),
            }],
        };
        members.extend(collect::of_system());
        for member in &mut members {
            member.text = secrets.removed_from(&member.text);
        }
        members.insert(0, read_me(&members, &secrets));
        Self { members }
    }

    /// Readable for its owner alone: it holds no secret, and is nobody else's business.
    fn write(&self, output: &Path) -> Result<Written, Failure> {
        let failed =
            |error: std::io::Error| Failure::failed(format!("{}: {error}", output.display()));
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(output)
            .map_err(failed)?;
        let size = tar::write(file, &self.members, Clock::now_in_utc().now).map_err(failed)?;
        Ok(Written {
            file: output.to_path_buf(),
            bytes: size,
            members: self
                .members
                .iter()
                .map(|member| member.name.clone())
                .collect(),
        })
    }
}

fn places(error: &ConfigError) -> String {
    let problems = error.problems().iter();
    let places = problems.map(|problem| {
        let line = problem.line.map_or("?".to_owned(), |line| line.to_string());
        format!("line {line}: {}\n", problem.key)
    });
    format!(
        "The configuration is wrong at:\n{}",
        places.collect::<String>()
    )
}

fn read_me(members: &[Member], secrets: &Secrets) -> Member {
    let names: String = members
        .iter()
        .map(|member| format!("  {}\n", member.name))
        .collect();
    let unread: String = secrets
        .unread
        .iter()
        .map(|file| format!("  {}\n", file.display()))
        .collect();
    let mut text = format!(
        "What an appliance says of itself and of its machine.\n\nNot in it: keys, tokens, passwords, the configuration's comments, \
         the access log, and what viewers asked for.\n\n{names}"
    );
    if !unread.is_empty() {
        text.push_str(
            "\nThese secrets could not be read, so they could not be looked for either:\n",
        );
        text.push_str(&unread);
    }
    Member {
        name: "README.txt".to_owned(),
        text,
    }
}

#[derive(Serialize)]
struct Written {
    file: PathBuf,
    bytes: u64,
    members: Vec<String>,
}

impl Report for Written {
    fn text(&self) -> String {
        format!(
            "{}: {}, {}\nKeys, tokens and passwords were left out. Look into it before you send it: tar -xf {}",
            self.file.display(),
            count(self.members.len() as u64, "file"),
            bytes(self.bytes),
            self.file.display()
        )
    }
}
