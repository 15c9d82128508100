//! `ocactl doctor`: what keeps this machine from serving, or from serving well; why it matters, and the command that mends it.
//! Changes nothing.
//!
//! `check` asks whether the appliance would start; this asks the machine round it as well: mounts, kernel, interfaces, cores.
//! Each part has a file, takes what it looks at as values, and answers with [`Finding`]s. What a system does not tell is left out.

mod appliance;
mod cores;
mod kernel;
mod machine;
mod mounts;
mod network;
mod secrets;

use std::fmt::Write;
use std::path::Path;

use protocol::config::{self, Config};
use serde::Serialize;

use crate::error::{Failure, Outcome};
use crate::layout::wrapped;
use crate::output::{self, Format, Report, count};
use machine::Machine;
pub(crate) use secrets::secret_files;

/// Looks at everything, and prints it.
pub(crate) fn run(config: &Path, format: Format) -> Result<Outcome, Failure> {
    let examined = Examined::of(config);
    output::print(format, &examined)?;
    Ok(match examined.is_ill() {
        true => Outcome::Partly,
        false => Outcome::Done,
    })
}

/// All that was found.
#[derive(Serialize)]
struct Examined {
    findings: Vec<Finding>,
}

impl Examined {
    /// Looks at this machine. A wrong configuration is a finding; what hangs on it is then left out.
    fn of(path: &Path) -> Self {
        let machine = Machine::here();
        let mut findings = Vec::new();
        match config::load(path) {
            Ok(config) => findings.extend(of_configuration(&config, path, &machine)),
            Err(error) => findings.push(wrong_configuration(&error.to_string(), path)),
        }
        findings.extend(kernel::clock(&machine));
        findings.extend(kernel::settings(&machine));
        findings.extend(cores::findings(&machine));
        Self { findings }
    }

    fn is_ill(&self) -> bool {
        self.number(Level::Fail) > 0
    }

    fn number(&self, level: Level) -> u64 {
        let of_level = |finding: &&Finding| finding.level == level;
        self.findings.iter().filter(of_level).count() as u64
    }
}

fn of_configuration(config: &Config, path: &Path, machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("configuration", "is right")];
    findings.extend(appliance::findings(config));
    findings.extend(mounts::findings(config, machine));
    findings.extend(secrets::findings(config, path));
    findings.extend(kernel::features(config));
    findings.extend(kernel::mappings(config, machine));
    findings.extend(network::findings(config, machine));
    findings
}

fn wrong_configuration(problem: &str, path: &Path) -> Finding {
    let why = "no program starts with it, and a reload of it is refused";
    let mend = format!("editor {}; ocactl check", path.display());
    Finding::new("configuration", Level::Fail, problem, why, mend)
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    subject: String,
    level: Level,
    /// How it is.
    what: String,
    /// Why that matters; empty if all is well.
    why: String,
    /// The command, or the key of the configuration, that mends it; empty if all is well.
    mend: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    /// As it should be.
    Ok,
    /// Serves; it would serve better otherwise.
    Advice,
    /// Serves, until something else happens.
    Warn,
    /// Something does not work.
    Fail,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Advice => "advice",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

impl Finding {
    fn ok(subject: impl ToString, what: impl ToString) -> Self {
        Self::new(subject, Level::Ok, what, "", "")
    }

    fn new(
        subject: impl ToString,
        level: Level,
        what: impl ToString,
        why: impl ToString,
        mend: impl ToString,
    ) -> Self {
        Self {
            subject: subject.to_string(),
            level,
            what: what.to_string(),
            why: why.to_string(),
            mend: mend.to_string(),
        }
    }
}

/// Where the text of a finding begins.
const INDENT: usize = 8;

impl Report for Examined {
    fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let line = format!(
                "{:<INDENT$}{}: {}",
                finding.level.word(),
                finding.subject,
                finding.what
            );
            let _ = writeln!(text, "{}", wrapped(&line, INDENT));
            if !finding.why.is_empty() {
                let why = format!("{:INDENT$}why:  {}", "", finding.why);
                let _ = writeln!(text, "{}", wrapped(&why, INDENT + 6));
                // A command is copied, so it stays on one line.
                let _ = writeln!(text, "{:INDENT$}mend: {}", "", finding.mend);
            }
        }
        let _ = write!(
            text,
            "\n{} looked at: {} failed, {}, {} of advice",
            count(self.findings.len() as u64, "thing"),
            self.number(Level::Fail),
            count(self.number(Level::Warn), "warning"),
            count(self.number(Level::Advice), "piece")
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_why_and_how_to_mend_it() {
        let found = Finding::new("clock", Level::Warn, "is not synchronised", "why", "do it");
        let examined = Examined {
            findings: vec![Finding::ok("configuration", "is right"), found],
        };
        assert_eq!(
            examined.text(),
            "ok      configuration: is right\n\
             warn    clock: is not synchronised\n        why:  why\n        mend: do it\n\n\
             2 things looked at: 0 failed, 1 warning, 0 pieces of advice"
        );
        assert!(!examined.is_ill());
    }
}
