//! `ocactl fill`: what the fill agent does.

mod plan;
mod status;

use protocol::config::Config;
use protocol::fill::{Request, Status};
use serde::Serialize;

use crate::agent::{Aged, Agent};
use crate::arguments::FillCommand;
use crate::clock::Clock;
use crate::error::{Failure, Outcome};
use crate::layout::{joined, wrapped};
use crate::output::{self, Format, Report};
use crate::store::operator;
use crate::watch::{self, View};

/// Obeys.
pub(crate) fn run(
    config: &Config,
    format: Format,
    command: FillCommand,
) -> Result<Outcome, Failure> {
    let agent = Agent::of(config);
    match command {
        FillCommand::Status { watch: true } => watch::run(format, move || {
            let status = agent.status(&Request::Status)?;
            let clock = Clock::of(&agent.window(&Request::Window)?);
            Ok(Told { status, clock })
        }),
        FillCommand::Status { watch: false } => {
            let status = agent.status(&Request::Status)?;
            let clock = clock(&agent)?;
            output::print(format, &Aged::new(&status, status.as_of, &clock))?;
            Ok(Outcome::Done)
        }
        FillCommand::Plan { limit } => {
            let plan = agent.plan(limit)?;
            let clock = clock(&agent)?;
            output::print(format, &Aged::new(&plan, plan.as_of, &clock))?;
            Ok(Outcome::Done)
        }
        FillCommand::Pause { length } => {
            let until = length.map(|length| Clock::now_in_utc().after(length.duration()));
            change(
                &agent,
                format,
                &Request::Pause {
                    by: operator(),
                    until,
                },
            )
        }
        FillCommand::Resume => change(&agent, format, &Request::Resume { by: operator() }),
        FillCommand::Accept { serial } => change(
            &agent,
            format,
            &Request::Accept {
                by: operator(),
                serial,
            },
        ),
    }
}

/// The zone in which times are shown is the window's.
fn clock(agent: &Agent) -> Result<Clock, Failure> {
    Ok(Clock::of(&agent.window(&Request::Window)?))
}

/// Asks for a change, and says what it has led to.
fn change(agent: &Agent, format: Format, request: &Request) -> Result<Outcome, Failure> {
    let status = agent.status(request)?;
    let clock = clock(agent)?;
    output::print(format, &Changed(Aged::new(&status, status.as_of, &clock)))?;
    Ok(Outcome::Done)
}

/// What the agent has said, and in which zone its times are shown.
#[derive(Clone)]
struct Told {
    status: Status,
    clock: Clock,
}

impl View for Told {
    fn text(&self) -> String {
        Aged::new(&self.status, self.status.as_of, &self.clock.again()).text()
    }

    fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Aged::new(&self.status, self.status.as_of, &self.clock))
    }

    fn is_as(&self, before: &Self) -> bool {
        let as_of = self.status.as_of;
        let before = Status {
            as_of,
            ..before.status.clone()
        };
        self.status == before
    }
}

/// The status in three lines for a reader.
#[derive(Serialize)]
#[serde(transparent)]
struct Changed<'a>(Aged<'a, Status>);

impl Report for Changed<'_> {
    fn text(&self) -> String {
        let (status, clock) = (self.0.answer, self.0.clock);
        let parts = [
            wrapped(&status::headline(status), 0),
            status::pause(status, clock),
            status::held(status, clock),
            clock.as_of(status.as_of),
        ];
        joined(&parts, "\n")
    }
}

#[cfg(test)]
mod tests;
