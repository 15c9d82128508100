//! `ocactl drain` and `ocactl undrain`.

use protocol::config::Config;
use protocol::operator::{Request, Response};
use protocol::status::{Drain, State, Status};
use serde::Serialize;

use crate::arguments::DrainArguments;
use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::limits::{DRAIN_POLL_INTERVAL, SLOW_ANSWER_TIMEOUT};
use crate::output::{self, Format, Report};
use crate::status::drain_text;
use crate::store::operator;

/// Takes the box out of service.
pub(crate) fn begin(
    config: &Config,
    format: Format,
    arguments: DrainArguments,
) -> Result<Outcome, Failure> {
    let daemon = Daemon::at(config.daemon_socket());
    let request = Request::Drain {
        by: operator(),
        reason: arguments.reason,
        force: arguments.force,
    };
    let Response::Drain(_) = daemon.ask(request, SLOW_ANSWER_TIMEOUT)? else {
        return Err(daemon.unexpected().into());
    };
    let mut status = daemon.status()?;
    let mut said = None;
    while arguments.wait && status.state == State::Draining {
        let running = status.drain.as_ref().map(|drain| drain.transfers);
        // Two hours may pass: a line for each change, not for each look.
        if format == Format::Text && said.replace(running) != Some(running) {
            eprintln!("{}", Progress::of(&status).text());
        }
        std::thread::sleep(DRAIN_POLL_INTERVAL);
        status = daemon.status()?;
    }
    output::print(format, &Progress::of(&status))?;
    Ok(Outcome::Done)
}

/// Puts it back.
pub(crate) fn end(config: &Config, format: Format) -> Result<Outcome, Failure> {
    let daemon = Daemon::at(config.daemon_socket());
    let Response::Undrain { state } =
        daemon.ask(Request::Undrain { by: operator() }, SLOW_ANSWER_TIMEOUT)?
    else {
        return Err(daemon.unexpected().into());
    };
    output::print(format, &Undrained { state })?;
    Ok(Outcome::Done)
}

#[derive(Serialize)]
struct Progress {
    state: State,
    as_of: u64,
    drain: Option<Drain>,
}

impl Progress {
    fn of(status: &Status) -> Self {
        Self {
            state: status.state,
            as_of: status.as_of,
            drain: status.drain.clone(),
        }
    }
}

impl Report for Progress {
    fn text(&self) -> String {
        let advice = match self.state {
            State::Drained | State::DrainedForced => "; safe to unplug",
            State::Draining => "; not yet safe to unplug, look with: ocactl status",
            State::Ok | State::Degraded | State::Down => "",
        };
        let detail = self
            .drain
            .as_ref()
            .map(|drain| format!("\n{}", drain_text(drain, self.state, self.as_of)));
        format!("{}{advice}{}", self.state, detail.unwrap_or_default())
    }
}

#[derive(Serialize)]
struct Undrained {
    state: State,
}

impl Report for Undrained {
    fn text(&self) -> String {
        format!("{}: back in service", self.state)
    }
}
