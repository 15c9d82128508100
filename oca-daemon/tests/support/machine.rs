//! The connection machine without a socket: a small box with real devices, and a hand that carries out the steps as a tape
//! says. For the tests of the machine, and for its fuzz target.
#![allow(dead_code, reason = "the fuzz target uses a part of it")]

use std::hash::RandomState;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use content_store::catalog::CatalogReader;
use content_store::chunk_tree::ChunkTree;
use content_store::device::{self, InitOptions};
use content_store::{
    Content, Index, IndexDevice, NewPath, Publication, Stage, Store, StoreConfig, TierConfig,
    TierRole,
};
use oca_daemon::access_log::End;
use oca_daemon::connection::{Connection, Context, Ending, Late, Patience, Step};
use oca_daemon::counters::WorkerCounters;
use oca_daemon::demand::Demand;
use oca_daemon::fills::Fills;
use oca_daemon::limits::HEAD_BYTES;
use oca_daemon::multipart::Shelf;
use oca_daemon::pacing::Pacing;
use oca_daemon::request::{self, Parsed};
use oca_daemon::response::{DateText, Head};
use oca_daemon::transfer::{ReadId, Source, Wanted};
use platform::device::{
    DeviceOptions, DeviceService, FilledBuffer, Mailbox, ReadError, ReadRequest,
};
use tempfile::TempDir;

/// What a worker has, without a socket.
pub(crate) struct Bench {
    _folder: TempDir,
    index: Index,
    devices: Vec<Arc<DeviceService>>,
    mailbox: Arc<Mailbox>,
    keys: RandomState,
    head: Head,
    path: Box<[u8; HEAD_BYTES]>,
    shelf: Shelf,
    pub(crate) counters: WorkerCounters,
    pub(crate) demand: Demand,
    pub(crate) fills: Arc<Fills>,
    pub(crate) now: Instant,
    pub(crate) closing: bool,
    /// Whether the last exchange ended in the middle of an answer, by the peer's doing.
    pub(crate) was_cut_short: bool,
}

const DEVICES: usize = 3;

impl Bench {
    /// With these contents at these paths.
    pub(crate) fn new(contents: &[(&str, &[u8])]) -> Self {
        let folder = match option_env!("CARGO_TARGET_TMPDIR") {
            Some(scratch) => TempDir::new_in(scratch),
            None => TempDir::new(),
        };
        let folder = folder.expect("a folder");
        let mut store = store(&folder);
        contents
            .iter()
            .for_each(|(path, bytes)| publish(&mut store, path, bytes));
        let places: Vec<IndexDevice> = store.devices().iter().map(IndexDevice::from).collect();
        drop(store);
        let start = |(at, place): (usize, &IndexDevice)| {
            let options = DeviceOptions::new(format!("d{at}"), &place.root, at);
            DeviceService::start(options).expect("a device")
        };
        let devices: Vec<_> = places.iter().enumerate().map(start).collect();
        let mut catalog = CatalogReader::open(&folder.path().join("state")).expect("a catalog");
        let keys = RandomState::new();
        Self {
            index: Index::build(catalog.load().expect("a snapshot"), &places, None).index,
            counters: WorkerCounters::new(devices.len()),
            demand: Demand::default(),
            fills: Arc::new(Fills::new(1)),
            devices,
            mailbox: Mailbox::new(64, Box::new(|| ())),
            shelf: Shelf::new(keys.clone()),
            keys,
            head: Head::default(),
            path: Box::new([0; HEAD_BYTES]),
            now: Instant::now(),
            closing: false,
            was_cut_short: false,
            _folder: folder,
        }
    }

    pub(crate) fn context(&mut self) -> Context<'_> {
        static DATE: LazyLock<DateText> = LazyLock::new(|| DateText::new(784_111_777));
        Context {
            now: self.now,
            date: &DATE,
            index: &self.index,
            devices: &self.devices,
            counters: &self.counters,
            demand: Some(&self.demand),
            fills: &self.fills,
            log: None,
            pacing: Pacing::default(),
            closing: self.closing,
            patience: patience(),
            head: &mut self.head,
            path: &mut self.path,
            shelf: &mut self.shelf,
        }
    }

    /// Gives `input` to a new connection and returns all that it sends until it closes, or until the tape makes it leave.
    /// Equal inputs have equal outputs: the boundaries of parts begin anew with each exchange.
    pub(crate) fn exchange(&mut self, input: &[u8], tape: &mut impl Tape) -> Vec<u8> {
        self.shelf = Shelf::new(self.keys.clone());
        let mut hand = Hand {
            connection: Connection::new(self.now, &patience()),
            rest: input,
            sent: Vec::new(),
            flowing: true,
            reads: Reads::default(),
        };
        let mut stuck = 0;
        loop {
            let before = hand.progress();
            // What a tape refuses is not the machine's fault, but it may not refuse for ever.
            let goes_on = match stuck < 8 {
                true => hand.turn(self, tape),
                false => hand.turn(self, &mut Greedy),
            };
            if !goes_on {
                break;
            }
            stuck = if hand.progress() == before {
                stuck + 1
            } else {
                0
            };
            assert!(stuck < 100, "it does not get on");
        }
        self.was_cut_short = hand.connection.is_cut_short();
        self.end(&mut hand.connection);
        hand.reads.await_all(self);
        hand.sent
    }

    /// Somebody who takes the answers of `connection` little by little.
    pub(crate) fn viewer(&self, connection: Connection) -> Viewer {
        Viewer(Hand {
            connection,
            rest: &[],
            sent: Vec::new(),
            flowing: false,
            reads: Reads::default(),
        })
    }

    /// The connection ends, whatever it was doing.
    pub(crate) fn end(&mut self, connection: &mut Connection) {
        connection.end(&Ending {
            now: self.now,
            counters: &self.counters,
            demand: Some(&self.demand),
            log: None,
            why: End::Peer,
        });
    }
}

fn store(folder: &TempDir) -> Store {
    let state_dir = folder.path().join("state");
    std::fs::create_dir_all(&state_dir).expect("a state folder");
    let devices: Vec<_> = (0..DEVICES)
        .map(|at| folder.path().join(format!("d{at}")))
        .collect();
    for device in &devices {
        std::fs::create_dir_all(device).expect("a folder");
        let options = InitOptions {
            now_s: 1_700_000_000,
            tier: Some("nvme".into()),
            shared_fs: true,
        };
        device::initialise(device, &options).expect("a fresh device");
    }
    let config = StoreConfig {
        state_dir,
        tiers: vec![TierConfig {
            name: "nvme".into(),
            role: TierRole::Hot,
            stripe_unit: 1 << 20,
            read_unit: 256 << 10,
            stripe_width: 2,
            devices,
        }],
        program: "test".into(),
    };
    Store::open(config).expect("the store opens")
}

fn publish(store: &mut Store, path: &str, bytes: &[u8]) {
    let content = match store.stage(ChunkTree::of(bytes), "nvme").expect("room") {
        Stage::Stored(object) => Content::Stored(object),
        Stage::Write(mut staging) => {
            staging.copy_from(bytes, |_| ()).expect("written");
            Content::Sealed(staging.seal().expect("sealed"))
        }
    };
    let path = NewPath {
        path: path.into(),
        content_type: "video/mp4".into(),
        cache_control: "public, max-age=31536000, immutable".into(),
        modified_s: 1_700_000_000,
    };
    let paths = vec![path];
    store
        .publish(vec![Publication { content, paths }])
        .expect("published");
}

pub(crate) fn patience() -> Patience {
    let second = Duration::from_secs(1);
    Patience {
        idle: 60 * second,
        head: 10 * second,
        send: 30 * second,
        window: 60 * second,
        window_bytes: 60_000,
    }
}

/// What decides how an exchange goes.
pub(crate) trait Tape {
    /// A number up to `most`: how much of something happens.
    fn draw(&mut self, most: usize) -> usize;

    /// Whether the peer goes away now.
    fn leaves(&mut self) -> bool {
        false
    }

    /// Whether a device cannot give what was read.
    fn fails(&mut self) -> bool {
        false
    }
}

/// Everything at once, as on a good day.
pub(crate) struct Greedy;

impl Tape for Greedy {
    fn draw(&mut self, most: usize) -> usize {
        most
    }
}

/// Bytes that say how it goes, again and again.
pub(crate) struct Written<'a> {
    bytes: &'a [u8],
    at: usize,
    mood: Mood,
}

/// What may happen beside what always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Fair,
    PeerLeaves,
    DeviceFails,
}

impl<'a> Written<'a> {
    pub(crate) fn new(bytes: &'a [u8], mood: Mood) -> Self {
        Self { bytes, at: 0, mood }
    }
}

impl Written<'_> {
    fn next(&mut self) -> usize {
        self.at += 1;
        let byte = self.bytes.get(self.at % self.bytes.len().max(1));
        byte.map_or(0, |byte| usize::from(*byte))
    }
}

impl Tape for Written<'_> {
    fn draw(&mut self, most: usize) -> usize {
        let byte = self.next();
        // Often all or almost nothing, as sockets do.
        match byte % 4 {
            0 => most,
            1 => most.min(1 + byte / 4 % 7),
            _ => most * byte / 256,
        }
    }

    fn leaves(&mut self) -> bool {
        self.mood == Mood::PeerLeaves && self.next() == 255
    }

    fn fails(&mut self) -> bool {
        self.mood == Mood::DeviceFails && self.next().is_multiple_of(4)
    }
}

/// Device reads that are out, and those that came back and were not told yet.
#[derive(Default)]
struct Reads {
    last: ReadId,
    out: usize,
    back: Vec<(ReadId, Result<FilledBuffer, ReadError>)>,
}

impl Reads {
    fn submit(&mut self, wanted: &Wanted, bench: &Bench) -> (usize, ReadId) {
        let file = wanted.file.as_ref().expect("all devices are here");
        self.last += 1;
        self.out += 1;
        let request = ReadRequest {
            file: Arc::clone(file),
            offset: wanted.offset,
            length: wanted.length,
            class: wanted.class,
            requester: 0,
            token: u64::from(self.last),
            reply: Arc::clone(&bench.mailbox),
        };
        bench.devices[file.device()].submit(request).expect("taken");
        (file.device(), self.last)
    }

    /// Devices take their time, but how an exchange goes is for the tape alone: in what order they answered is put right.
    fn await_all(&mut self, bench: &Bench) {
        while self.out > 0 {
            match bench.mailbox.pop() {
                Some(done) => {
                    self.out -= 1;
                    self.back.push((done.token as ReadId, done.result));
                }
                None => std::thread::park_timeout(Duration::from_micros(20)),
            }
        }
        self.back.sort_by_key(|(id, _)| *id);
    }
}

/// One exchange.
struct Hand<'a> {
    connection: Connection,
    rest: &'a [u8],
    sent: Vec<u8>,
    flowing: bool,
    reads: Reads,
}

impl Hand<'_> {
    /// Something that changes whenever something happens.
    fn progress(&self) -> (usize, usize, ReadId, usize) {
        let Reads { last, back, .. } = &self.reads;
        (self.rest.len(), self.sent.len(), *last, back.len())
    }

    /// One thing happens; `false` when the connection is over.
    fn turn(&mut self, bench: &mut Bench, tape: &mut impl Tape) -> bool {
        if tape.leaves() {
            return false;
        }
        // Bytes may come at any time, unless the connection said that it has enough.
        if self.flowing && !self.rest.is_empty() && tape.draw(3) == 0 {
            self.receive(bench, tape);
            return true;
        }
        let mut cx = bench.context();
        match self.connection.step(&mut cx) {
            Step::Send { head, body, .. } => {
                let (head, body) = take(head, body.as_ref(), &mut self.sent, tape);
                self.connection.sent(head, body, &cx);
            }
            // A copy that failed, and there is no other.
            Step::Read(wanted) if wanted.file.is_none() => self.connection.refused(&wanted),
            Step::Read(wanted) => {
                let (device, id) = self.reads.submit(&wanted, bench);
                self.connection.submitted(&wanted, device, id);
            }
            Step::AwaitRead => self.deliver(bench, tape),
            Step::Pace(rate) => panic!("nobody asked for {rate:?}"),
            Step::Receive if self.rest.is_empty() => self.connection.peer_closed(),
            Step::Receive => self.receive(bench, tape),
            Step::Linger => self.connection.peer_closed(),
            Step::Close => return false,
        }
        true
    }

    fn receive(&mut self, bench: &mut Bench, tape: &mut impl Tape) {
        let (now, later) = self.rest.split_at(1 + tape.draw(self.rest.len() - 1));
        self.rest = later;
        self.flowing = self
            .connection
            .received(now, &mut bench.context(), Vec::new);
    }

    /// One of the reads comes back, in any order.
    fn deliver(&mut self, bench: &Bench, tape: &mut impl Tape) {
        self.reads.await_all(bench);
        let at = tape.draw(self.reads.back.len() - 1);
        let (id, result) = self.reads.back.remove(at);
        let failed = Err(ReadError::DeviceFailed);
        let result = if tape.fails() { failed } else { result };
        self.connection.arrived(id, result, bench.now);
    }
}

/// See [`Bench::viewer`].
pub(crate) struct Viewer(Hand<'static>);

impl Viewer {
    /// Takes `bytes` at the bench's time; `None` if the connection does not wait any longer.
    pub(crate) fn take(&mut self, bench: &mut Bench, bytes: usize) -> Option<()> {
        if self.0.connection.late(&bench.context()) == Late::Act {
            return None;
        }
        let before = self.0.sent.len();
        while self.0.sent.len() < before + bytes {
            let mut left = Little(before + bytes - self.0.sent.len());
            self.0.turn(bench, &mut left).then_some(())?;
        }
        Some(())
    }

    /// What is read ahead of it comes.
    pub(crate) fn deliver(&mut self, bench: &Bench) {
        self.0.deliver(bench, &mut Greedy);
    }
}

/// So much and no more.
struct Little(usize);

impl Tape for Little {
    fn draw(&mut self, most: usize) -> usize {
        most.min(self.0)
    }
}

/// Takes a part of what is offered, as a kernel does.
fn take(
    head: &[u8],
    body: Option<&Source<'_>>,
    sent: &mut Vec<u8>,
    tape: &mut impl Tape,
) -> (usize, usize) {
    let bytes = match body {
        Some(Source::Buffer { bytes, .. }) => *bytes,
        Some(Source::Memory {
            piece,
            offset,
            length,
            ..
        }) => {
            let start = (offset - piece.range().start) as usize;
            &piece.bytes()[start..start + *length as usize]
        }
        _ => &[],
    };
    let offered = head.len() + bytes.len();
    assert!(offered > 0, "a step that sends nothing");
    let taken = tape.draw(offered);
    let head_taken = taken.min(head.len());
    sent.extend_from_slice(&head[..head_taken]);
    sent.extend_from_slice(&bytes[..taken - head_taken]);
    (head_taken, taken - head_taken)
}

/// One answer: its status and its body.
pub(crate) type Answer = (u16, Vec<u8>);

/// Takes `sent` apart into the answers to the requests in `input`, and checks that they are whole, that there is one for each
/// request up to the one that ends the connection, and nothing else.
pub(crate) fn answers(input: &[u8], sent: &[u8]) -> Vec<Answer> {
    let (mut rest, mut unread, mut answers) = (sent, input, Vec::new());
    while !rest.is_empty() {
        let (for_head, length) = match request::parse(unread) {
            Parsed::Complete(request, length) => (request.method == request::Method::Head, length),
            Parsed::Rejected(_) => (request::asks_for_head(unread), unread.len()),
            Parsed::Partial => panic!("an answer to half a request"),
        };
        unread = &unread[length..];
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.expect("a whole head") + 4;
        let head = str::from_utf8(&rest[..end]).expect("a head is text");
        let status: u16 = head[9..12].parse().expect("a status");
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let announced = field("Content-Length: ").map_or(0, |n| n.parse().expect("digits"));
        let length = if for_head { 0 } else { announced };
        answers.push((status, rest[end..end + length].to_vec()));
        rest = &rest[end + length..];
        if field("Connection: ") == Some("close") {
            assert!(
                rest.is_empty(),
                "{} bytes after the last answer",
                rest.len()
            );
            return answers;
        }
    }
    let is_answered = matches!(request::parse(unread), Parsed::Partial);
    assert!(is_answered, "a request without an answer");
    answers
}

/// The body of the fuzz target, and of a bounded test: `data` is the length of a tape, the tape, and what the peer sends.
/// However the input is cut, however sends and reads go, the same bytes leave; if the peer goes away, a beginning of them.
pub(crate) fn exercise(bench: &mut Bench, data: &[u8]) {
    let [tape, data @ ..] = data else { return };
    let (tape, input) = data.split_at(data.len().min(usize::from(*tape)));
    let expected = bench.exchange(input, &mut Greedy);
    answers(input, &expected);
    for mood in [Mood::Fair, Mood::PeerLeaves, Mood::DeviceFails] {
        let sent = bench.exchange(input, &mut Written::new(tape, mood));
        match mood {
            Mood::Fair => assert!(sent == expected, "other bytes left"),
            Mood::PeerLeaves => assert!(expected.starts_with(&sent), "other bytes left"),
            Mood::DeviceFails => {}
        }
        assert_eq!(
            bench.counters.transfers.value(),
            0,
            "a transfer is left over"
        );
        assert_eq!(bench.fills.running(), 0, "a fill is left over");
    }
}
