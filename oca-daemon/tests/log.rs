//! What the real daemon logs, and how an operator changes it while it runs.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use protocol::log::{Change, LogLevel};
use protocol::operator::{Fault, Request, Response};
use support::{Daemon, Plan, Site, eventually};

const RELOADED: &str = "the configuration was reloaded";

fn start(site: &Site, log: &Path) -> Daemon {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oca-daemon"));
    command.arg("--config").arg(site.config());
    command.env("OCA_LOG", "info").env_remove("OCA_LOG_FORMAT");
    command.stdin(Stdio::null());
    command.stderr(fs::File::create(log).expect("a log"));
    Daemon::spawn(command, &site.path("run"))
}

fn level(daemon: &Daemon, change: Option<(Option<&str>, Option<u64>)>) -> LogLevel {
    match daemon.ask(&request(change)) {
        Response::LogLevel(level) => level,
        other => panic!("{other:?}"),
    }
}

fn request(change: Option<(Option<&str>, Option<u64>)>) -> Request {
    Request::LogLevel {
        by: "ada".into(),
        change: change.map(|(level, for_s)| Change {
            level: level.map(str::to_owned),
            for_s,
        }),
    }
}

/// How often a reload was logged, after one more that the daemon has done.
fn reloads(daemon: &Daemon, site: &Site, log: &Path, sample: f64) -> usize {
    let config = fs::read_to_string(site.config()).expect("a configuration");
    let (plain, _) = config.split_once("\n[steering]").unwrap_or((&config, ""));
    let changed = format!("{plain}\n[steering]\ncapacity = \"{sample} Gbit/s\"\n");
    fs::write(site.config(), changed).expect("written");
    let pid = daemon.child.id().to_string();
    let sent = Command::new("kill").args(["-s", "HUP", &pid]).status();
    assert!(sent.expect("kill runs").success());
    eventually("the reload is done", || {
        let Response::Status(status) = daemon.ask(&Request::Status) else {
            return None;
        };
        (status.capacity == Some((sample * 1e9) as u64)).then_some(())
    });
    let text = fs::read_to_string(log).expect("a log");
    text.lines().filter(|line| line.contains(RELOADED)).count()
}

#[test]
fn a_level_is_changed_in_the_running_daemon_and_goes_back() {
    let site = Site::new(&Plan::default());
    let log = site.path("daemon.log");
    let daemon = start(&site, &log);
    let configured = LogLevel {
        level: "info".into(),
        configured: "info".into(),
        until: None,
    };
    assert_eq!(level(&daemon, None), configured);
    assert_eq!(reloads(&daemon, &site, &log, 1.0), 1);

    let quiet = level(&daemon, Some((Some("error"), Some(3600))));
    assert_eq!(quiet.level, "error");
    assert!(quiet.until.is_some());
    assert_eq!(reloads(&daemon, &site, &log, 2.0), 1);

    level(&daemon, Some((Some("warn,oca_daemon=off"), Some(1))));
    eventually("it is as configured again", || {
        (level(&daemon, None) == configured).then_some(())
    });
    assert_eq!(reloads(&daemon, &site, &log, 3.0), 2);

    let refused = daemon.ask(&request(Some((Some("loud"), None))));
    let Response::Refused(refusal) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refusal.fault, Fault::Request);
    assert!(refusal.message.contains("\"loud\" is not a log level"));
    assert_eq!(level(&daemon, None), configured);

    level(&daemon, Some((Some("debug"), None)));
    drop(daemon);
    let daemon = start(&site, &log);
    assert_eq!(level(&daemon, None), configured);
}

#[test]
fn without_a_terminal_each_line_is_a_document_with_fields() {
    let site = Site::new(&Plan::default());
    let log = site.path("daemon.log");
    let daemon = start(&site, &log);
    level(&daemon, Some((Some("warn"), Some(60))));
    let text = fs::read_to_string(&log).expect("a log");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a document"))
        .collect();
    let said = |words: &str| {
        let found = lines.iter().find(|line| line["fields"]["message"] == words);
        &found.unwrap_or_else(|| panic!("{words:?} is not in {text}"))["fields"]
    };
    assert!(said("listening")["address"].is_string());
    let change = said("the log level changes");
    assert_eq!(
        (&change["by"], &change["seconds"]),
        (&"ada".into(), &60.into())
    );
}

/// What it logs from its start to its end, in that form.
fn logged(format: &str) -> String {
    let site = Site::new(&Plan::default());
    let log = site.path("daemon.log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_oca-daemon"));
    command.arg("--config").arg(site.config());
    command.env("OCA_LOG", "info").env("OCA_LOG_FORMAT", format);
    command.stderr(fs::File::create(&log).expect("a log"));
    drop(Daemon::spawn(command, &site.path("run")));
    fs::read_to_string(&log).expect("a log")
}

#[test]
fn lines_for_syslog_have_no_time() {
    let text = logged("syslog");
    let line = text.lines().find(|line| line.contains("listening"));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(
        line.trim_start()
            .starts_with("INFO oca_daemon::daemon: listening address="),
        "{line}"
    );
}

#[test]
fn a_form_that_is_none_is_said_and_the_usual_one_is_taken() {
    let text = logged("yaml");
    let lines = text.lines().map(serde_json::from_str::<serde_json::Value>);
    let mut said =
        lines.map(|line| line.expect("a JSON document a line")["fields"]["message"].clone());
    let words =
        r#"OCA_LOG_FORMAT: "yaml" is not a form of the log; allowed: text, json, journal, syslog"#;
    assert!(said.any(|message| message == words), "{text}");
}

#[test]
fn damaged_expectations_of_viewers_are_said_with_what_comes_of_it() {
    let site = Site::new(&Plan::default());
    let file = site.path("state/fill/demand.json");
    fs::create_dir_all(site.path("state/fill")).expect("a folder");
    fs::write(&file, "torn").expect("written");
    let log = site.path("daemon.log");
    let _daemon = start(&site, &log);
    let damaged = format!("{}: is damaged: ", file.display());
    eventually("it is said", || {
        let text = fs::read_to_string(&log).expect("a log");
        let line = text.lines().find(|line| line.contains(&damaged))?;
        assert!(
            line.contains("Of viewers is expected what was before"),
            "{line}"
        );
        assert!(line.contains("the fill agent writes it anew"), "{line}");
        Some(())
    });
}
