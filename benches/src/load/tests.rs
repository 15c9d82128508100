//! The load against small servers that do right, and wrong in one way each.

use std::io::Write;
use std::net::TcpStream;

use super::answering::{self, Requests};
use super::*;

const SIZE: u64 = 1 << 20;
const RANGE: u64 = 64 * 1024;

/// What the server does to an answer that would be right.
type Spoil = fn(&mut String, &mut Vec<u8>);

fn contents() -> Vec<u8> {
    (0..SIZE).map(|number| (number / 7 % 251) as u8).collect()
}

/// Answers every connection until the test ends.
fn serve(spoil: Spoil) -> SocketAddr {
    answering::serve(move |requests, socket| answer(requests, socket, spoil))
}

/// Until the client leaves.
fn answer(mut requests: Requests, mut socket: TcpStream, spoil: Spoil) -> Option<()> {
    let contents = contents();
    loop {
        let (first, last) = requests.next_range()?;
        let mut body = contents[first..=last].to_vec();
        let mut head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{SIZE}\r\n\r\n",
            body.len()
        );
        spoil(&mut head, &mut body);
        socket.write_all(head.as_bytes()).ok()?;
        socket.write_all(&body).ok()?;
        if head.contains("close") {
            return None;
        }
    }
}

fn ask(spoil: Spoil, check: Check) -> Result<Outcome> {
    ask_at(Rate::Full, 4, spoil, check)
}

fn ask_at(rate: Rate, connections: usize, spoil: Spoil, check: Check) -> Result<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a");
    std::fs::write(&file, contents()).unwrap();
    let objects = [Object {
        path: "/a".into(),
        file: Some(file),
        size: SIZE,
    }];
    run(&Load {
        target: &Target {
            address: serve(spoil),
            tls: None,
        },
        objects: &objects,
        connections,
        range_bytes: RANGE,
        rate,
        until: Until::Requests(100),
        check,
    })
}

#[test]
fn right_answers_are_counted_exactly() {
    for check in [Check::Length, Check::Content] {
        let outcome = ask(|_, _| {}, check).unwrap();
        assert_eq!((outcome.requests, outcome.bytes), (100, 100 * RANGE));
    }
}

#[test]
fn at_a_steady_rate_what_is_late_counts_from_when_it_was_due() {
    let rate = Rate::PerSecond(200.0);
    let quick = ask_at(rate, 4, |_, _| {}, Check::Length).unwrap();
    assert_eq!(quick.requests, 100);
    // The last one is due after 99 intervals.
    assert!(quick.elapsed >= Duration::from_millis(495), "{quick:?}");

    // Asked for every 5 ms and answered every 10: the last one comes 500 ms after it was due.
    let slow: Spoil = |_, _| std::thread::sleep(Duration::from_millis(10));
    let late = ask_at(rate, 1, slow, Check::Length).unwrap();
    assert_eq!(late.requests, 100);
    assert!(late.latency.max_us >= 495_000, "{late:?}");
    assert!(late.latency.p50_us >= 245_000, "{late:?}");
}

#[test]
fn a_server_may_close_after_a_response_if_it_says_so() {
    let close: Spoil = |head, _| *head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    assert_eq!(ask(close, Check::Length).unwrap().requests, 100);
}

#[test]
fn every_wrong_answer_ends_the_run() {
    let wrong: &[(&str, Spoil)] = &[
        ("status", |head, _| *head = head.replace("206", "200")),
        ("Content-Length", |head, _| {
            *head = head.replace("Length: 65536", "Length: 65535");
        }),
        ("Content-Range", |head, _| {
            *head = head.replace("/1048576", "/1048577")
        }),
        ("closed", |head, body| {
            head.insert_str(head.len() - 2, "X: close\r\n");
            body.truncate(60_000);
        }),
        ("", |_, body| body.push(0)),
    ];
    for (word, spoil) in wrong {
        let error = format!("{:#}", ask(*spoil, Check::Length).unwrap_err());
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_wrong_byte_is_found_when_contents_are_compared() {
    let flip: Spoil = |_, body| body[65_535] ^= 1;
    assert!(ask(flip, Check::Length).is_ok());
    let error = ask(flip, Check::Content).unwrap_err().to_string();
    assert!(error.contains("wrong bytes"), "{error}");
}

fn crowd(spoil: Spoil) -> crowd::Crowd {
    let object = |name: &str| Object {
        path: name.into(),
        file: None,
        size: SIZE,
    };
    crowd::Crowd::gather(crowd::Plan {
        target: Target {
            address: serve(spoil),
            tls: None,
        },
        viewers: 8,
        objects: vec![object("/a"), object("/b")],
        choice: crowd::Choice::Own,
        range_bytes: RANGE,
        pace: None,
    })
    .unwrap()
}

fn tally(crowd: &crowd::Crowd, enough: impl Fn(&crowd::Tally) -> bool) -> crowd::Tally {
    let begun = Instant::now();
    let mut sum = crowd::Tally::default();
    while !enough(&sum) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{sum:?}");
        std::thread::park_timeout(Duration::from_millis(5));
        sum = crowd.take().into_iter().fold(sum, crowd::Tally::join);
    }
    sum
}

#[test]
fn a_crowd_asks_while_it_is_told_to() {
    let mut crowd = crowd(|_, _| {});
    assert_eq!(tally(&crowd, |_| true), crowd::Tally::default());
    crowd.ask();
    let sum = tally(&crowd, |sum| sum.served > 100);
    assert_eq!(sum.failed(), 0);
    crowd.hush();
    let begun = Instant::now();
    while crowd.pending() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    crowd.leave().unwrap();
}

#[test]
fn a_crowd_puts_up_with_refusals_and_closes() {
    let refuse: Spoil = |head, _| *head = head.replace("206 Partial Content", "503 Later");
    let crowd_refused = crowd(refuse);
    crowd_refused.ask();
    // Everyone comes again.
    let sum = tally(&crowd_refused, |sum| sum.refused >= 16);
    assert_eq!((sum.served, sum.cut), (0, 0));
    let cut: Spoil = |head, body| {
        head.insert_str(head.len() - 2, "X: close\r\n");
        body.truncate(60_000);
    };
    let crowd_cut = crowd(cut);
    crowd_cut.ask();
    let sum = tally(&crowd_cut, |sum| sum.cut >= 16);
    assert_eq!((sum.served, sum.refused), (0, 0));
}
