//! Follows the files of certificates: a [`Look`] in, what is shown from now on in [`Certificates`] out. Knows no disk and no clock.
//!
//! A certificate and its key are two files, and whoever renews them replaces one after the other. In between they do not fit.
//! So files that are no good are an error only when they have lain unchanged for a while, or when the operator says that they are
//! complete (SIGHUP).

use std::sync::Arc;
use std::time::Instant;

use protocol::config::Certificate;
use steering::UnixTime;

use super::certificates::Certificates;
use super::look::{Look, Looker};
use super::problem::{Fault, Problem};
use crate::limits::CERTIFICATES_SETTLE;

/// Why files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// It was time to.
    Routine,
    /// The operator asked for it: there is a verdict at once.
    Asked,
}

/// What is known of the files.
#[derive(Debug)]
pub struct Watch {
    certificates: Arc<Certificates>,
    looker: Looker,
    /// The files of the last verdict.
    judged: u64,
    /// Files that are no good, and since when they are as they are.
    unsettled: Option<(u64, Instant)>,
    silent: bool,
}

impl Watch {
    /// `looker` and `print` are those of the look at the start.
    pub(super) fn new(certificates: Arc<Certificates>, looker: Looker, print: u64) -> Self {
        Self {
            certificates,
            looker,
            judged: print,
            unsettled: None,
            silent: false,
        }
    }

    /// What to look with.
    #[must_use]
    pub fn looker(&self, occasion: Occasion) -> Looker {
        let is_known =
            occasion == Occasion::Routine && !self.certificates.last_reload().is_silent();
        let mut looker = self.looker.clone();
        looker.known = is_known.then_some(self.judged);
        looker
    }

    /// The configuration names other files.
    pub fn follow(&mut self, wanted: Vec<Certificate>) {
        self.looker.wanted = wanted;
    }

    /// Takes over what is good. What is not is told when it is certain.
    pub fn judge(&mut self, look: Look, occasion: Occasion, now: Instant, unix: UnixTime) {
        self.silent = false;
        // A look that began before the configuration changed is of other files.
        if look.wanted != self.looker.wanted {
            return;
        }
        let Some(found) = look.found else {
            self.unsettled = None;
            return;
        };
        let problems = self.certificates.take_over(found, &look.wanted, unix);
        let is_certain = problems.is_empty() || occasion == Occasion::Asked;
        if !is_certain && !self.has_settled(look.print, now) {
            return;
        }
        self.unsettled = None;
        self.judged = look.print;
        self.conclude(problems, unix);
    }

    /// A look has not come back in time. Said once.
    pub fn no_answer(&mut self, unix: UnixTime) {
        if std::mem::replace(&mut self.silent, true) {
            return;
        }
        let file = self.looker.wanted.first();
        let problem = file.map(|files| Fault::Silent.of(&files.cert));
        self.conclude(problem.into_iter().collect(), unix);
    }

    fn has_settled(&mut self, print: u64, now: Instant) -> bool {
        let (_, since) = *self.unsettled.insert(match self.unsettled {
            Some((before, since)) if before == print => (before, since),
            _ => (print, now),
        });
        now.saturating_duration_since(since) >= CERTIFICATES_SETTLE
    }

    fn conclude(&self, problems: Vec<Problem>, unix: UnixTime) {
        for problem in &problems {
            tracing::error!("certificates: {problem}. What was loaded before is shown on");
        }
        if problems.is_empty() {
            for pair in &self.certificates.set().pairs {
                let (file, names) = (pair.files.cert.display(), pair.leaf.names.join(", "));
                let not_after = pair.not_after().seconds();
                tracing::info!(%file, names, not_after, "certificate in force");
            }
        }
        self.certificates.conclude(problems, unix);
    }
}
