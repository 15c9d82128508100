//! `ocactl fill-window`: when filling is allowed.

use protocol::config::Config;
use protocol::fill::{Change, Hours, Overridden, Request, SetHours, Window};

use crate::agent::{Aged, Agent};
use crate::arguments::{EndArguments, FillWindowCommand, OverrideCommand, SetArguments};
use crate::clock::Clock;
use crate::error::{Failure, Outcome};
use crate::layout::{joined, labelled, rate, wrapped};
use crate::output::{self, Format, Report, seconds};
use crate::store::operator;

/// Obeys.
pub(crate) fn run(
    config: &Config,
    format: Format,
    command: FillWindowCommand,
) -> Result<Outcome, Failure> {
    let agent = Agent::of(config);
    match command {
        FillWindowCommand::Show => show(format, &agent.window(&Request::Window)?),
        FillWindowCommand::Next => next(format, &agent.window(&Request::Window)?),
        FillWindowCommand::Set(arguments) => show(format, &agent.window(&set(arguments)?)?),
        FillWindowCommand::Override(command) => {
            let request = overriding(&agent, command)?;
            show(format, &agent.window(&request)?)
        }
    }
}

fn set(arguments: SetArguments) -> Result<Request, Failure> {
    let rate = arguments.rate.map(|rate| rate.bits_per_second());
    if rate == Some(0) {
        return Err(Failure::usage(
            "--rate is 0 bit/s; allowed: more; to fetch nothing: ocactl fill-window override closed",
        ));
    }
    Ok(Request::SetWindow {
        by: operator(),
        window: arguments.window,
        timezone: arguments.timezone,
        rate,
    })
}

fn overriding(agent: &Agent, command: OverrideCommand) -> Result<Request, Failure> {
    let by = operator();
    let (open, end) = match command {
        OverrideCommand::Clear => return Ok(Request::ClearOverride { by }),
        OverrideCommand::Open(end) => (true, end),
        OverrideCommand::Closed(end) => (false, end),
    };
    let until = ends_at(agent, &end)?;
    Ok(Request::Override { by, open, until })
}

/// `--for` and `--until`. The zone of the window is the agent's to say.
fn ends_at(agent: &Agent, end: &EndArguments) -> Result<Option<u64>, Failure> {
    if let Some(length) = end.length {
        return Ok(Some(Clock::now_in_utc().after(length.duration())));
    }
    let Some(text) = &end.until else {
        return Ok(None);
    };
    let clock = Clock::of(&agent.window(&Request::Window)?);
    clock.until(text).map(Some).map_err(Failure::usage)
}

fn show(format: Format, window: &Window) -> Result<Outcome, Failure> {
    let clock = Clock::of(window);
    output::print(format, &Aged::new(window, window.as_of, &clock))?;
    Ok(Outcome::Done)
}

impl Report for Aged<'_, Window> {
    fn text(&self) -> String {
        let (window, clock) = (self.answer, self.clock);
        let hours = |hours: &Option<Hours>, none: &str| {
            hours.as_ref().map_or_else(|| none.to_owned(), in_words)
        };
        let parts = [
            wrapped(&format!("{}: {}", state(window), window.why), 0),
            labelled(
                "configured",
                &hours(
                    &window.configured,
                    "nothing: there is no [fill] in the configuration",
                ),
            ),
            labelled("set", &set_words(window.set.as_ref(), clock)),
            labelled(
                "override",
                &override_words(window.overridden.as_ref(), clock),
            ),
            labelled(
                "in force",
                &hours(&window.effective, "no hours: nothing is fetched"),
            ),
            labelled("offset", &offset(window.site_offset_s)),
            labelled(
                "next",
                &window
                    .next
                    .first()
                    .map_or_else(String::new, |change| next_words(change, clock)),
            ),
            labelled("as of", &clock.as_of(window.as_of)["as of ".len()..]),
        ];
        joined(&parts, "\n")
    }
}

fn state(window: &Window) -> &'static str {
    if window.open { "open" } else { "closed" }
}

fn in_words(hours: &Hours) -> String {
    let rate = hours.rate.map_or_else(
        || "no rate, so nothing is fetched".to_owned(),
        |bits| format!("at most {}", rate(bits)),
    );
    format!("{} {}, {rate}", hours.window, hours.timezone)
}

fn set_words(set: Option<&SetHours>, clock: &Clock) -> String {
    set.map_or_else(String::new, |set| {
        format!(
            "{}; by {}, {}",
            in_words(&set.hours),
            set.by,
            clock.ago(set.at)
        )
    })
}

fn override_words(overridden: Option<&Overridden>, clock: &Clock) -> String {
    overridden.map_or_else(String::new, |order| {
        let word = if order.open { "open" } else { "closed" };
        let end = order.until.map_or_else(
            || "`ocactl fill-window override clear`".to_owned(),
            |until| clock.to_come(until),
        );
        format!(
            "{word} until {end}; by {}, {}",
            order.by,
            clock.ago(order.at)
        )
    })
}

fn offset(offset_s: u32) -> String {
    match offset_s {
        0 => String::new(),
        some => format!(
            "{} later than these hours, as all of this site",
            seconds(u64::from(some))
        ),
    }
}

fn next_words(change: &Change, clock: &Clock) -> String {
    let left = seconds(change.at.saturating_sub(clock.now));
    format!("{} {}, in {left}", verb(change), change.local)
}

fn verb(change: &Change) -> &'static str {
    if change.opens { "opens" } else { "closes" }
}

fn next(format: Format, window: &Window) -> Result<Outcome, Failure> {
    let clock = Clock::of(window);
    output::print(format, &Next(Aged::new(window, window.as_of, &clock)))?;
    Ok(Outcome::Done)
}

/// The same document, but only the changes for a reader.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Next<'a>(Aged<'a, Window>);

impl Report for Next<'_> {
    fn text(&self) -> String {
        let (window, clock) = (self.0.answer, self.0.clock);
        let mut parts = vec![wrapped(
            &format!("{} now: {}", state(window), window.why),
            0,
        )];
        parts.extend(window.next.iter().map(|change| {
            let left = seconds(change.at.saturating_sub(clock.now));
            format!("{:<7} {}, in {left}", verb(change), change.local)
        }));
        parts.push(clock.as_of(window.as_of));
        joined(&parts, "\n")
    }
}

#[cfg(test)]
mod tests;
