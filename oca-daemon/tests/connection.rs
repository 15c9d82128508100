//! The connection machine, driven by hand: input cut anywhere, sends taken in part, reads coming back whenever. Whatever
//! happens on the way, the bytes that leave must be the same.

mod support;

use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use content_store::catalog::CatalogReader;
use content_store::{Index, IndexDevice};
use oca_daemon::access_log::End;
use oca_daemon::connection::{Connection, Context, Ending, Late, Patience, Step};
use oca_daemon::counters::WorkerCounters;
use oca_daemon::demand::Demand;
use oca_daemon::fills::Fills;
use oca_daemon::multipart::Shelf;
use oca_daemon::pacing::Pacing;
use oca_daemon::response::{DateText, Head};
use oca_daemon::transfer::Source;
use platform::device::{DeviceOptions, DeviceService, Mailbox, ReadRequest};
use proptest::prelude::*;
use support::{Plan, Site, assert_same, content};

const SIZE: usize = 2_500_000;

/// Where things are counted.
struct Tally {
    counters: WorkerCounters,
    demand: Demand,
    fills: Arc<Fills>,
}

impl Tally {
    /// Bytes that were noted as served, by object's size.
    fn served(&self) -> Vec<(u64, u64)> {
        let mut served = Vec::new();
        self.demand
            .take_served(|object, bytes| served.push((object.size, bytes)));
        served.sort_unstable();
        served
    }

    fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        self.demand.take_missed(|path| missed.push(path.to_owned()));
        missed
    }
}

/// What a worker writes on.
struct Desk {
    head: Head,
    path: Box<[u8; oca_daemon::limits::HEAD_BYTES]>,
    shelf: Shelf,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            head: Head::default(),
            path: Box::new([0; oca_daemon::limits::HEAD_BYTES]),
            shelf: Shelf::new(RandomState::new()),
        }
    }
}

/// What a worker has, without a socket.
struct Bench {
    _site: Site,
    index: Index,
    devices: Vec<Arc<DeviceService>>,
    mailbox: Arc<Mailbox>,
    tally: Tally,
    desk: Desk,
    now: Instant,
    closing: bool,
}

impl Bench {
    fn new() -> Self {
        let plan = Plan {
            devices: 3,
            ..Plan::default()
        };
        let site = Site::new(&plan);
        site.publish("/a", &content(1, SIZE));
        site.publish("/small", b"0123456789");
        let snapshot = CatalogReader::open(&site.path("state"))
            .expect("a bench")
            .load()
            .expect("a bench");
        let store = site.store();
        let places: Vec<IndexDevice> = store.devices().iter().map(IndexDevice::from).collect();
        let start = |(at, place): (usize, &IndexDevice)| {
            DeviceService::start(DeviceOptions::new(format!("d{at}"), &place.root, at))
                .expect("a bench")
        };
        let devices: Vec<_> = places.iter().enumerate().map(start).collect();
        drop(store);
        Self {
            index: Index::build(snapshot, &places, None).index,
            tally: Tally {
                counters: WorkerCounters::new(devices.len()),
                demand: Demand::default(),
                fills: Arc::new(Fills::new(1)),
            },
            devices,
            mailbox: Mailbox::new(64, Box::new(|| ())),
            desk: Desk::default(),
            now: Instant::now(),
            closing: false,
            _site: site,
        }
    }

    /// Gives `input` to a new connection and returns all that it sends until it closes. `chance` decides how input is cut
    /// and how much of each send is taken: it gives a number up to the one it is asked.
    fn exchange(&mut self, input: &[u8], chance: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
        let mut connection = Connection::new(self.now, &patience());
        let (mut rest, mut sent, mut flowing) = (input, Vec::new(), true);
        loop {
            let mut cx = context(
                &self.index,
                &self.devices,
                &self.tally,
                &mut self.desk,
                self.now,
                self.closing,
            );
            // Bytes may come at any time, unless the connection said that it has enough.
            if flowing && !rest.is_empty() && chance(3) == 0 {
                flowing = feed(&mut connection, &mut rest, &mut cx, chance);
                continue;
            }
            match connection.step(&mut cx) {
                Step::Read(wanted) => {
                    let file = wanted.file.clone().expect("all devices are here");
                    let request = ReadRequest {
                        file: Arc::clone(&file),
                        offset: wanted.offset,
                        length: wanted.length,
                        class: wanted.class,
                        requester: 0,
                        token: wanted.offset,
                        reply: Arc::clone(&self.mailbox),
                    };
                    self.devices[file.device()].submit(request).expect("taken");
                    connection.submitted(&wanted, file.device(), wanted.offset as u32);
                }
                Step::Pace(rate) => panic!("nobody asked for {rate:?}"),
                Step::AwaitRead => self.await_read(&mut connection),
                Step::Send { head, body, .. } => {
                    let (head, body) = take(head, body.as_ref(), &mut sent, chance);
                    connection.sent(head, body, &cx);
                }
                Step::Receive if rest.is_empty() => connection.peer_closed(),
                Step::Receive => flowing = feed(&mut connection, &mut rest, &mut cx, chance),
                Step::Linger => connection.peer_closed(),
                Step::Close => return sent,
            }
        }
    }

    fn await_read(&self, connection: &mut Connection) {
        loop {
            if let Some(done) = self.mailbox.pop() {
                return connection.arrived(done.token as u32, done.result, self.now);
            }
            std::thread::park_timeout(Duration::from_micros(50));
        }
    }
}

fn context<'a>(
    index: &'a Index,
    devices: &'a [Arc<DeviceService>],
    tally: &'a Tally,
    desk: &'a mut Desk,
    now: Instant,
    closing: bool,
) -> Context<'a> {
    static DATE: std::sync::LazyLock<DateText> =
        std::sync::LazyLock::new(|| DateText::new(784_111_777));
    Context {
        now,
        date: &DATE,
        index,
        devices,
        counters: &tally.counters,
        demand: Some(&tally.demand),
        fills: &tally.fills,
        log: None,
        pacing: Pacing::default(),
        closing,
        patience: patience(),
        head: &mut desk.head,
        path: &mut desk.path,
        shelf: &mut desk.shelf,
    }
}

fn patience() -> Patience {
    let second = Duration::from_secs(1);
    Patience {
        idle: 60 * second,
        head: 10 * second,
        send: 30 * second,
        window: 60 * second,
        window_bytes: 0,
    }
}

fn feed(
    connection: &mut Connection,
    rest: &mut &[u8],
    cx: &mut Context<'_>,
    chance: &mut impl FnMut(usize) -> usize,
) -> bool {
    let (now, later) = rest.split_at(1 + chance(rest.len() - 1));
    *rest = later;
    connection.received(now, cx, Vec::new)
}

/// Takes a part of what is offered, as a kernel does.
fn take(
    head: &[u8],
    body: Option<&Source<'_>>,
    sent: &mut Vec<u8>,
    chance: &mut impl FnMut(usize) -> usize,
) -> (usize, usize) {
    let bytes: Vec<u8> = match body {
        Some(Source::Buffer { bytes, .. }) => bytes.to_vec(),
        Some(Source::Memory {
            piece,
            offset,
            length,
            ..
        }) => {
            let start = (offset - piece.range().start) as usize;
            piece.bytes()[start..start + *length as usize].to_vec()
        }
        _ => Vec::new(),
    };
    let taken = chance(head.len() + bytes.len());
    let head_taken = taken.min(head.len());
    sent.extend_from_slice(&head[..head_taken]);
    sent.extend_from_slice(&bytes[..taken - head_taken]);
    (head_taken, taken - head_taken)
}

/// Everything at once, as on a good day.
fn greedy(most: usize) -> usize {
    most
}

const PIPELINE: &str = "GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=1000000-1999999\r\n\r\n\
     HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n\
     GET /small HTTP/1.1\r\nHost: h\r\n\r\n\
     OPTIONS /a HTTP/1.1\r\nHost: h\r\n\r\n\
     GET /none HTTP/1.1\r\nHost: h\r\n\r\n\
     GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=-5\r\nConnection: close\r\n\r\n";

fn bodies_of(pipeline_output: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut rest = pipeline_output;
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let end = rest
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a whole head")
            + 4;
        let head = String::from_utf8(rest[..end].to_vec()).expect("well formed");
        let status: u16 = head[9..12].parse().expect("well formed");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |n| n.parse().expect("well formed"));
        // The second request of the pipeline is HEAD.
        let length = if answers.len() == 1 { 0 } else { length };
        answers.push((status, rest[end..end + length].to_vec()));
        rest = &rest[end + length..];
    }
    answers
}

#[test]
fn a_pipeline_is_answered_in_order_and_exactly() {
    let mut bench = Bench::new();
    let answers = bodies_of(&bench.exchange(PIPELINE.as_bytes(), &mut greedy));
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [206, 200, 200, 204, 404, 206]);
    let bytes = content(1, SIZE);
    assert_same(
        &answers[0].1,
        &bytes[1_000_000..2_000_000],
        "the first range",
    );
    assert_eq!(answers[2].1, b"0123456789");
    assert_same(&answers[5].1, &bytes[SIZE - 5..], "the last bytes");
    assert_eq!(
        bench.tally.counters.transfers.value(),
        0,
        "no transfer is left over"
    );
    assert_eq!(
        bench.tally.served(),
        [(10, 10), (SIZE as u64, 1_000_005)],
        "what viewers got, and no more"
    );
    assert_eq!(bench.tally.missed(), ["/none"]);
}

/// What fills another appliance is not what viewers want; and its place is given back whenever it ends.
#[test]
fn a_fill_holds_a_place_and_is_no_popularity() {
    let mut bench = Bench::new();
    let head = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nOca-Fill: c002.test.example\r\n\r\n")
    };
    let just_head = head("/a").replace("GET", "HEAD");
    let pipeline = head("/a") + &just_head + &head("/none") + &head("/small");
    let answers = bodies_of(&bench.exchange(pipeline.as_bytes(), &mut greedy));
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 404, 200]);
    assert_same(&answers[0].1, &content(1, SIZE), "the whole");
    assert_eq!(
        bench.tally.counters.fill_bytes.value(),
        bench.tally.counters.body_bytes.value()
    );
    assert!(bench.tally.served().is_empty() && bench.tally.missed().is_empty());

    let place = bench
        .tally
        .fills
        .admit()
        .expect("all places were given back");
    let refused = bench.exchange(head("/a").as_bytes(), &mut greedy);
    let refused = String::from_utf8(refused).expect("text");
    assert!(
        refused.starts_with("HTTP/1.1 429 ") && refused.contains("\r\nRetry-After: "),
        "{refused}"
    );
    drop(place);
    let mut cx = context(
        &bench.index,
        &bench.devices,
        &bench.tally,
        &mut bench.desk,
        bench.now,
        false,
    );
    let mut connection = Connection::new(bench.now, &patience());
    connection.received(head("/a").as_bytes(), &mut cx, Vec::new);
    assert_eq!(bench.tally.fills.running(), 1);
    connection.end(&Ending {
        now: bench.now,
        counters: &bench.tally.counters,
        demand: Some(&bench.tally.demand),
        log: None,
        why: End::Peer,
    });
    assert_eq!(bench.tally.fills.running(), 0, "cut in the middle");
}

#[test]
fn however_it_is_cut_the_same_bytes_leave() {
    let mut bench = Bench::new();
    let expected = bench.exchange(PIPELINE.as_bytes(), &mut greedy);
    let bench = std::cell::RefCell::new(bench);
    proptest!(ProptestConfig::with_cases(60), |(seed in any::<u64>())| {
        let mut state = seed | 1;
        let mut chance = |most: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let draw = (state >> 33) as usize;
            // Often all or almost nothing, as sockets do.
            match draw % 4 { 0 => most, 1 => most.min(1 + draw % 7), _ => draw % (most + 1) }
        };
        let sent = bench.borrow_mut().exchange(PIPELINE.as_bytes(), &mut chance);
        prop_assert!(sent == expected, "seed {}: {} bytes instead of {}", seed, sent.len(), expected.len());
    });
}

#[test]
fn any_input_ends_in_answers_and_a_close() {
    let bench = std::cell::RefCell::new(Bench::new());
    proptest!(ProptestConfig::with_cases(300), |(input in proptest::collection::vec(any::<u8>(), 1..400), cut in 1usize..9)| {
        let mut bench = bench.borrow_mut();
        let sent = bench.exchange(&input, &mut |most| most.min(cut));
        prop_assert!(sent.is_empty() || sent.starts_with(b"HTTP/1.1 "));
        prop_assert_eq!(bench.tally.counters.transfers.value(), 0);
    });
}

#[test]
fn a_stop_closes_after_the_present_answer() {
    let mut bench = Bench::new();
    bench.closing = true;
    let sent = bench.exchange(PIPELINE.as_bytes(), &mut greedy);
    assert_eq!(
        bodies_of(&sent).len(),
        1,
        "what was pipelined behind it is not answered"
    );
    assert!(String::from_utf8_lossy(&sent[..600]).contains("Connection: close"));
}

#[test]
fn a_slow_head_is_answered_408_and_an_idle_connection_just_closed() {
    let mut bench = Bench::new();
    let start = bench.now;
    let mut connection = Connection::new(start, &patience());
    let late = |bench: &mut Bench, connection: &mut Connection, seconds: u64| {
        let now = start + Duration::from_secs(seconds);
        let mut cx = context(
            &bench.index,
            &bench.devices,
            &bench.tally,
            &mut bench.desk,
            now,
            false,
        );
        (
            connection.late(&cx),
            matches!(connection.step(&mut cx), Step::Close),
        )
    };
    assert_eq!(
        late(&mut bench, &mut connection, 59),
        (Late::Patient, false)
    );
    assert_eq!(late(&mut bench, &mut connection, 60), (Late::Act, true));

    let mut connection = Connection::new(start, &patience());
    let mut cx = context(
        &bench.index,
        &bench.devices,
        &bench.tally,
        &mut bench.desk,
        start,
        false,
    );
    connection.received(b"GET /a HT", &mut cx, Vec::new);
    assert_eq!(late(&mut bench, &mut connection, 9), (Late::Patient, false));
    assert_eq!(late(&mut bench, &mut connection, 10), (Late::Act, false));
    let now = start + Duration::from_secs(10);
    let mut cx = context(
        &bench.index,
        &bench.devices,
        &bench.tally,
        &mut bench.desk,
        now,
        false,
    );
    let Step::Send { head, .. } = connection.step(&mut cx) else {
        panic!("nothing is sent")
    };
    assert!(head.starts_with(b"HTTP/1.1 408 "));
}
