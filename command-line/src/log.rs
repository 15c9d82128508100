//! The log of a program that serves: where it goes, and how much of it, which an operator may change while the program runs.
//!
//! | where standard error leads | form |
//! |---|---|
//! | a terminal | lines for people |
//! | the journal of systemd | an entry with fields (`journal`) |
//! | anything else | a JSON document a line |
//!
//! `OCA_LOG_FORMAT` chooses another one: `text`, `json`, `journal`, or `syslog`: lines without time, for who adds it, like daemon(8) of
//! FreeBSD. Another word is said, and changes nothing. `OCA_LOG` says how much: a level, or levels of parts, as in `info,oca_daemon::bgp=debug`; `info` without it.

mod journal;

use std::io::{self, IsTerminal};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use protocol::log::{Change, LogLevel};
use protocol::operator::{Fault, Refusal};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// The longest text that is read as a level, in bytes.
const LEVEL_MAX_BYTES: usize = 1024;

/// What is logged unless somebody says otherwise.
const USUAL: &str = "info";

static LOG: OnceLock<Log> = OnceLock::new();

type Filter = reload::Layer<EnvFilter, Registry>;
type Output = Box<dyn Layer<Layered<Filter, Registry>> + Send + Sync>;

struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    configured: String,
    now: Mutex<Now>,
    changed: Condvar,
}

/// What is in force.
struct Now {
    level: String,
    /// When it ends, by both clocks.
    ends: Option<(Instant, SystemTime)>,
    /// How often it was changed, so that who waits for an end sees that it is not his any more.
    changes: u64,
}

/// Begins to log. A logger that is there already, a test's, is as good.
pub fn start(program: &'static str) {
    let wished = std::env::var("OCA_LOG").unwrap_or_else(|_| USUAL.to_owned());
    let read = filter(&wished);
    let bad_level = read.as_ref().err().map(|bad| format!("OCA_LOG: {bad}"));
    let (configured, read) = match read {
        Ok(read) => (wished, read),
        Err(_) => (USUAL.to_owned(), EnvFilter::new(USUAL)),
    };
    let (filter, handle) = reload::Layer::new(read);
    let subscriber = tracing_subscriber::registry().with(filter);
    let (output, bad_format) = output(program);
    if subscriber.with(output).try_init().is_err() {
        return;
    }
    let now = Now {
        level: configured.clone(),
        ends: None,
        changes: 0,
    };
    let _ = LOG.set(Log {
        filter: handle,
        configured,
        now: Mutex::new(now),
        changed: Condvar::new(),
    });
    for problem in bad_level.into_iter().chain(bad_format) {
        tracing::warn!("{problem}");
    }
}

/// What `OCA_LOG_FORMAT` asks for; else the usual, with what is wrong with it.
fn output(program: &'static str) -> (Output, Option<String>) {
    let lines = || fmt::layer().with_writer(io::stderr);
    let format = std::env::var_os("OCA_LOG_FORMAT").unwrap_or_default();
    let chosen: Output = match &*format.to_string_lossy() {
        "text" => Box::new(lines().with_ansi(io::stderr().is_terminal())),
        "syslog" => Box::new(lines().with_ansi(false).without_time()),
        "json" => Box::new(lines().json()),
        "journal" => match journal::Journal::open(program) {
            Ok(journal) => Box::new(journal),
            Err(error) => {
                let problem = format!("OCA_LOG_FORMAT: the journal cannot be reached: {error}");
                return (usual(program), Some(problem));
            }
        },
        "" => usual(program),
        other => {
            let problem = format!(
                "OCA_LOG_FORMAT: {other:?} is not a form of the log; allowed: text, json, journal, syslog"
            );
            return (usual(program), Some(problem));
        }
    };
    (chosen, None)
}

/// By where standard error leads.
fn usual(program: &'static str) -> Output {
    let lines = fmt::layer().with_writer(io::stderr);
    if io::stderr().is_terminal() {
        return Box::new(lines);
    }
    match journal::of_standard_error(program) {
        Some(journal) => Box::new(journal),
        None => Box::new(lines.json()),
    }
}

/// Answers an operator: changes it if he wants so, and says what is in force.
///
/// # Errors
/// A level that is none, with those that are; a program that has another logger.
pub fn obey(by: &str, change: Option<Change>) -> Result<LogLevel, Refusal> {
    let log = LOG.get().ok_or_else(|| Refusal {
        fault: Fault::State,
        message: "this program does not log by levels".to_owned(),
    })?;
    if let Some(change) = change {
        log.change(by, change)?;
    }
    Ok(log.say())
}

impl Log {
    fn say(&'static self) -> LogLevel {
        let now = self.lock();
        let until = now.ends.map(|(_, end)| unix(end));
        LogLevel {
            level: now.level.clone(),
            configured: self.configured.clone(),
            until,
        }
    }

    fn change(&'static self, by: &str, change: Change) -> Result<(), Refusal> {
        let level = change.level.unwrap_or_else(|| self.configured.clone());
        let filter = filter(&level).map_err(|bad| refused(Fault::Request, &bad))?;
        let length = change.for_s.map(Duration::from_secs);
        let ends = length.and_then(|length| {
            let end = Instant::now().checked_add(length)?;
            Some((end, SystemTime::now().checked_add(length)?))
        });
        tracing::warn!(by, level, seconds = change.for_s, "the log level changes");
        let mut now = self.lock();
        let internal = |error: &dyn std::fmt::Display| refused(Fault::Internal, error);
        self.filter
            .reload(filter)
            .map_err(|error| internal(&error))?;
        now.level = level;
        now.ends = ends;
        now.changes += 1;
        self.changed.notify_all();
        if let Some((end, _)) = ends {
            let mine = now.changes;
            let waiting = thread::Builder::new().name("oca-log".to_owned());
            waiting
                .spawn(move || self.end(mine, end))
                .map_err(|error| internal(&error))?;
        }
        Ok(())
    }

    /// Goes back to what is configured at `end`, unless somebody has changed it again before.
    fn end(&'static self, mine: u64, end: Instant) {
        let mut now = self.lock();
        while now.changes == mine {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // It was read before, and is not read otherwise now.
                let _ = self.filter.reload(EnvFilter::new(&self.configured));
                now.level.clone_from(&self.configured);
                now.ends = None;
                drop(now);
                let level = &self.configured;
                tracing::warn!(level, "the log level is as configured again");
                return;
            }
            let waited = self.changed.wait_timeout(now, left);
            now = waited.expect("nobody panics while he holds it").0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().expect("nobody panics while he holds it")
    }
}

/// A text that says no level.
#[derive(Debug, PartialEq, Eq)]
struct NoLevel(String);

impl std::fmt::Display for NoLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} is not a log level; allowed: off, error, warn, info, debug, trace, and after a comma others for parts of the \
             program, as in info,oca_daemon::bgp=debug",
            self.0
        )
    }
}

/// `EnvFilter` alone would take a mistyped level for the name of a part, and log nothing else.
fn filter(text: &str) -> Result<EnvFilter, NoLevel> {
    let bad = || NoLevel(text.chars().take(80).collect());
    let is_level = |part: &str| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        // A number would be read too, and nothing as `error`.
        level.starts_with(|first: char| first.is_ascii_alphabetic())
            && level.parse::<LevelFilter>().is_ok()
    };
    if text.len() > LEVEL_MAX_BYTES || !text.split(',').all(is_level) {
        return Err(bad());
    }
    EnvFilter::try_new(text).map_err(|_| bad())
}

fn refused(fault: Fault, message: &dyn std::fmt::Display) -> Refusal {
    Refusal {
        fault,
        message: message.to_string(),
    }
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_level_is_refused_and_not_taken_for_a_part() {
        for text in [
            "off",
            "error",
            "warn",
            "INFO",
            "debug",
            "trace",
            "warn,oca_daemon::bgp=debug,hyper=off",
        ] {
            assert!(filter(text).is_ok(), "{text}");
        }
        for text in ["", "dbug", "1", "info,", "oca_daemon", "oca_daemon=loud"] {
            assert_eq!(filter(text).unwrap_err(), NoLevel(text.to_owned()));
        }
        assert!(filter(&"info,".repeat(LEVEL_MAX_BYTES)).is_err());
    }

    /// All in one: what is logged belongs to the process.
    #[test]
    fn a_level_is_changed_and_goes_back() {
        assert_eq!(obey("ada", None).unwrap_err().fault, Fault::State);
        start("oca-test");
        let configured = obey("ada", None).unwrap();
        assert_eq!(
            (configured.until, &configured.level),
            (None, &configured.configured)
        );
        let change = |level: Option<&str>, for_s| {
            let level = level.map(str::to_owned);
            obey("ada", Some(Change { level, for_s }))
        };
        assert_eq!(
            change(Some("loud"), None).unwrap_err().fault,
            Fault::Request
        );
        assert!(!tracing::enabled!(tracing::Level::DEBUG));
        let level = change(Some("debug"), Some(3600)).unwrap();
        assert!(level.until.is_some() && tracing::enabled!(tracing::Level::DEBUG));
        // Another change, and the end of it: the first one's end is not waited for any more.
        assert_eq!(change(Some("trace"), Some(0)).unwrap().configured, "info");
        while obey("ada", None).unwrap() != configured {
            thread::yield_now();
        }
        assert!(!tracing::enabled!(tracing::Level::DEBUG));
        assert_eq!(change(Some("debug"), None).unwrap().until, None);
        assert_eq!(change(None, None).unwrap(), configured);
    }
}
