//! What the daemon tells the control endpoint, as a real endpoint gets it; and that no endpoint can hurt serving.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::time::{Duration, Instant};

use content_store::chunk_tree::ChunkTree;
use protocol::control::Report;
use protocol::fill::{Activity, Contact, Facts, Progress};
use protocol::operator::{Request, Response};
use protocol::root::Root;
use protocol::status::{Scope, State};
use support::control::{ControlEndpoint, answer, known, ok};
use support::http::{Client, get};
use support::publish::publish;
use support::{Daemon, Plan, Site, content, eventually};
use trust::testing::{Authority, front};

const SIZE: usize = 300_000;

struct Watched {
    site: Site,
    control: ControlEndpoint,
}

impl Watched {
    fn new() -> Self {
        let control = ControlEndpoint::start();
        let site = Site::new(&Plan {
            control: &control.url(),
            ..Plan::default()
        });
        Self { site, control }
    }

    /// Publishes an object; the same number has the same bytes.
    fn publish(&self, number: u64) -> Root {
        self.site.publish(&path(number), &content(number, SIZE));
        root_of(number)
    }

    /// The next report that was made from now on and `fits`.
    fn next(&self, what: &str, fits: impl Fn(&Report) -> bool) -> Report {
        let seen = self.control.posted().len();
        self.control.await_report(what, seen, fits)
    }
}

fn path(number: u64) -> String {
    format!("/film/{number}")
}

fn root_of(number: u64) -> Root {
    Root(ChunkTree::of(&content(number, SIZE)).object().0)
}

fn bytes_of(report: &Report, root: Root) -> u64 {
    let of = report.served.iter().filter(|served| served.root == root);
    of.map(|served| served.bytes).sum()
}

/// On a busy machine a worker may be late just now, which is a cause of its own.
fn is_well(daemon: &Daemon) {
    eventually("nothing is wrong with it", || {
        (daemon.status().state == State::Ok).then_some(())
    });
}

#[test]
fn all_is_told_once_and_then_what_changes() {
    let watched = Watched::new();
    let first = watched.publish(1);
    let mut daemon = watched.site.start();
    let report = watched.control.await_report("a report", 0, |_| true);
    assert_eq!(
        (report.inventory.revision, report.inventory.since),
        (1, None)
    );
    assert_eq!(report.inventory.added, [first]);
    assert_eq!(report.serves_at, [format!("http://{}", daemon.http)]);
    assert_eq!((report.sequence, report.state), (1, State::Ok));
    assert_eq!(report.devices.len(), 4);
    assert_eq!(report.steering["appliance"], "c001.test.example");
    let posted = &watched.control.posted()[0];
    assert_eq!(
        posted.request_line,
        "POST /v1/appliances/c001.test.example/report HTTP/1.1"
    );
    assert_eq!(posted.authorization, "Bearer secret-1");

    let quiet = watched.next("nothing new", |report| report.sequence > 1);
    assert_eq!(quiet.inventory.since, Some(1));
    assert!(quiet.inventory.added.is_empty() && quiet.inventory.removed.is_empty());

    let second = watched.publish(2);
    let grown = watched.next("the new object", |report| report.inventory.revision == 2);
    assert_eq!(grown.inventory.since, Some(1));
    assert_eq!(grown.inventory.added, [second]);

    // Another disk is gone: what was on it is not held any more.
    let path = watched
        .site
        .device(watched.site.devices_of(&content(2, SIZE))[0]);
    std::fs::rename(&path, path.with_extension("gone")).unwrap();
    let shrunk = watched.next("less is held", |report| report.inventory.revision > 2);
    assert!(shrunk.inventory.removed.contains(&second), "{shrunk:?}");
    std::fs::rename(path.with_extension("gone"), &path).unwrap();
    watched.next("it is held again", |report| {
        report.inventory.added.contains(&second)
    });

    daemon.kill();
    let seen = watched.control.posted().len();
    let _daemon = watched.site.start();
    let again = watched
        .control
        .await_report("after a restart", seen, |_| true);
    assert_eq!((again.inventory.revision, again.inventory.since), (1, None));
    assert_eq!(again.inventory.added.len(), 2);
    assert!(again.started >= report.started && again.sequence == 1);
}

#[test]
fn an_endpoint_that_has_forgotten_is_told_all() {
    let watched = Watched::new();
    let object = watched.publish(1);
    let daemon = watched.site.start();
    watched.next("changes only", |report| report.inventory.since.is_some());
    let mut forgotten = false;
    watched.control.reply(move |report| {
        if std::mem::replace(&mut forgotten, true) {
            return known(report);
        }
        Some(answer(None, 1))
    });
    let all = watched.next("all again", |report| report.inventory.since.is_none());
    assert_eq!(all.inventory.added, [object]);
    watched.next("changes only again", |report| {
        report.inventory.since.is_some()
    });
    assert_eq!(daemon.metric("oca_report_full_total", ""), 2.0);
}

#[test]
fn what_viewers_got_is_told_until_it_is_answered_and_fills_are_not() {
    let watched = Watched::new();
    let (first, second) = (watched.publish(1), watched.publish(2));
    let daemon = watched.site.start();
    watched.control.await_report("a report", 0, |_| true);
    // From now on reports come, and none is answered.
    watched
        .control
        .reply(|_| Some(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let mut client = Client::connect(daemon.http).unwrap();
    for _ in 0..3 {
        client.get(&path(1), &["Range: bytes=0-99999"]).unwrap();
    }
    client.get(&path(2), &[]).unwrap();
    client
        .get(&path(2), &["Oca-Fill: c002.test.example"])
        .unwrap();
    client.request("HEAD", &path(1), &[]).unwrap();
    client.get("/not%20here", &[]).unwrap();
    client
        .get("/not%20here", &["Oca-Fill: c002.test.example"])
        .unwrap();
    let is_whole = |report: &Report| {
        bytes_of(report, first) == 300_000 && bytes_of(report, second) == SIZE as u64
    };
    let told = watched.next("all that was served", is_whole);
    assert_eq!(told.served[0].size, SIZE as u64);
    // Another index, with the same objects and one more.
    watched.publish(3);
    let told_again = watched.next("the same again", is_whole);
    let misses = |report: &Report| -> Vec<(String, u64)> {
        let misses = report.misses.iter();
        misses
            .map(|miss| (miss.path.clone(), miss.requests))
            .collect()
    };
    assert_eq!(misses(&told_again), [("/not here".to_owned(), 1)]);

    watched.control.reply(known);
    watched.next("the answered one", is_whole);
    let after = watched.next("nothing is left", |report| report.served.is_empty());
    assert!(after.misses.is_empty());
    get(daemon.http, &path(1), &["Range: bytes=7-9"]).unwrap();
    let more = watched.next("what came later", |report| !report.served.is_empty());
    assert_eq!(bytes_of(&more, first), 3, "counted once");
}

#[test]
fn a_large_inventory_is_packed() {
    let watched = Watched::new();
    let mut store = watched.site.store();
    for number in 0..300_u64 {
        publish(&mut store, &path(number), &number.to_le_bytes());
    }
    drop(store);
    let _daemon = watched.site.start();
    let report = watched.control.await_report("a report", 0, |_| true);
    assert_eq!(report.inventory.added.len(), 300);
    assert!(watched.control.posted()[0].packed);
    watched.next("changes only", |report| report.inventory.since.is_some());
    assert!(!watched.control.posted().last().unwrap().packed);
}

#[test]
fn what_the_agent_told_is_passed_on() {
    let watched = Watched::new();
    let daemon = watched.site.start();
    let report = watched.control.await_report("a report", 0, |_| true);
    assert_eq!(report.fill, None);
    let facts = Facts {
        as_of: 1_790_000_000,
        activity: Activity::Closed,
        why: "the window opens at 02:00".into(),
        manifest: None,
        held: None,
        tombstones: None,
        progress: Progress::default(),
        rate_now: 0,
        window_open: false,
        control: Contact::default(),
        clock_synchronised: true,
    };
    let told = Request::Fill(Box::new(facts.clone()));
    assert_eq!(daemon.ask(&told), Response::Noted);
    watched.next("the agent's facts", |report| {
        report.fill.as_ref() == Some(&facts)
    });
    let status = daemon.status();
    assert_eq!(status.fill.unwrap().why, facts.why);
    assert!(status.report.unwrap().answered.is_some());
}

/// Dead, slow, garbage, endless, redirecting, far too patient: viewers are served, the state stays, and a cause says so.
#[test]
fn no_endpoint_changes_what_is_served() {
    let watched = Watched::new();
    watched.publish(1);
    let daemon = watched.site.start();
    watched.control.await_report("a report", 0, |_| true);
    let elsewhere = ControlEndpoint::start();
    let url = elsewhere.url();
    let redirect = format!("HTTP/1.1 307 x\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n");
    let lies: Vec<(&str, Vec<u8>)> = vec![
        ("answer cannot be understood", ok(b"{\"version\":1}")),
        ("more than 65536 bytes", ok(&vec![b' '; 200_000])),
        ("answered 307", redirect.into_bytes()),
        (
            "unknown token",
            b"HTTP/1.1 401 x\r\nContent-Length: 25\r\n\r\n{\"error\":\"unknown token\"}".to_vec(),
        ),
        (
            "speaks version 2",
            ok(b"{\"version\":2,\"known\":null,\"next_s\":1,\"manifest\":null}"),
        ),
    ];
    for (problem, lie) in lies {
        watched.control.reply(move |_| Some(lie.clone()));
        eventually(problem, || {
            let report = daemon.status().report.unwrap();
            report.problem.contains(problem).then_some(())
        });
        // Back to short pauses.
        watched.control.reply(known);
        watched.next("an answered one", |_| true);
    }
    assert!(elsewhere.posted().is_empty(), "the token goes nowhere else");
    watched.control.reply(|_| None);
    watched.next("one that is never answered", |_| true);
    let cause = eventually("a cause", || {
        assert_served(&daemon);
        let causes = daemon.status().causes;
        causes
            .into_iter()
            .find(|cause| cause.component == "control")
    });
    assert_eq!(cause.scope, Scope::Shared);
    assert!(
        cause.detail.contains("no report was answered since "),
        "{}",
        cause.detail
    );
    is_well(&daemon);
    assert_eq!(get(daemon.admin, "/readyz", &[]).unwrap().status, 200);
    // A stop does not wait for it.
    let begun = Instant::now();
    terminate(daemon);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// Unless it is told not to serve without one.
#[test]
fn a_strict_box_is_down_while_nobody_answers_it() {
    let watched = Watched::new();
    watched.publish(1);
    let text = std::fs::read_to_string(watched.site.config()).unwrap();
    let interval = "report_interval = \"1 s\"\n";
    let strict = text.replace(interval, &format!("{interval}strict = \"3 s\"\n"));
    assert_ne!(text, strict);
    std::fs::write(watched.site.config(), strict).unwrap();
    let daemon = watched.site.start();
    watched.control.await_report("a report", 0, |_| true);
    is_well(&daemon);

    watched
        .control
        .reply(|_| Some(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let status = eventually("it is down", || {
        Some(daemon.status()).filter(|status| status.state == State::Down)
    });
    let cause = &status.causes[0];
    assert_eq!((&*cause.component, cause.scope), ("strict", Scope::Local));
    assert!(
        cause.detail.ends_with("; control.strict allows 3 s"),
        "{}",
        cause.detail
    );
    assert_eq!(get(daemon.admin, "/readyz", &[]).unwrap().status, 503);
    let metrics = get(daemon.admin, "/metrics", &[]).unwrap();
    let metrics = String::from_utf8(metrics.body).unwrap();
    let sample = "oca_health_causes{component=\"strict\",scope=\"local\",severity=\"down\"} 1";
    assert!(metrics.contains(sample), "{metrics}");
    // Who comes all the same is not sent away.
    assert_served(&daemon);

    watched.control.reply(known);
    eventually("it is well again", || {
        (daemon.status().state == State::Ok).then_some(())
    });
    terminate(daemon);
}

fn assert_served(daemon: &Daemon) {
    let response = get(daemon.http, &path(1), &[]).unwrap();
    assert!(response.status == 200 && response.body == content(1, SIZE));
}

fn terminate(mut daemon: Daemon) {
    let pid = daemon.child.id().to_string();
    let sent = std::process::Command::new("kill").arg(&pid).status();
    assert!(sent.unwrap().success());
    assert!(daemon.child.wait().unwrap().success());
}

#[test]
fn reports_go_over_https_to_whom_is_believed_and_say_why_to_nobody_else() {
    let control = ControlEndpoint::start();
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let address = front(control.address(), &ours.issue("localhost"), Some(&ours));
    let site = Site::new(&Plan {
        control: &format!("https://localhost:{}", address.port()),
        ..Plan::default()
    });
    std::fs::write(site.path("ca.pem"), other.pem()).unwrap();
    let files = other
        .issue("c001.test.example")
        .write(&site.path(""), "client");
    let keys = format!(
        "[control]\nca = {:?}\nclient = {{ cert = {:?}, key = {:?} }}\n",
        site.path("ca.pem"),
        files.cert,
        files.key
    );
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), text.replace("[control]\n", &keys)).unwrap();
    let daemon = site.start();
    let says = |outcome: &str, words: &str| {
        eventually(words, || {
            let count = daemon.metric("oca_report_posts_total", outcome);
            let problem = daemon.status().report?.problem;
            (count > 0.0 && problem.contains(words)).then_some(())
        });
    };
    says("tls_authority", "into control.ca");
    std::fs::write(site.path("ca.pem"), ours.pem()).unwrap();
    says("tls_client_refused", "see control.client");
    assert!(control.posted().is_empty());
    ours.issue("c001.test.example")
        .write(&site.path(""), "client");
    control.await_report("a report", 0, |_| true);
}

/// What the endpoint says of a drain counts, and that it says nothing counts as well, unless it is forced.
#[test]
fn a_drain_is_asked_of_the_endpoint() {
    let watched = Watched::new();
    watched.publish(1);
    let daemon = watched.site.start();
    watched.control.await_report("a report", 0, |_| true);
    let drain = |force| Request::Drain {
        by: "ada".into(),
        reason: None,
        force,
    };
    let refused = |request: &Request| match daemon.ask(request) {
        Response::Refused(refusal) => refusal.message,
        other => panic!("{other:?}"),
    };
    let said = "{\"error\":\"test.example would have 0 appliances left\"}";
    watched.control.lease(&format!(
        "HTTP/1.1 409 x\r\nContent-Length: {}\r\n\r\n{said}",
        said.len()
    ));
    assert_eq!(
        refused(&drain(false)),
        "test.example would have 0 appliances left"
    );
    watched
        .control
        .lease("HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n");
    let message = refused(&drain(false));
    assert!(
        message.contains("answered 500") && message.contains("ocactl drain --force"),
        "{message}"
    );
    assert_eq!(daemon.status().drain, None);
    // Forced, it begins whatever the endpoint says; granted, it waits for answers that were given before.
    assert!(matches!(daemon.ask(&drain(true)), Response::Drain(_)));
    let undrain = Request::Undrain { by: "ada".into() };
    assert!(matches!(daemon.ask(&undrain), Response::Undrain { .. }));
    watched.control.lease(
        "HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n{\"lease_s\":60,\"answers_expire_s\":360}",
    );
    let message = refused(&drain(false));
    assert!(message.contains("cannot be understood"), "{message}");
    watched.control.lease(
        "HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\n{\"lease_s\":60,\"answers_expire_s\":360}",
    );
    let Response::Drain(granted) = daemon.ask(&drain(false)) else {
        panic!("it was granted");
    };
    assert_eq!(granted.hints_expire, granted.since + 360);
}

/// The endpoint wants to hear of the box once a minute: what changes its state is told all the same, and its lease is given back.
#[test]
fn an_undrain_is_told_at_once() {
    let watched = Watched::new();
    let daemon = watched.site.start();
    let accepted = |report: &Report| report.steering["accepting"] == true;
    watched.control.await_report("it serves", 0, accepted);
    watched.control.reply(|report| {
        Some(answer(
            Some((report.started, report.inventory.revision)),
            60,
        ))
    });
    watched.next("one that was answered so", |_| true);
    daemon.drain();
    watched
        .control
        .await_report("it leaves", 0, |report| report.state == State::Draining);
    assert_eq!(watched.control.wishes(), ["POST"]);
    let seen = watched.control.posted().len();
    let undrain = Request::Undrain { by: "ada".into() };
    assert!(matches!(daemon.ask(&undrain), Response::Undrain { .. }));
    assert_eq!(watched.control.wishes(), ["POST", "DELETE"]);
    watched
        .control
        .await_report("it is back", seen, |report| report.state == State::Ok);
}
