//! The connection machine without a socket: a small box with real devices, and a hand that carries out the steps as a tape
//! says. For the tests of the machine, and for its fuzz target; both have `publish` beside it.
#![allow(dead_code, reason = "the fuzz target uses a part of it")]

use std::hash::RandomState;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use content_store::catalog::CatalogReader;
use content_store::device::{self, InitOptions};
use content_store::{Index, IndexDevice, Store, StoreConfig, TierConfig, TierRole};
use oca_daemon::access_log::End;
use oca_daemon::connection::{Connection, Context, Ending, Patience};
use oca_daemon::counters::WorkerCounters;
use oca_daemon::demand::Demand;
use oca_daemon::fills::Fills;
use oca_daemon::limits::HEAD_BYTES;
use oca_daemon::multipart::Shelf;
use oca_daemon::pacing::Pacing;
use oca_daemon::response::{DateText, Head};
use platform::device::{DeviceOptions, DeviceService, Mailbox};
use tempfile::TempDir;

use crate::publish::publish;

pub(crate) mod answers;
mod hand;
mod tape;

use answers::answers;
pub(crate) use hand::Viewer;
use hand::{Hand, Reads};
pub(crate) use tape::{Greedy, Mood, Tape, Written};

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
    pub(crate) parting: bool,
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
        let published = catalog.published().expect("what is published");
        let built = Index::build(&published, &places, None).expect("an index");
        let keys = RandomState::new();
        Self {
            index: built.index,
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
            parting: false,
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
            parting: self.parting,
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
