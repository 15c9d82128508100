//! How a command ends: exit code 0 done, 1 failed or refused, 2 wrong usage or configuration.

use std::fmt::Display;
use std::process::ExitCode;

/// A command that ran to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    /// All was done.
    Done,
    /// A part was not, and was said: exit code 1.
    Partly,
}

/// A command that did not.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration or the command line is wrong: exit code 2.
    Usage(String),
    /// Something did not work, or was refused: exit code 1.
    Failed(String),
}

/// Failed, in the words of `error`.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(chain(&error))
    }
}

impl Failure {
    /// Failed, for a reason that is said here.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// Wrong usage, for a reason that is said here.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::Usage(message.to_string())
    }
}

/// Says how it ended, and gives the exit code.
pub(crate) fn conclude(result: Result<Outcome, Failure>) -> ExitCode {
    let (message, code) = match result {
        Ok(Outcome::Done) => return ExitCode::SUCCESS,
        Ok(Outcome::Partly) => return ExitCode::from(1),
        Err(Failure::Failed(message)) => (message, 1),
        Err(Failure::Usage(message)) => (message, 2),
    };
    eprintln!("ocactl: {message}");
    ExitCode::from(code)
}

/// The error with what caused it, as far as it does not say so itself.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}
