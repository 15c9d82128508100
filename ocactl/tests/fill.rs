//! What goes through the fill agent's socket, with an agent of a few lines.

mod appliance;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use appliance::{Appliance, text};
use protocol::fill::{
    Activity, Contact, Hours, Plan, PlanTotals, Progress, Request, Response, Scrub, Status, Window,
};
use protocol::log::LogLevel;
use protocol::manifest::Serial;
use protocol::operator::{self, Fault, Refusal};

/// Answers each request with what `answer` says; notes what was asked.
fn agent(
    appliance: &Appliance,
    mut answer: impl FnMut(&Request) -> Response + Send + 'static,
) -> Arc<Mutex<Vec<Request>>> {
    let listener = UnixListener::bind(appliance.path("run/fill.sock")).expect("a new socket");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut line = Vec::new();
            let mut reader = BufReader::new(stream);
            if !matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                continue;
            }
            let request = operator::decode(&line).expect("ocactl speaks the protocol");
            let response = answer(&request);
            notes.lock().expect("no panic holds it").push(request);
            // A watcher that has ended reads no more.
            let _ = reader.get_mut().write_all(&operator::encode(&response));
        }
    });
    asked
}

/// An agent to which nothing happens.
fn obliging(request: &Request) -> Response {
    match request {
        Request::Window
        | Request::SetWindow { .. }
        | Request::Override { .. }
        | Request::ClearOverride { .. } => Response::Window(Box::new(window())),
        Request::Plan { .. } => Response::Plan(Box::new(Plan {
            as_of: now(),
            serial: None,
            fetch: Vec::new(),
            moves: Vec::new(),
            copies: Vec::new(),
            evict: Vec::new(),
            repair: Vec::new(),
            totals: PlanTotals::default(),
            blocked: "no manifest yet".into(),
        })),
        Request::ScrubStatus
        | Request::ScrubStart { .. }
        | Request::ScrubPause { .. }
        | Request::ScrubResume { .. } => Response::Scrub(Box::new(Scrub {
            as_of: now(),
            rate: 200_000_000,
            every: 86_400,
            pause: None,
            devices: Vec::new(),
        })),
        Request::Damaged { .. } => Response::Noted,
        Request::LogLevel { .. } => Response::LogLevel(LogLevel {
            level: "info".into(),
            configured: "info".into(),
            until: None,
        }),
        Request::Status
        | Request::Devices
        | Request::Pause { .. }
        | Request::Resume { .. }
        | Request::Accept { .. } => Response::Status(Box::new(status("all is here"))),
    }
}

fn status(why: &str) -> Status {
    Status {
        as_of: now(),
        version: "0.1.0".into(),
        started: 1_790_000_000,
        activity: Activity::Complete,
        why: why.into(),
        window_open: true,
        window_changes: None,
        rate: Some(1_200_000_000),
        rate_now: 0,
        eta: None,
        clock_synchronised: true,
        manifest: None,
        held: None,
        control: Contact::default(),
        pause: None,
        progress: Progress::default(),
        transfers: Vec::new(),
        sources: Vec::new(),
        devices: Vec::new(),
        waiting: Vec::new(),
        failures: Vec::new(),
    }
}

fn window() -> Window {
    Window {
        as_of: now(),
        configured: Some(Hours {
            window: "00:00-24:00".into(),
            timezone: "Asia/Kathmandu".into(),
            rate: Some(1_200_000_000),
        }),
        set: None,
        overridden: None,
        effective: None,
        site_offset_s: 0,
        open: true,
        why: "always open".into(),
        next: Vec::new(),
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

#[test]
fn an_agent_that_is_not_running_is_said_with_the_way_out() {
    let appliance = Appliance::bare();
    for command in [
        &["fill", "status"][..],
        &["fill", "plan"],
        &["fill", "pause"],
        &["fill", "resume"],
        &["fill", "accept", "1.42"],
        &["fill-window", "show"],
        &["fill-window", "next"],
        &["fill-window", "set", "02:00-14:00"],
        &["fill-window", "override", "open", "--until", "06:00"],
    ] {
        appliance
            .run(command)
            .failed(1, "the fill agent is not running: nobody listens at ")
            .failed(1, "systemctl start oca-fill-agent");
    }
}

#[test]
fn every_answer_says_its_age_in_the_zone_of_the_window() {
    let appliance = Appliance::bare();
    agent(&appliance, obliging);
    for command in [
        &["fill", "status"][..],
        &["fill", "plan"],
        &["fill", "resume"],
        &["scrub", "status"],
        &["scrub", "start", "nvme0"],
        &["scrub", "pause", "--for", "2h"],
        &["fill-window", "show"],
        &["fill-window", "next"],
        &["fill-window", "override", "clear"],
    ] {
        let said = appliance.run(command).done().out;
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("as of ") && last.contains("+05:45, "),
            "{said}"
        );
        assert!(last.ends_with(" s ago"), "{said}");
        let (code, json) = appliance.json(command);
        assert_eq!(code, 0);
        assert!(json["age_s"].is_u64() && json["as_of"].is_u64(), "{json}");
    }
    assert!(
        appliance
            .run(&["fill", "plan"])
            .done()
            .out
            .contains("blocked    no manifest yet")
    );
}

#[test]
fn the_agent_hears_of_a_device_that_is_added() {
    let appliance = Appliance::bare();
    let asked = agent(&appliance, obliging);
    let root = appliance.path("nvme0");
    appliance.run(&["device", "add", text(&root)]).done();
    let asked = asked.lock().expect("no panic holds it");
    assert!(
        matches!(asked.last(), Some(Request::Devices)),
        "it heard {asked:?}"
    );
}

#[test]
fn the_agent_says_how_much_it_logs() {
    let appliance = Appliance::bare();
    agent(&appliance, obliging);
    let said = appliance.run(&["log-level", "--of", "agent"]).done().out;
    assert_eq!(said, "fill agent: info, as configured\n");
}

/// Runs `ocactl` on an agent to which nothing happens, and gives what it was asked to change or show.
fn asks(arguments: &[&str]) -> Option<Request> {
    let appliance = Appliance::bare();
    let asked = agent(&appliance, obliging);
    appliance.run(arguments).done();
    let asked = asked.lock().expect("no panic holds it");
    asked
        .iter()
        .find(|request| **request != Request::Window)
        .cloned()
}

fn soon(until: Option<u64>, seconds: u64) -> bool {
    until.is_some_and(|until| (now() + seconds).abs_diff(until) <= 60)
}

#[test]
fn hours_are_set_as_they_were_typed() {
    let hours = |window: Option<&str>, timezone: Option<&str>, rate: Option<u64>| {
        (window.map(str::to_owned), timezone.map(str::to_owned), rate)
    };
    for (typed, meant) in [
        (&["01:00-07:00"][..], hours(Some("01:00-07:00"), None, None)),
        (
            &[
                "01:00-07:00",
                "--timezone",
                "Asia/Tehran",
                "--rate",
                "500Mbit/s",
            ],
            hours(Some("01:00-07:00"), Some("Asia/Tehran"), Some(500_000_000)),
        ),
        (&["--configured"], hours(None, None, None)),
    ] {
        let asked = asks(&[&["fill-window", "set"], typed].concat());
        let Some(Request::SetWindow {
            by,
            window,
            timezone,
            rate,
        }) = asked
        else {
            panic!("{asked:?}")
        };
        assert!(!by.is_empty());
        assert_eq!((window, timezone, rate), meant);
    }
}

#[test]
fn overrides_are_asked_for_as_they_were_typed() {
    for (typed, meant, length) in [
        (&["closed"][..], false, None),
        (&["open", "--for", "2h"], true, Some(7_200)),
        (&["open", "--for", "120 min"], true, Some(7_200)),
    ] {
        let asked = asks(&[&["fill-window", "override"], typed].concat());
        let Some(Request::Override { open, until, .. }) = asked else {
            panic!("{asked:?}")
        };
        assert_eq!((open, until.is_some()), (meant, length.is_some()));
        assert!(length.is_none_or(|length| soon(until, length)), "{until:?}");
    }
    let asked = asks(&[
        "fill-window",
        "override",
        "open",
        "--until",
        "2100-01-01T05:45",
    ]);
    assert!(
        matches!(
            asked,
            Some(Request::Override {
                until: Some(4_102_444_800),
                ..
            })
        ),
        "{asked:?}"
    );
    let asked = asks(&["fill-window", "override", "clear"]);
    assert!(
        matches!(asked, Some(Request::ClearOverride { .. })),
        "{asked:?}"
    );
}

#[test]
fn a_pause_and_the_rest_are_asked_for_as_they_were_typed() {
    let Some(Request::Pause { until, .. }) = asks(&["fill", "pause", "--for", "30 min"]) else {
        panic!("not paused")
    };
    assert!(soon(until, 1_800), "{until:?}");
    assert!(matches!(
        asks(&["fill", "pause"]),
        Some(Request::Pause { until: None, .. })
    ));
    assert!(matches!(
        asks(&["fill", "resume"]),
        Some(Request::Resume { .. })
    ));
    assert!(matches!(
        asks(&["fill", "accept", "1.43"]),
        Some(Request::Accept {
            serial: Serial {
                epoch: 1,
                number: 43
            },
            ..
        })
    ));
    assert_eq!(asks(&["fill", "plan"]), Some(Request::Plan { limit: 20 }));
    assert_eq!(
        asks(&["fill", "plan", "--limit", "7"]),
        Some(Request::Plan { limit: 7 })
    );
}

#[test]
fn wrong_usage_is_said_before_anything_is_asked() {
    let appliance = Appliance::bare();
    let asked = agent(&appliance, obliging);
    for (command, words) in [
        (&["fill-window", "set"][..], "required"),
        (
            &["fill-window", "set", "01:00-02:00", "--configured"],
            "cannot be used with",
        ),
        (
            &["fill-window", "set", "01:00-02:00", "--rate", "fast"],
            "is not a rate",
        ),
        (
            &["fill-window", "set", "01:00-02:00", "--rate", "0 bit/s"],
            "--rate is 0 bit/s",
        ),
        (&["fill-window", "override", "ajar"], "unrecognized"),
        (
            &["fill-window", "override", "open", "--for", "2"],
            "is not a length of time",
        ),
        (
            &[
                "fill-window",
                "override",
                "open",
                "--for",
                "2h",
                "--until",
                "06:00",
            ],
            "cannot be used with",
        ),
        (
            &["fill-window", "override", "open", "--until", "soon"],
            "--until \"soon\" is not a time",
        ),
        (
            &[
                "fill-window",
                "override",
                "open",
                "--until",
                "2001-01-01T00:00",
            ],
            "which is past",
        ),
        (&["fill", "accept", "42"], "not the serial of a manifest"),
        (&["fill", "plan", "--limit", "0"], "invalid value"),
    ] {
        appliance.run(command).failed(2, words);
    }
    let asked = asked.lock().unwrap();
    assert!(
        asked.iter().all(|request| *request == Request::Window),
        "{asked:?}"
    );
}

#[test]
fn a_refusal_nonsense_and_silence_are_said() {
    let appliance = Appliance::bare();
    agent(&appliance, |_| {
        Response::Refused(Refusal {
            fault: Fault::State,
            message: "manifest 1.43 is not held; held is 1.44".into(),
        })
    });
    appliance.run(&["fill", "accept", "1.43"]).failed(
        1,
        "the fill agent refuses: manifest 1.43 is not held; held is 1.44",
    );

    let appliance = Appliance::bare();
    agent(&appliance, |_| Response::Window(Box::new(window())));
    appliance
        .run(&["fill", "status"])
        .failed(1, "gave another answer than was asked for");

    let appliance = Appliance::bare();
    let listener = UnixListener::bind(appliance.path("run/fill.sock")).unwrap();
    let silent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Until ocactl has gone.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    appliance.run(&["fill", "status"]).failed(
        1,
        "has not answered within 10 s; see its log: `journalctl -u oca-fill-agent`",
    );
    silent.join().unwrap();
}

/// `fill status --watch` with a pipe instead of a terminal.
struct Watching {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Watching {
    fn begin(appliance: &Appliance, more: &[&str]) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("ocactl"))
            .args([
                "--config",
                text(&appliance.path("oca.toml")),
                "fill",
                "status",
                "--watch",
            ])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, out }
    }

    /// Reads lines until one holds `words`.
    fn until(&mut self, words: &str) -> String {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            let read = self.out.read_line(&mut line).expect("text");
            assert!(read > 0, "the end came before {words:?}");
        }
        line
    }

    fn interrupt(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.expect("kill is there").success());
        self.child.wait().expect("a child").code()
    }
}

#[test]
fn a_watcher_sees_changes_and_waits_for_an_agent() {
    let appliance = Appliance::bare();
    let mut watching = Watching::begin(&appliance, &[]);
    watching.until("the fill agent is not running");
    let mut answered = 0;
    agent(&appliance, move |request| {
        if *request != Request::Status {
            return obliging(request);
        }
        answered += 1;
        Response::Status(Box::new(status(if answered < 3 {
            "all is here"
        } else {
            "a new manifest"
        })))
    });
    watching.until("complete: all is here");
    watching.until("complete: a new manifest");
    // It goes: a socket that nobody listens at is as good as none.
    std::fs::remove_file(appliance.path("run/fill.sock")).unwrap();
    watching.until("the fill agent is not running");
    watching.until("What it said last:");
    assert_eq!(watching.interrupt(), Some(0));
}

#[test]
fn a_watcher_prints_one_json_document_a_line() {
    let appliance = Appliance::bare();
    agent(&appliance, obliging);
    let mut watching = Watching::begin(&appliance, &["--json"]);
    let line = watching.until("all is here");
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["activity"], "complete");
    std::fs::remove_file(appliance.path("run/fill.sock")).unwrap();
    let line = watching.until("problem");
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(
        json["problem"].as_str().unwrap().contains("not running"),
        "{json}"
    );
    assert_eq!(watching.interrupt(), Some(0));
}

#[test]
fn a_watcher_ends_when_nobody_reads() {
    let appliance = Appliance::bare();
    let mut answered = 0_u64;
    agent(&appliance, move |request| {
        if *request != Request::Status {
            return obliging(request);
        }
        answered += 1;
        Response::Status(Box::new(status(&format!("change {answered}"))))
    });
    let mut watching = Watching::begin(&appliance, &[]);
    watching.until("change 1");
    drop(watching.out);
    assert_eq!(watching.child.wait().unwrap().code(), Some(0));
}
