//! The connection machine, driven by hand: input cut anywhere, sends taken in part, reads coming back whenever. Whatever
//! happens on the way, the bytes that leave must be the same.

#[path = "support/machine/mod.rs"]
mod machine;
mod support;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use machine::answers::{Answer, answers};
use machine::{Bench, Greedy, Mood, Viewer, Written, exercise, patience};
use oca_daemon::connection::{Connection, Late, Step};
use oca_daemon::limits::{LINGER, LINGER_BYTES, PIPELINED_BYTES};
use platform::device::Class;
use proptest::prelude::*;
use support::{assert_same, content, publish};

const SIZE: usize = 2_500_000;

fn bench() -> Bench {
    Bench::new(&[("/a", &content(1, SIZE)), ("/small", b"0123456789")])
}

/// What is sent for `input`, taken apart.
fn asked(bench: &mut Bench, input: &str) -> Vec<Answer> {
    let sent = bench.exchange(input.as_bytes(), &mut Greedy);
    answers(input.as_bytes(), &sent)
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|(status, _)| *status).collect()
}

/// Bytes that were noted as served, by object's size.
fn served(bench: &Bench) -> Vec<(u64, u64)> {
    let mut served = Vec::new();
    bench
        .demand
        .take_served(|object, bytes| served.push((object.size(), bytes)));
    served.sort_unstable();
    served
}

fn missed(bench: &Bench) -> Vec<String> {
    let mut missed = Vec::new();
    bench
        .demand
        .take_missed(|path| missed.push(path.to_owned()));
    missed
}

const PIPELINE: &str = "GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=1000000-1999999\r\n\r\n\
     HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n\
     GET /small HTTP/1.1\r\nHost: h\r\n\r\n\
     OPTIONS /a HTTP/1.1\r\nHost: h\r\n\r\n\
     GET /none HTTP/1.1\r\nHost: h\r\n\r\n\
     GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=1900000-2299999,0-4\r\n\r\n\
     GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=-5\r\nConnection: close\r\n\r\n";

#[test]
fn a_pipeline_is_answered_in_order_and_exactly() {
    let mut bench = bench();
    let answers = asked(&mut bench, PIPELINE);
    assert_eq!(statuses(&answers), [206, 200, 200, 204, 404, 206, 206]);
    let bytes = content(1, SIZE);
    assert_same(
        &answers[0].1,
        &bytes[1_000_000..2_000_000],
        "the first range",
    );
    assert_eq!(answers[2].1, b"0123456789");
    let parts = &answers[5].1;
    assert!(
        parts
            .windows(400_000)
            .any(|part| *part == bytes[1_900_000..2_300_000])
    );
    assert_same(&answers[6].1, &bytes[SIZE - 5..], "the last bytes");
    assert_eq!(
        bench.counters.transfers.value(),
        0,
        "no transfer is left over"
    );
    assert_eq!(
        served(&bench),
        [(10, 10), (SIZE as u64, 1_000_005 + 400_005)],
        "what viewers got, and no more"
    );
    assert_eq!(missed(&bench), ["/none"]);
}

/// What fills another appliance is not what viewers want; and its place is given back whenever it ends.
#[test]
fn a_fill_holds_a_place_and_is_no_popularity() {
    let mut bench = bench();
    let head = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nOca-Fill: c002.test.example\r\n\r\n")
    };
    let just_head = head("/a").replace("GET", "HEAD");
    let pipeline = head("/a") + &just_head + &head("/none") + &head("/small");
    let answers = asked(&mut bench, &pipeline);
    assert_eq!(statuses(&answers), [200, 200, 404, 200]);
    assert_same(&answers[0].1, &content(1, SIZE), "the whole");
    assert_eq!(
        bench.counters.fill_bytes.value(),
        bench.counters.body_bytes.value()
    );
    assert!(served(&bench).is_empty() && missed(&bench).is_empty());

    let place = bench.fills.admit().expect("all places were given back");
    let refused = bench.exchange(head("/a").as_bytes(), &mut Greedy);
    let refused = String::from_utf8(refused).expect("text");
    assert!(
        refused.starts_with("HTTP/1.1 429 ") && refused.contains("\r\nRetry-After: "),
        "{refused}"
    );
    drop(place);
    let mut connection = Connection::new(bench.now, &patience());
    connection.received(head("/a").as_bytes(), &mut bench.context(), Vec::new);
    assert_eq!(bench.fills.running(), 1);
    bench.end(&mut connection);
    assert_eq!(bench.fills.running(), 0, "cut in the middle");
}

/// At a device, who fills another appliance waits behind viewers.
#[test]
fn a_read_is_of_the_class_of_who_asks() {
    for (field, class) in [
        ("Accept: */*", Class::Viewer),
        ("Oca-Fill: c002.test.example", Class::FillSource),
    ] {
        let mut bench = bench();
        let mut connection = Connection::new(bench.now, &patience());
        let head = format!("GET /a HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n");
        connection.received(head.as_bytes(), &mut bench.context(), Vec::new);
        let Step::Read(wanted) = connection.step(&mut bench.context()) else {
            panic!("nothing is read");
        };
        assert_eq!(wanted.class, class, "{field}");
        bench.end(&mut connection);
    }
}

#[test]
fn however_it_is_cut_the_same_bytes_leave() {
    let mut bench = bench();
    let expected = bench.exchange(PIPELINE.as_bytes(), &mut Greedy);
    let bench = RefCell::new(bench);
    proptest!(ProptestConfig::with_cases(40), |(tape in tapes())| {
        let mut tape = Written::new(&tape, Mood::Fair);
        let sent = bench.borrow_mut().exchange(PIPELINE.as_bytes(), &mut tape);
        prop_assert!(sent == expected, "{} bytes instead of {}", sent.len(), expected.len());
    });
}

fn tapes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 1..200)
}

/// Requests, and what may be put into one. Some of it is wrong, and all of it may come in any order and be cut anywhere.
fn inputs() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop_oneof![
        Just("Range: bytes=5-900"),
        Just("Range: bytes=0-9,5000-,-3,100000-100001"),
        Just("Range: bytes=-0"),
        Just("If-None-Match: *"),
        Just("If-Range: \"x\""),
        Just("Connection: close"),
        Just("Content-Length: 7"),
        Just("Transfer-Encoding: chunked"),
        Just("Expect: 100-continue"),
        Just("Oca-Fill: c002.test.example"),
        Just("A: b\n c"),
        Just("\r\n"),
    ];
    let request = (
        prop_oneof![
            Just("GET /a"),
            Just("GET /small"),
            Just("HEAD /a"),
            Just("HEAD *"),
            Just("OPTIONS *"),
            Just("GET /%zz"),
            Just("BREW /a"),
            Just("\r\nGET /none?q"),
        ],
        prop_oneof![4 => Just("1.1"), 1 => Just("1.0"), 1 => Just("2.0")],
        proptest::collection::vec(fields, 0..3),
    );
    let request = request.prop_map(|(line, version, fields)| {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!("{line} HTTP/{version}\r\nHost: h\r\n{fields}\r\n").into_bytes()
    });
    let garbage = proptest::collection::vec(any::<u8>(), 1..60);
    let piece = prop_oneof![8 => request, 1 => garbage];
    proptest::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

/// What the fuzz target `connection` does, for a while.
#[test]
fn any_input_gets_its_answers_whatever_happens() {
    let small = content(1, 300_000);
    let bench = Bench::new(&[("/a", &small), ("/small", b"0123456789")]);
    let bench = RefCell::new(bench);
    proptest!(ProptestConfig::with_cases(300), |(tape in tapes(), input in inputs())| {
        let data = [&[tape.len() as u8], &*tape, &*input].concat();
        exercise(&mut bench.borrow_mut(), &data);
    });
}

#[test]
fn a_stop_closes_after_the_present_answer() {
    let mut bench = bench();
    bench.closing = true;
    let answers = asked(&mut bench, PIPELINE);
    assert_eq!(
        statuses(&answers),
        [206],
        "and nothing that waited behind it"
    );
}

/// Asks a connection at a time of its own whether it is late, and says what it does then.
fn late(bench: &mut Bench, connection: &mut Connection, now: Instant) -> (Late, &'static str) {
    bench.now = now;
    let late = connection.late(&bench.context());
    let step = match connection.step(&mut bench.context()) {
        Step::Send { head, .. } if head.starts_with(b"HTTP/1.1 408 ") => "408",
        Step::Send { .. } => "send",
        Step::Close => "close",
        Step::Receive => "receive",
        _ => "else",
    };
    (late, step)
}

#[test]
fn a_slow_head_is_answered_408_and_an_idle_connection_just_closed() {
    let mut bench = bench();
    let at = |seconds| Duration::from_secs(seconds);
    let start = bench.now;
    let mut connection = Connection::new(start, &patience());
    let mut ask = |connection: &mut _, seconds| late(&mut bench, connection, start + at(seconds));
    assert_eq!(ask(&mut connection, 59), (Late::Patient, "receive"));
    assert_eq!(ask(&mut connection, 60), (Late::Act, "close"));

    bench.now = start;
    let mut connection = Connection::new(start, &patience());
    connection.received(b"GET /a HT", &mut bench.context(), Vec::new);
    let mut ask = |connection: &mut _, seconds| late(&mut bench, connection, start + at(seconds));
    assert_eq!(ask(&mut connection, 9), (Late::Patient, "receive"));
    assert_eq!(ask(&mut connection, 10), (Late::Act, "408"));
}

/// All of an answer without a body is taken.
fn take_head(bench: &mut Bench, connection: &mut Connection) {
    let mut cx = bench.context();
    let Step::Send { head, .. } = connection.step(&mut cx) else {
        panic!("there is no answer");
    };
    let bytes = head.len();
    connection.sent(bytes, 0, &cx);
}

/// What of a head came behind another request has as long as any head.
#[test]
fn the_rest_of_a_pipelined_head_is_waited_for_as_long_as_a_head() {
    let mut bench = bench();
    let start = bench.now;
    let mut connection = Connection::new(start, &patience());
    let input = b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\nGET /a HT";
    connection.received(input, &mut bench.context(), Vec::new);
    take_head(&mut bench, &mut connection);
    let mut ask = |seconds| {
        let now = start + Duration::from_secs(seconds);
        late(&mut bench, &mut connection, now)
    };
    assert_eq!(ask(0), (Late::Patient, "receive"));
    assert_eq!(ask(9), (Late::Patient, "receive"));
    assert_eq!(ask(10), (Late::Act, "408"));
}

/// One that is one too many has no more time to ask than a head takes.
#[test]
fn who_is_turned_away_and_does_not_ask_has_to_leave() {
    let mut bench = bench();
    let start = bench.now;
    let mut connection = Connection::turned_away(start, &patience());
    let mut ask = |seconds| {
        let now = start + Duration::from_secs(seconds);
        late(&mut bench, &mut connection, now)
    };
    assert_eq!(ask(9), (Late::Patient, "receive"));
    assert_eq!(ask(10), (Late::Act, "close"));
}

/// RFC 9112 section 9.6: what still comes after the last answer is read and thrown away, or a reset could take the answer from the
/// peer; but neither for long nor without end.
#[test]
fn what_comes_after_the_last_answer_is_thrown_away_within_bounds() {
    let mut bench = bench();
    let start = bench.now;
    let closed_for_writing = |bench: &mut Bench| {
        bench.now = start;
        let mut connection = Connection::new(start, &patience());
        let input = b"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        connection.received(input, &mut bench.context(), Vec::new);
        take_head(bench, &mut connection);
        let is_told = matches!(connection.step(&mut bench.context()), Step::Linger);
        assert!(is_told, "it is closed for writing first");
        connection
    };
    let mut silent = closed_for_writing(&mut bench);
    let mut ask = |now| late(&mut bench, &mut silent, now);
    let almost = LINGER.checked_sub(Duration::from_millis(1));
    assert_eq!(ask(start + almost.unwrap()), (Late::Patient, "receive"));
    assert_eq!(ask(start + LINGER), (Late::Act, "close"));

    let mut talker = closed_for_writing(&mut bench);
    let some = [b'G'; 1024];
    for piece in 1..=LINGER_BYTES / 1024 {
        let step = late(&mut bench, &mut talker, start).1;
        assert_eq!(step, "receive", "before piece {piece}");
        assert!(talker.received(&some, &mut bench.context(), Vec::new));
    }
    assert_eq!(late(&mut bench, &mut talker, start).1, "close");
}

/// Requests that come before the answer to the first one are kept, but not without end.
#[test]
fn no_more_is_taken_of_a_pipeline_than_there_is_room_for() {
    let mut bench = bench();
    let mut connection = Connection::new(bench.now, &patience());
    let head = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut kept = 0;
    while connection.received(head, &mut bench.context(), Vec::new) {
        kept += head.len();
        assert!(kept < 2 * PIPELINED_BYTES, "it never has enough");
    }
    bench.end(&mut connection);
}

/// Another process takes the place of this one: who is here is told with the next answer, and not cut before.
#[test]
fn a_parting_box_says_so_with_the_next_answer_and_closes_nobody_before() {
    let mut bench = bench();
    bench.parting = true;
    let start = bench.now;
    let mut idle = Connection::new(start, &patience());
    assert_eq!(
        late(&mut bench, &mut idle, start),
        (Late::Patient, "receive")
    );
    let answers = asked(&mut bench, PIPELINE);
    assert_eq!(statuses(&answers), [206], "the last one");
}

/// A device that fails before the head leaves is a 503; afterwards, only the end of the connection can say it, and no peer
/// is blamed for it. Not even between two parts.
#[test]
fn a_device_that_fails_is_told_or_ends_the_connection() {
    struct Failing(usize);
    impl machine::Tape for Failing {
        fn draw(&mut self, most: usize) -> usize {
            most
        }
        fn fails(&mut self) -> bool {
            self.0 = self.0.wrapping_sub(1);
            self.0 == usize::MAX
        }
    }
    let input = "GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=0-99,1000000-1000099\r\n\r\n";
    for (reads_that_come, aborted) in [(0, 0), (1, 1), (2, 0)] {
        let mut bench = bench();
        let sent = bench.exchange(input.as_bytes(), &mut Failing(reads_that_come));
        let text = String::from_utf8_lossy(&sent);
        let status = if reads_that_come == 0 { "503" } else { "206" };
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert_eq!(text.ends_with("--\r\n"), reads_that_come == 2);
        assert_eq!(bench.counters.aborted_by_device.value(), aborted);
        assert!(!bench.was_cut_short, "by a peer");
    }
}

/// Somebody who asked for the film at the bench's time.
fn viewer(bench: &mut Bench) -> Viewer {
    let connection = Connection::new(bench.now, &patience());
    asks(bench, connection)
}

fn asks(bench: &mut Bench, mut connection: Connection) -> Viewer {
    let head = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    connection.received(head, &mut bench.context(), Vec::new);
    bench.viewer(connection)
}

/// The second at which a viewer is let go who takes so many bytes in each; `None`: it is not, in the first 130.
fn let_go(bytes_in_second: impl Fn(u64) -> usize) -> Option<u64> {
    let mut bench = Bench::new(&[("/a", &content(1, 400_000))]);
    let start = bench.now;
    let mut viewer = viewer(&mut bench);
    (0..130).find(|second| {
        bench.now = start + Duration::from_secs(*second);
        viewer.take(&mut bench, bytes_in_second(*second)).is_none()
    })
}

#[test]
fn a_viewer_that_takes_nothing_for_so_long_is_let_go() {
    assert_eq!(
        let_go(|second| if second == 0 { 1000 } else { 0 }),
        Some(30)
    );
    assert_eq!(
        let_go(|second| if second % 29 == 0 { 40_000 } else { 0 }),
        None
    );
}

/// The buffer was given back in the meantime: what comes now is dropped, and the viewer has the time that it had.
#[test]
fn a_read_that_comes_too_late_for_a_sleeper_does_not_wake_it() {
    let mut bench = bench();
    let start = bench.now;
    let mut viewer = viewer(&mut bench);
    viewer.take(&mut bench, 1000).expect("bytes");
    let let_go = (0..130).find(|second| {
        bench.now = start + Duration::from_secs(*second);
        if *second == 5 {
            viewer.deliver(&bench);
        }
        viewer.take(&mut bench, 0).is_none()
    });
    assert_eq!(let_go, Some(30));
}

/// One that takes something every second, but too little over a window; and one that takes just enough.
#[test]
fn a_viewer_below_the_least_rate_is_let_go() {
    assert_eq!(let_go(|_| 990), Some(60));
    assert_eq!(let_go(|_| 1100), None);
}

/// A film that is looked at a minute after the connection was made.
#[test]
fn the_time_between_requests_is_not_held_against_a_viewer() {
    let mut bench = Bench::new(&[("/a", &content(1, 400_000))]);
    let start = bench.now;
    let connection = Connection::new(start, &patience());
    bench.now = start + Duration::from_secs(59);
    let mut viewer = asks(&mut bench, connection);
    for second in 59..63 {
        bench.now = start + Duration::from_secs(second);
        viewer
            .take(&mut bench, 1000)
            .expect("it has asked just now");
    }
}

/// What a device does not give cannot be taken.
#[test]
fn the_time_of_a_device_is_not_held_against_a_viewer() {
    let mut bench = Bench::new(&[("/a", &content(1, 400_000))]);
    let start = bench.now;
    let mut viewer = viewer(&mut bench);
    viewer.turn(&mut bench);
    for second in 0..130 {
        bench.now = start + Duration::from_secs(second);
        viewer.take(&mut bench, 0).expect("the read is under way");
    }
    viewer.take(&mut bench, 1000).expect("bytes");
}
