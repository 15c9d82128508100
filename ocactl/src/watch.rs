//! `--watch`: a view that is drawn anew every second, or blocks of lines where there is no terminal.
//!
//! ```text
//! asking thread --News--> loop --frame--> screen, or one block per change
//! signal thread --Resized, Ended-->
//! ```

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use console::Term;
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::error::{Failure, Outcome};
use crate::layout::wrapped;
use crate::limits::WATCH_INTERVAL;
use crate::output::Format;
use crate::socket::AskError;

/// What a program has said of itself.
pub(crate) trait View: Clone + Send + 'static {
    /// As seen now: while nobody answers it grows old. Lines of at most [`crate::layout::COLUMNS`].
    fn text(&self) -> String;
    /// One document in one line.
    fn json(&self) -> serde_json::Result<String>;
    /// Whether nothing has happened since `before` but that time has passed.
    fn is_as(&self, before: &Self) -> bool;
}

enum Event<V> {
    News(Box<Result<V, AskError>>),
    Resized,
    Ended,
}

/// Shows what `ask` is told until Ctrl-C, or until nobody reads any more.
pub(crate) fn run<V: View>(
    format: Format,
    ask: impl Fn() -> Result<V, AskError> + Send + 'static,
) -> Result<Outcome, Failure> {
    let (sender, events) = mpsc::sync_channel(1);
    forward_signals(sender.clone())?;
    thread::spawn(move || ask_for_ever(ask, &sender));
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

fn forward_signals<V: View>(sender: SyncSender<Event<V>>) -> Result<(), Failure> {
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

fn ask_for_ever<V>(ask: impl Fn() -> Result<V, AskError>, sender: &SyncSender<Event<V>>) {
    while sender.send(Event::News(Box::new(ask()))).is_ok() {
        thread::sleep(WATCH_INTERVAL);
    }
}

/// What is known: the last news, and why there are none.
#[derive(Clone)]
struct Known<V> {
    view: Option<V>,
    problem: Option<String>,
}

impl<V: View> Known<V> {
    fn nothing() -> Self {
        Self {
            view: None,
            problem: None,
        }
    }

    fn learn(&mut self, news: Result<V, AskError>) {
        match news {
            Ok(view) => {
                self.view = Some(view);
                self.problem = None;
            }
            Err(error) => self.problem = Some(format!("{error}; waiting for it")),
        }
    }

    fn is_as(&self, before: &Self) -> bool {
        let same = match (&self.view, &before.view) {
            (Some(now), Some(then)) => now.is_as(then),
            (now, then) => now.is_none() && then.is_none(),
        };
        same && self.problem == before.problem
    }

    fn text(&self) -> String {
        let mut text = self
            .problem
            .as_ref()
            .map_or_else(String::new, |problem| wrapped(problem, 0));
        if let Some(view) = &self.view {
            if self.problem.is_some() {
                text.push_str("\n\nWhat it said last:\n");
            }
            text.push_str(&view.text());
        }
        text
    }

    fn json(&self) -> serde_json::Result<String> {
        match (&self.problem, &self.view) {
            (Some(problem), _) => serde_json::to_string(&serde_json::json!({ "problem": problem })),
            (None, Some(view)) => view.json(),
            (None, None) => Ok(String::new()),
        }
    }
}

/// The other page of a terminal: what was there before comes back at the end.
struct Screen<V: View> {
    terminal: Term,
    known: Known<V>,
}

impl<V: View> Screen<V> {
    fn enter() -> io::Result<Self> {
        let screen = Self {
            terminal: Term::stdout(),
            known: Known::nothing(),
        };
        write!(&screen.terminal, "\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    fn follow(mut self, events: &Receiver<Event<V>>) -> io::Result<()> {
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

impl<V: View> Drop for Screen<V> {
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
struct Blocks<V> {
    format: Format,
    known: Known<V>,
    said: Option<Known<V>>,
}

impl<V: View> Blocks<V> {
    fn new(format: Format) -> Self {
        Self {
            format,
            known: Known::nothing(),
            said: None,
        }
    }

    fn follow(mut self, events: &Receiver<Event<V>>, out: &mut impl Write) -> io::Result<()> {
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
        let before = self.said.as_ref();
        if before.is_some_and(|before| self.known.is_as(before)) {
            return Ok(());
        }
        match self.format {
            Format::Text => {
                let between = if before.is_some() { "\n" } else { "" };
                writeln!(out, "{between}{}", self.known.text())?;
            }
            Format::Json => writeln!(out, "{}", self.known.json()?)?,
        }
        self.said = Some(self.known.clone());
        out.flush()
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
