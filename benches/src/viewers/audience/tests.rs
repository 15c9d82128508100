//! The audience against small servers that do right, and wrong in one way each.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use super::super::titles::RENDITIONS;
use super::*;
use crate::load::Object;
use crate::load::answering::{self, Requests};

const SIZE: u64 = 1 << 20;

/// What the server does with the number of a request on its connection; `None`: it says nothing any more.
type Answers = fn(u32) -> Option<&'static str>;

fn serve(answers: Answers) -> SocketAddr {
    answering::serve(move |requests, socket| answer(requests, socket, answers))
}

/// Until the client leaves.
fn answer(mut requests: Requests, mut socket: TcpStream, answers: Answers) -> Option<()> {
    for number in 0.. {
        let (first, last) = requests.next_range()?;
        let Some(status) = answers(number) else {
            requests.until_gone();
            return None;
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{SIZE}\r\n\r\n",
            last - first + 1
        );
        socket.write_all(head.as_bytes()).ok()?;
        socket.write_all(&vec![7; last - first + 1]).ok()?;
    }
    None
}

/// 8 viewers for a second, with segments of 50 ms.
fn look(answers: Answers) -> Seen {
    let object = Object {
        path: "/a".into(),
        file: None,
        size: SIZE,
    };
    let titles = Titles::of(vec![[0; RENDITIONS].map(|_| object.clone()); 3]);
    watch(&Plan {
        server: &Target {
            address: serve(answers),
            tls: None,
        },
        titles: &titles,
        rules: &Rule::ALL,
        viewers: 8,
        segment_bytes: SIZE / 4,
        segment: Duration::from_millis(50),
        target: Duration::from_millis(300),
        arrivals: Duration::from_millis(300),
        length: Duration::from_secs(1),
        seed: 1,
    })
    .unwrap()
}

#[test]
fn viewers_of_a_good_server_see_everything() {
    let seen = look(|_| Some("206 Partial Content"));
    assert_eq!((seen.errors, &seen.first_error), (0, &None));
    assert_eq!(seen.not_started(), 0);
    let groups: Vec<_> = seen
        .groups
        .iter()
        .map(|one| (one.rule, one.viewers))
        .collect();
    assert_eq!(groups, [(Rule::Fixed, 4), (Rule::Adaptive, 4)]);
    // Each of the fixed ones has fetched at least the segments to start with.
    assert!(
        seen.segments >= 16 && seen.bytes >= 8 * SIZE / 4,
        "{seen:?}"
    );
}

#[test]
fn errors_are_counted_and_asked_again() {
    let seen = look(|_| Some("503 Service Unavailable"));
    assert_eq!((seen.segments, seen.not_started()), (0, 8));
    assert!(seen.errors >= 8, "{seen:?}");
    assert_eq!(seen.error_rate(), 1.0);
    assert!(seen.first_error.unwrap().contains("503"));
}

#[test]
fn a_server_that_falls_silent_makes_every_viewer_pause() {
    let seen = look(|number| (number < 3).then_some("206 Partial Content"));
    assert_eq!((seen.errors, seen.segments), (0, 24));
    // More than one each where this machine itself makes a viewer wait.
    assert!(seen.rebuffers() >= 8, "{seen:?}");
    let waited: f64 = seen.groups.iter().map(|one| one.rebuffer_seconds).sum();
    assert!(waited > 0.0 && waited < 8.0, "{seen:?}");
}
