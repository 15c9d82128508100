//! `ocactl selftest`.

use comfy_table::Cell;
use protocol::config::Config;
use protocol::operator::{Request, Response};
use protocol::status::{Check, Scope, SelfTestReport, State};
use serde::Serialize;

use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::limits::SLOW_ANSWER_TIMEOUT;
use crate::output::{self, Format, Report};

/// Lets the daemon test everything, now.
pub(crate) fn run(config: &Config, format: Format) -> Result<Outcome, Failure> {
    let daemon = Daemon::at(config.daemon_socket());
    let Response::SelfTest(found) = daemon.ask(Request::SelfTest, SLOW_ANSWER_TIMEOUT)? else {
        return Err(daemon.unexpected().into());
    };
    let result = found.result;
    output::print(format, &Found(found))?;
    Ok(match result {
        State::Ok => Outcome::Done,
        _ => Outcome::Partly,
    })
}

#[derive(Serialize)]
struct Found(SelfTestReport);

impl Report for Found {
    fn text(&self) -> String {
        let mut table = output::table(["RESULT", "WHAT", "DETAIL"]);
        for check in &self.0.checks {
            table.add_row(vec![
                Cell::new(check.result),
                Cell::new(format!("{} {}", check.component, check.subject).trim_end()),
                Cell::new(&check.detail),
            ]);
        }
        let wrong = |scope: Scope| {
            let is = |check: &&Check| check.scope == scope && check.result != State::Ok;
            self.0.checks.iter().filter(is).count() as u64
        };
        let verdict = match self.0.result {
            State::Ok => "passed".to_owned(),
            State::Degraded => {
                let count = output::count(wrong(Scope::Local), "thing");
                format!("passed, and viewers are served; {count} to mend")
            }
            _ => "failed: viewers cannot be served".to_owned(),
        };
        let shared = match wrong(Scope::Shared) {
            0 => String::new(),
            _ => "; what concerns the control endpoint, agent or routers never takes the box out of service".to_owned(),
        };
        format!(
            "{}\n\n{verdict}{shared} ({} ms)",
            output::rendered(&table),
            self.0.took_ms
        )
    }
}
