//! How a command ends: exit code 0 done, 1 failed or refused, 2 wrong usage or configuration.

/// The command line or the configuration is wrong: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A command that ran to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// All was done: exit code 0.
    Done,
    /// A part was not, and was said: exit code 1.
    Partly,
}
