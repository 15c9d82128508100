//! `fill status --watch`: a view that is drawn anew every second, or blocks of lines where there is no terminal.
//!
//! ```text
//! asking thread --News--> loop --frame--> screen, or one block per change
//! signal thread --Resized, Ended-->
//! ```

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use console::Term;
use protocol::fill::{Request, Status};
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::agent::{Aged, Agent};
use crate::clock::Clock;
use crate::error::{Failure, Outcome};
use crate::layout::wrapped;
use crate::limits::WATCH_INTERVAL;
use crate::output::{Format, Report};
use crate::socket::AskError;

enum Event {
    News(Box<Result<(Status, Clock), AskError>>),
    Resized,
    Ended,
}

/// Shows it until Ctrl-C, or until nobody reads any more.
pub(super) fn run(agent: Agent, format: Format) -> Result<Outcome, Failure> {
    let (sender, events) = mpsc::sync_channel(1);
    forward_signals(sender.clone())?;
    thread::spawn(move || ask_for_ever(&agent, &sender));
    let out = io::stdout();
    let shown = if format == Format::Text && out.is_terminal() {
        Screen::enter()?.follow(&events)
    } else {
        Blocks::new(format).follow(&events, &mut out.lock())
    };
    match shown {
        // A reader that has gone (`| head`) is no error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(Outcome::Done),
    }
}

fn forward_signals(sender: SyncSender<Event>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGWINCH])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let event = if signal == SIGWINCH {
                Event::Resized
            } else {
                Event::Ended
            };
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn ask_for_ever(agent: &Agent, sender: &SyncSender<Event>) {
    while sender.send(Event::News(Box::new(ask(agent)))).is_ok() {
        thread::sleep(WATCH_INTERVAL);
    }
}

fn ask(agent: &Agent) -> Result<(Status, Clock), AskError> {
    let status = agent.status(&Request::Status)?;
    let window = agent.window(&Request::Window)?;
    Ok((status, Clock::of(&window)))
}

/// What is known: the last news, and why there are none.
#[derive(Default)]
struct Known {
    status: Option<(Status, Clock)>,
    problem: Option<String>,
}

impl Known {
    fn learn(&mut self, news: Result<(Status, Clock), AskError>) {
        match news {
            Ok(status) => {
                self.status = Some(status);
                self.problem = None;
            }
            Err(error) => self.problem = Some(format!("{error}; waiting for it")),
        }
    }

    fn text(&self) -> String {
        let mut text = self
            .problem
            .as_ref()
            .map_or_else(String::new, |problem| wrapped(problem, 0));
        if let Some((status, clock)) = &self.status {
            if self.problem.is_some() {
                text.push_str("\n\nWhat it said last:\n");
            }
            let clock = clock.again();
            text.push_str(&Aged::new(status, status.as_of, &clock).text());
        }
        text
    }
}

/// The other page of a terminal: what was there before comes back at the end.
struct Screen {
    terminal: Term,
    known: Known,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        let screen = Self {
            terminal: Term::stdout(),
            known: Known::default(),
        };
        write!(&screen.terminal, "\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    fn follow(mut self, events: &Receiver<Event>) -> io::Result<()> {
        for event in events {
            match event {
                Event::Ended => break,
                Event::Resized => {}
                Event::News(news) => self.known.learn(*news),
            }
            let (rows, columns) = self.terminal.size();
            let frame = frame(&self.known.text(), usize::from(rows), usize::from(columns));
            (&self.terminal).write_all(frame.as_bytes())?;
        }
        Ok(())
    }
}

impl Drop for Screen {
    /// The last view stays on the page that was there before.
    fn drop(&mut self) {
        let _ = writeln!(&self.terminal, "\x1b[?25h\x1b[?1049l{}", self.known.text());
    }
}

/// What draws `text` anew from the upper left corner, and nothing beyond the terminal's size.
fn frame(text: &str, rows: usize, columns: usize) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let mut more = String::new();
    if lines.len() > rows {
        let shown = rows.saturating_sub(1);
        more = format!(
            "({} more lines: make the terminal higher)",
            lines.len() - shown
        );
        lines.truncate(shown);
        lines.push(&more);
    }
    let drawn: Vec<String> = lines
        .iter()
        .map(|line| line.chars().take(columns).collect::<String>() + "\x1b[K")
        .collect();
    drop(more);
    format!("\x1b[H{}\x1b[J", drawn.join("\r\n"))
}

/// Where there is no terminal: whatever is new, once.
struct Blocks {
    format: Format,
    known: Known,
    said: Option<(Option<Status>, Option<String>)>,
}

impl Blocks {
    fn new(format: Format) -> Self {
        Self {
            format,
            known: Known::default(),
            said: None,
        }
    }

    fn follow(mut self, events: &Receiver<Event>, out: &mut impl Write) -> io::Result<()> {
        for event in events {
            match event {
                Event::Ended => break,
                Event::Resized => {}
                Event::News(news) => {
                    self.known.learn(*news);
                    self.say_what_is_new(out)?;
                }
            }
        }
        Ok(())
    }

    fn say_what_is_new(&mut self, out: &mut impl Write) -> io::Result<()> {
        let status = self
            .known
            .status
            .as_ref()
            .map(|(status, _)| timeless(status));
        let now = (status, self.known.problem.clone());
        if self.said.as_ref() == Some(&now) {
            return Ok(());
        }
        match self.format {
            Format::Text => {
                let between = if self.said.is_some() { "\n" } else { "" };
                writeln!(out, "{between}{}", self.known.text())?;
            }
            Format::Json => self.say_json(out)?,
        }
        self.said = Some(now);
        out.flush()
    }

    fn say_json(&self, out: &mut impl Write) -> io::Result<()> {
        let line = match (&self.known.problem, &self.known.status) {
            (Some(problem), _) => {
                serde_json::to_string(&serde_json::json!({ "problem": problem }))?
            }
            (None, Some((status, clock))) => {
                serde_json::to_string(&Aged::new(status, status.as_of, clock))?
            }
            (None, None) => return Ok(()),
        };
        writeln!(out, "{line}")
    }
}

/// The same but for the time: two of these are equal if nothing has happened.
fn timeless(status: &Status) -> Status {
    Status {
        as_of: 0,
        ..status.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn a_frame_keeps_within_the_terminal() {
        assert_eq!(
            frame("one\ntwo", 2, 80),
            "\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J"
        );
        assert_eq!(frame("one\ntwo", 2, 2), "\x1b[Hon\x1b[K\r\ntw\x1b[K\x1b[J");
        assert_eq!(
            frame("one\ntwo\nthree", 2, 80),
            "\x1b[Hone\x1b[K\r\n(2 more lines: make the terminal higher)\x1b[K\x1b[J"
        );
        assert_eq!(frame("", 0, 0), "\x1b[H\x1b[J");
    }
}
