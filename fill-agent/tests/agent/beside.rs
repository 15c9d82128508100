//! The agent beside the daemon: what is published is served at once, what is taken down is not, and the daemon knows of the agent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use protocol::fill::{Activity, Request};
use protocol::operator::{self, Request as Ask, Response};
use protocol::status::{ListenerPurpose, Status};

use super::appliance::{Appliance, eventually};
use super::damage::{MIB, ask_scrub, copies, flip};
use super::endpoint::{Endpoint, manifest};
use super::{content, objects, program};

/// The daemon as its user starts it; killed when this is dropped.
struct Daemon(Child);

impl Daemon {
    fn start(appliance: &Appliance) -> Self {
        let child = Command::new(program::of("oca-daemon", "oca-daemon"))
            .arg("--config")
            .arg(appliance.path("oca.toml"))
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(appliance: &Appliance) -> Option<Status> {
    let mut stream = UnixStream::connect(appliance.config().daemon_socket()).ok()?;
    stream.write_all(&operator::encode(&Ask::Status)).ok()?;
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line).ok()?;
    match operator::decode(&line).ok()? {
        Response::Status(status) => Some(*status),
        _ => None,
    }
}

fn get(from: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(from).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn with_daemon(endpoint: &Endpoint, appliance: &Appliance) {
    appliance.configure(endpoint, |text| {
        let workers = "[workers]\ncount = 1\nmemory = \"4 MiB\"\nin_flight = \"64 MiB\"\n";
        text.replace(
            "[control]",
            &format!("admin = \"127.0.0.1:0\"\n{workers}[control]"),
        )
    });
}

fn http_of(status: &Status) -> SocketAddr {
    let mut listeners = status.listeners.iter();
    let http = listeners.find(|listener| listener.purpose == ListenerPurpose::Http);
    http.unwrap().address
}

#[test]
fn what_the_daemon_finds_bad_is_not_served_but_repaired() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    with_daemon(&endpoint, &appliance);
    let bytes = content(3, 5 * MIB + 7);
    let film = endpoint.object("/film.mp4", bytes.clone());
    endpoint.offer(&manifest(1, vec![film.clone()]));
    assert!(appliance.once().status.success());
    flip(&appliance, "d0", &film, "col", 70_000);
    flip(&appliance, "d1", &film, "meta", 40);

    let _daemon = Daemon::start(&appliance);
    let http = http_of(&eventually("the daemon answers", || ask(&appliance)));
    let body = |answer: &[u8]| {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        answer[end.unwrap() + 4..].to_vec()
    };
    let is_right = |answer: &[u8]| {
        let served = answer.starts_with(b"HTTP/1.1 200");
        // Nothing of it is wrong, though not all of it may come.
        assert!(!served || bytes.starts_with(&body(answer)));
        served && body(answer) == bytes
    };
    eventually("it is not available", || {
        let answer = get(http, "/film.mp4");
        assert!(!is_right(&answer));
        answer.starts_with(b"HTTP/1.1 503").then_some(())
    });
    let agent = appliance.run();
    let by = "ada".to_owned();
    ask_scrub(&agent, &Request::ScrubPause { by, until: None });
    agent.open();
    eventually("served again", || {
        is_right(&get(http, "/film.mp4")).then_some(())
    });
    let copies = copies(&appliance);
    assert!(copies[0].repaired > 0 && copies[0].bad.is_empty());
}

/// How often something is published.
const TIMES: u8 = 3;

#[test]
fn what_is_published_is_served_within_a_second_and_what_is_taken_down_is_not() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    with_daemon(&endpoint, &appliance);
    let _daemon = Daemon::start(&appliance);
    let status = eventually("the daemon answers", || ask(&appliance));
    let http = http_of(&status);
    let agent = appliance.run();
    agent.open();
    let mut wanted = Vec::new();
    // The machine may be busy with other things: the quickest of a few counts.
    let served = (1..=TIMES).map(|number| {
        wanted.extend(objects(&endpoint, 2 * number - 1..2 * number + 1));
        endpoint.offer(&manifest(number.into(), wanted.clone()));
        eventually("published", || {
            (appliance.published().len() == wanted.len()).then_some(())
        });
        let published = Instant::now();
        eventually("served", || {
            let answer = get(http, &format!("/{}.mp4", 2 * number));
            answer.starts_with(b"HTTP/1.1 200").then_some(())
        });
        published.elapsed()
    });
    assert!(served.min().unwrap() < Duration::from_secs(1));
    assert!(get(http, "/1.mp4").ends_with(&content(1, 600_000)));

    let last = format!("manifest 1.{TIMES}");
    eventually("the daemon is told", || {
        let fill = ask(&appliance)?.fill?;
        (fill.activity == Activity::Complete && fill.why.contains(&last)).then_some(())
    });
    endpoint.take_down(1, &[&wanted[0]]);
    eventually("taken down", || {
        let answer = get(http, "/1.mp4");
        answer.starts_with(b"HTTP/1.1 404").then_some(())
    });
    assert!(get(http, "/2.mp4").starts_with(b"HTTP/1.1 200"));
}
