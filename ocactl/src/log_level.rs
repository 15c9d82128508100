//! `ocactl log-level`: how much daemon and fill agent log.

use protocol::config::Config;
use protocol::log::{Change, LogLevel};
use serde::Serialize;

use crate::agent::Agent;
use crate::arguments::{LogLevelArguments, LogOf};
use crate::clock::Clock;
use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::layout::wrapped;
use crate::output::{self, Format, Report};
use crate::socket::AskError;
use crate::store::operator;

#[derive(Serialize)]
struct Levels {
    programs: Vec<Level>,
}

/// Of one program.
#[derive(Serialize)]
struct Level {
    program: &'static str,
    #[serde(flatten)]
    level: Option<LogLevel>,
    /// Why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Asks both, or the one that is meant. One that does not run is left alone, unless none runs.
pub(crate) fn run(
    config: &Config,
    format: Format,
    arguments: LogLevelArguments,
) -> Result<Outcome, Failure> {
    let change = arguments.level.is_some() || arguments.configured;
    let change = change.then(|| Change {
        level: arguments.level,
        for_s: arguments.length.map(|length| length.duration().as_secs()),
    });
    let is_asked = |program| arguments.of.is_none_or(|only| only == program);
    let mut answers = Vec::new();
    if is_asked(LogOf::Daemon) {
        let daemon = Daemon::at(config.daemon_socket());
        answers.push(("daemon", daemon.log_level(operator(), change.clone())));
    }
    if is_asked(LogOf::Agent) {
        let agent = Agent::of(config);
        answers.push(("fill agent", agent.log_level(operator(), change)));
    }
    let mut levels = Levels {
        programs: Vec::new(),
    };
    let mut away = None;
    for (program, answer) in answers {
        match answer {
            Err(error) if error.is_not_running() => away = Some(levels.add_away(program, error)),
            answer => levels.add(program, answer?),
        }
    }
    let nobody = levels.programs.iter().all(|it| it.level.is_none());
    if let Some(error) = away.filter(|_| nobody) {
        return Err(error.into());
    }
    output::print(format, &levels)?;
    Ok(Outcome::Done)
}

impl Levels {
    fn add(&mut self, program: &'static str, level: LogLevel) {
        self.programs.push(Level {
            program,
            level: Some(level),
            problem: None,
        });
    }

    fn add_away(&mut self, program: &'static str, error: AskError) -> AskError {
        self.programs.push(Level {
            program,
            level: None,
            problem: Some(error.to_string()),
        });
        error
    }
}

impl Report for Levels {
    fn text(&self) -> String {
        let clock = Clock::now_in_utc();
        let lines: Vec<String> = self
            .programs
            .iter()
            .map(|it| wrapped(&line(it, &clock), 2))
            .collect();
        lines.join("\n")
    }
}

fn line(of: &Level, clock: &Clock) -> String {
    let program = of.program;
    let Some(level) = &of.level else {
        return of.problem.clone().unwrap_or_default();
    };
    let (now, configured) = (&level.level, &level.configured);
    match level.until {
        Some(until) => format!(
            "{program}: {now} until {}; then {configured}",
            clock.to_come(until)
        ),
        None if now == configured => format!("{program}: {now}, as configured"),
        None => format!("{program}: {now} until it is restarted; then {configured}"),
    }
}
