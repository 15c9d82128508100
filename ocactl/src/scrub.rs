//! `ocactl scrub`: reading back what is stored.

use comfy_table::Cell;
use protocol::config::Config;
use protocol::fill::{Request, Scrub, ScrubDevice, Window};

use crate::agent::{Aged, Agent};
use crate::arguments::ScrubCommand;
use crate::clock::Clock;
use crate::error::{Failure, Outcome};
use crate::layout::{joined, labelled, rate};
use crate::output::{self, Format, Report, bytes, number, seconds};
use crate::store::operator;

/// Obeys.
pub(crate) fn run(
    config: &Config,
    format: Format,
    command: ScrubCommand,
) -> Result<Outcome, Failure> {
    let agent = Agent::of(config);
    let by = operator();
    let request = match command {
        ScrubCommand::Status => Request::ScrubStatus,
        ScrubCommand::Start { device } => Request::ScrubStart { by, device },
        ScrubCommand::Pause { length } => Request::ScrubPause {
            by,
            until: length.map(|length| Clock::now_in_utc().after(length.duration())),
        },
        ScrubCommand::Resume => Request::ScrubResume { by },
    };
    let scrub = agent.scrub(&request)?;
    let window: Window = agent.window(&Request::Window)?;
    let clock = Clock::of(&window);
    output::print(format, &Aged::new(&scrub, scrub.as_of, &clock))?;
    Ok(Outcome::Done)
}

impl Report for Aged<'_, Scrub> {
    fn text(&self) -> String {
        let (scrub, clock) = (self.answer, self.clock);
        let pace = format!(
            "at most {} of each device, a pass every {}",
            rate(scrub.rate),
            seconds(scrub.every)
        );
        let head = [
            labelled("paused", &paused(scrub, clock)),
            labelled("rate", &pace),
        ];
        let parts = [
            joined(&head, "\n"),
            devices(&scrub.devices, clock),
            clock.as_of(scrub.as_of),
        ];
        joined(&parts, "\n\n")
    }
}

fn paused(scrub: &Scrub, clock: &Clock) -> String {
    let Some(pause) = &scrub.pause else {
        return String::new();
    };
    let end = pause.until.map_or_else(
        || "`ocactl scrub resume`".to_owned(),
        |until| clock.to_come(until),
    );
    format!("until {end}; by {}, {}", pause.by, clock.ago(pause.since))
}

fn devices(devices: &[ScrubDevice], clock: &Clock) -> String {
    let mut table = output::table([
        "DEVICE", "TIER", "STATE", "COLUMNS", "READ", "BAD", "ENDED", "NEXT",
    ]);
    for device in devices {
        let ended = device
            .ended
            .map_or_else(|| "never".to_owned(), |at| clock.ago(at));
        let next = device.next.map_or_else(
            || "-".to_owned(),
            |at| match at > clock.now {
                true => format!("in {}", seconds(at - clock.now)),
                false => "now".to_owned(),
            },
        );
        table.add_row([
            Cell::new(&device.name),
            Cell::new(&device.tier),
            Cell::new(&device.state),
            number(device.columns),
            number(bytes(device.bytes)),
            number(device.bad),
            Cell::new(ended),
            Cell::new(next),
        ]);
    }
    output::rendered(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_was_read_and_when_it_goes_on() {
        let clock = Clock {
            now: 1_790_000_000,
            ..Clock::now_in_utc()
        };
        let device = ScrubDevice {
            name: "nvme0".to_owned(),
            tier: "nvme".to_owned(),
            state: "waiting".to_owned(),
            ended: Some(1_789_996_400),
            next: Some(1_790_003_600),
            columns: 12,
            columns_all: 12,
            bytes: 3 << 30,
            bad: 1,
            began: None,
        };
        let scrub = Scrub {
            as_of: clock.now,
            rate: 200_000_000,
            every: 30 * 86_400,
            pause: None,
            devices: vec![device],
        };
        let text = Aged::new(&scrub, scrub.as_of, &clock).text();
        for said in [
            "200 Mbit/s",
            "30 d",
            "nvme0",
            "waiting",
            "3.00 GiB",
            "in 1 h",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
}
