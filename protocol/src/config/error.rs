//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is wrong with one file, in the order of the file.
///
/// Prints one problem a line: `FILE:LINE: KEY: what is wrong; what is allowed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: PathBuf,
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; `None` when the file as a whole is meant.
    pub line: Option<usize>,
    /// The key with its table, as in `tier.stripe_unit`; empty when no key is meant.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl ConfigError {
    pub(super) fn new(file: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line);
        Self {
            file: file.to_owned(),
            problems,
        }
    }

    /// The file as a whole is no good: missing, unreadable, not text.
    pub(super) fn of_file(file: &Path, message: String) -> Self {
        Self::new(
            file,
            vec![Problem {
                line: None,
                key: String::new(),
                message,
            }],
        )
    }

    /// What is wrong, in the order of the file; never empty.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:", self.file.display())?;
            if let Some(line) = problem.line {
                write!(f, "{line}:")?;
            }
            if !problem.key.is_empty() {
                write!(f, " {}:", problem.key)?;
            }
            write!(f, " {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Says in an operator's words what `toml` and `serde` say in a programmer's.
/// Gives the missing key, if one is missing, and the message.
pub(super) fn plain_words(message: &str) -> (Option<String>, String) {
    let message = message.trim_end();
    if let Some(rest) = message.strip_prefix("missing field ") {
        return (
            Some(rest.replace('`', "")),
            "is missing; it has no default".to_owned(),
        );
    }
    let words = known(message)
        .or_else(|| strip_expected(message, "unknown field ", "unknown key"))
        .or_else(|| strip_expected(message, "unknown variant ", "unknown value"))
        .or_else(|| strip_expected(message, "invalid type: ", "is"))
        .or_else(|| strip_expected(message, "invalid value: ", "is"))
        .unwrap_or_else(|| message.replace('\n', " "));
    (None, words)
}

/// `"<prefix><found>, expected <wanted>"` becomes `"<lead> <found>; allowed: <wanted>"`.
fn strip_expected(message: &str, prefix: &str, lead: &str) -> Option<String> {
    let (found, wanted) = message.strip_prefix(prefix)?.split_once(", expected ")?;
    let (wanted, or_auto) = match wanted.strip_suffix(OR_AUTO) {
        Some(wanted) => (wanted, OR_AUTO),
        None => (wanted, ""),
    };
    let found = match found.split_once(' ') {
        Some(("string", text)) => format!("the text {text}"),
        Some(("integer" | "floating", number)) => {
            format!(
                "the number {}",
                number.trim_start_matches("point ").replace('`', "")
            )
        }
        _ => found.replace('`', "\""),
    };
    Some(format!(
        "{lead} {found}; allowed: {}{or_auto}",
        plain_type(wanted)
    ))
}

/// What the standard library says without saying what is allowed.
fn known(message: &str) -> Option<String> {
    let (what, wanted) = match message {
        "invalid socket address syntax" => ("is not an address with a port", "socket address"),
        "invalid IP address syntax" => ("is not an address", "IP address"),
        _ => return None,
    };
    Some(format!("{what}; allowed: {}", plain_type(wanted)))
}

/// Behind what is allowed instead of `"auto"`.
pub(super) const OR_AUTO: &str = ", or \"auto\"";

fn plain_type(wanted: &str) -> String {
    let wanted = wanted.strip_prefix("one of ").unwrap_or(wanted);
    let words = match wanted {
        "a string" => "a text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list, as in [\"..\", \"..\"]",
        "u8" => "a whole number, 0 to 255",
        "u16" => "a whole number, 0 to 65535",
        "u32" => "a whole number, 0 to 4294967295",
        "socket address" => "ADDRESS:PORT, as in \"0.0.0.0:80\" or \"[::]:80\"",
        "IP address" => "an address, as in \"192.0.2.1\" or \"2001:db8::1\"",
        other if other.starts_with("struct ") => "a table",
        other => return other.replace('`', ""),
    };
    words.to_owned()
}
