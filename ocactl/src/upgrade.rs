//! `ocactl upgrade`.

use std::time::Duration;

use protocol::config::Config;
use protocol::operator::{Request, Response, Upgraded};

use crate::arguments::UpgradeArguments;
use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::limits::ANSWER_TIMEOUT;
use crate::output::{self, Format, Report};
use crate::store::operator;

/// Has the daemon give its place to a new process.
pub(crate) fn run(
    config: &Config,
    format: Format,
    arguments: &UpgradeArguments,
) -> Result<Outcome, Failure> {
    let daemon = Daemon::at(config.daemon_socket());
    let within = arguments.within.duration();
    let request = Request::Upgrade {
        by: operator(),
        previous: arguments.rollback,
        force: arguments.force,
        within_s: u32::try_from(within.as_secs()).unwrap_or(u32::MAX),
    };
    let Response::Upgraded(upgraded) = daemon.ask(request, within + ANSWER_TIMEOUT)? else {
        return Err(daemon.unexpected().into());
    };
    output::print(format, &upgraded)?;
    Ok(Outcome::Done)
}

impl Report for Upgraded {
    fn text(&self) -> String {
        let finishes = match self.transfers {
            0 => "the one before had nothing left to send".to_owned(),
            1 => "the one before finishes one transfer".to_owned(),
            many => format!("the one before finishes {many} transfers"),
        };
        format!(
            "oca-daemon {} serves, as process {}, after {:.1} s; {finishes}",
            self.version,
            self.process,
            Duration::from_millis(self.took_ms).as_secs_f64()
        )
    }
}
