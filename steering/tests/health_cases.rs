//! Cases in `tests/health_cases`: what is seen of a box, second by second, and what it then tells of itself, changes only.
//!
//! A case is a sentence, then `seen` and `told`. In `seen`, a line is a second, or `from-to/step`, and one of
//!
//! ```text
//! COMPONENT SUBJECT SEVERITY [DETAIL]    a sample, from now on; `-` if there is only one subject
//! forget COMPONENT SUBJECT               it is configured away
//! canary answered|missed|busy            what comes through the one service address, from now on
//! address here|gone                      whether the box is ready to announce it
//! transfers N                            what runs
//! drain | undrain | stop | end           the operator's words; the last second
//! ```
//!
//! In `told`: the second, the state, whether new viewers are welcome, what BGP says of the service address, and the causes. There
//! is one look a second, as in the daemon, from samples to what routers are told.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use steering::bgp::presence::{Look, Presence};
use steering::drain::{Bounds, Drain, Intent};
use steering::health::{Component, Health, Sample, Severity, Thresholds};
use steering::{State, UnixTime};

const BOUNDS: Bounds = Bounds {
    hint_lifetime: Duration::from_secs(60),
    drain: Duration::from_secs(7200),
};

#[test]
fn every_case_is_told_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/health_cases");
    let files = fs::read_dir(folder).expect("the cases");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let wrong: Vec<String> = paths.iter().filter_map(|path| mistaken(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

/// What is told instead, if it is not what is written.
fn mistaken(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).expect("a case");
    let (seen, told) = sections(&text);
    let got = run(seen);
    (got != told).then(|| format!("{} is told as\n{got}", path.display()))
}

fn sections(text: &str) -> (&str, &str) {
    let (_, rest) = text.split_once("\nseen\n").expect("what is seen");
    rest.split_once("\n\ntold\n").expect("what is told")
}

fn run(seen: &str) -> String {
    let events: Vec<Event<'_>> = seen.lines().map(Event::of).collect();
    let end = events.iter().find(|event| event.what == ["end"]);
    let mut it = Appliance::new();
    let mut told = String::new();
    let mut last = String::new();
    for second in 0..=end.expect("the last second").from {
        for event in events.iter().filter(|event| event.is_at(second)) {
            it.meet(second, &event.what);
        }
        it.look(second);
        let now = it.tells();
        if now != last {
            writeln!(told, "{second:5}  {now}").expect("memory");
            last = now;
        }
    }
    told
}

/// One line of what is seen.
struct Event<'a> {
    from: u64,
    to: u64,
    step: u64,
    what: Vec<&'a str>,
}

impl<'a> Event<'a> {
    fn of(line: &'a str) -> Self {
        let mut words = line.split_whitespace();
        let time = words.next().expect("a time");
        let number = |text: &str| text.parse::<u64>().expect("a number of seconds");
        let (from, to, step) = match time.split_once('-') {
            None => (number(time), number(time), 1),
            Some((from, rest)) => {
                let (to, step) = rest.split_once('/').expect("a step");
                (number(from), number(to), number(step))
            }
        };
        Self {
            from,
            to,
            step,
            what: words.collect(),
        }
    }

    fn is_at(&self, second: u64) -> bool {
        (self.from..=self.to).contains(&second) && (second - self.from).is_multiple_of(self.step)
    }
}

/// The machines in the order in which the daemon asks them.
struct Appliance {
    start: Instant,
    samples: Vec<Sample>,
    transfers: u64,
    canary: Option<bool>,
    is_ready: bool,
    is_stopping: bool,
    health: Health,
    drain: Drain,
    presence: Presence,
}

impl Appliance {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            samples: Vec::new(),
            transfers: 0,
            canary: Some(true),
            is_ready: true,
            is_stopping: false,
            health: Health::new(Thresholds::default()),
            drain: Drain::new(BOUNDS, None),
            presence: Presence::default(),
        }
    }

    fn meet(&mut self, second: u64, what: &[&str]) {
        match what {
            ["drain"] => self.drain.begin(Intent {
                since: UnixTime::from_seconds(second),
                by: "ada".into(),
                reason: None,
                answers_expire_s: None,
            }),
            ["undrain"] => {
                self.drain.end();
                self.presence.release();
            }
            ["stop"] => self.is_stopping = true,
            ["end"] => {}
            ["canary", "answered"] => self.canary = Some(true),
            ["canary", "missed"] => self.canary = Some(false),
            ["canary", "busy"] => self.canary = None,
            ["address", what] => self.is_ready = *what == "here",
            ["transfers", number] => self.transfers = number.parse().expect("a number"),
            ["forget", component, subject] => self.forget(component, subject),
            [component, subject, severity, detail @ ..] => {
                self.forget(component, subject);
                self.samples
                    .push(sample(component, subject, severity, &detail.join(" ")));
            }
            other => panic!("{other:?}"),
        }
    }

    fn forget(&mut self, component: &str, subject: &str) {
        let subject = subject.trim_matches('-');
        self.samples
            .retain(|it| (it.component.as_str(), it.subject.as_str()) != (component, subject));
    }

    fn look(&mut self, second: u64) {
        let now = UnixTime::from_seconds(second);
        self.forget("service-address", "-");
        let (severity, detail) = if self.presence.is_lost() {
            ("down", "does not answer")
        } else {
            ("ok", "")
        };
        let answers = sample("service-address", "-", severity, detail);
        self.samples.push(answers);
        self.health.observe(now, &self.samples);
        self.drain.step(now, self.transfers);
        self.presence.observe(
            self.start + Duration::from_secs(second),
            Look {
                state: self.state(),
                is_stopping: self.is_stopping,
                is_ready: self.is_ready,
                canary: self.canary,
            },
        );
    }

    fn state(&self) -> State {
        State::of(self.health.worst_local(), self.drain.phase())
    }

    fn tells(&self) -> String {
        let state = word(&self.state());
        let welcome = if self.state().takes_viewers() {
            "welcome"
        } else {
            "elsewhere"
        };
        let mut told = format!("{state}, {welcome}, {}", self.presence.phase().as_str());
        for cause in self.health.causes() {
            let subject = if cause.subject.is_empty() {
                "-"
            } else {
                &cause.subject
            };
            let (scope, severity) = (word(&cause.scope), word(&cause.severity));
            let (component, since) = (cause.component.as_str(), cause.since.seconds());
            write!(
                told,
                "\n       {scope} {component} {subject} {severity} since {since}: {}",
                cause.detail
            )
            .expect("memory");
        }
        told
    }
}

fn sample(component: &str, subject: &str, severity: &str, detail: &str) -> Sample {
    let of_word = |word: &str| serde_json::Value::String(word.to_owned());
    Sample {
        component: serde_json::from_value::<Component>(of_word(component)).expect("a component"),
        subject: subject.trim_matches('-').to_owned(),
        severity: serde_json::from_value::<Severity>(of_word(severity)).expect("a severity"),
        detail: detail.to_owned(),
    }
}

/// The word on the wire.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value).expect("a word") {
        serde_json::Value::String(word) => word,
        other => panic!("{other}"),
    }
}
