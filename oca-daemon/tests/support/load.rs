//! Viewers that ask for random ranges on kept connections, compare every byte, and remember what they met.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http::{Client, Response};
use super::{assert_same, content, eventually};

/// A published object and its bytes.
pub(crate) struct Film {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

impl Film {
    pub(crate) fn new(number: u64, length: usize) -> Self {
        Self {
            path: format!("/film/{number}.mp4"),
            bytes: content(number + 1, length),
        }
    }
}

/// The next number of a seeded row.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// The right bytes, all of them.
    Right,
    /// 503 with `Retry-After`.
    Unavailable,
    /// The connection ended before the answer was complete; what had come was right.
    Cut,
    /// Nobody took the connection.
    Refused,
}

/// One request of one viewer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub(crate) film: usize,
    pub(crate) asked: Instant,
    pub(crate) met: Met,
}

/// Viewers at work.
pub(crate) struct Audience {
    films: Arc<Vec<Film>>,
    address: Arc<Mutex<SocketAddr>>,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    visits: Arc<Mutex<Vec<Visit>>>,
    viewers: Vec<JoinHandle<()>>,
}

impl Audience {
    /// `viewers` connections that ask for up to `longest` bytes at once.
    pub(crate) fn new(
        address: SocketAddr,
        films: &Arc<Vec<Film>>,
        viewers: u64,
        longest: usize,
    ) -> Self {
        let mut audience = Self {
            films: Arc::clone(films),
            address: Arc::new(Mutex::new(address)),
            stop: Arc::default(),
            served: Arc::default(),
            visits: Arc::default(),
            viewers: Vec::new(),
        };
        for seed in 1..=viewers {
            let viewer = Viewer {
                films: Arc::clone(films),
                address: Arc::clone(&audience.address),
                stop: Arc::clone(&audience.stop),
                served: Arc::clone(&audience.served),
                visits: Arc::clone(&audience.visits),
                longest,
                seed: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            };
            let run = move || viewer.run();
            audience.viewers.push(std::thread::spawn(run));
        }
        audience
    }

    /// Where the daemon is now.
    pub(crate) fn move_to(&self, address: SocketAddr) {
        *self.address.lock().expect("no viewer panicked") = address;
    }

    /// Waits until `more` requests were answered right from now on.
    pub(crate) fn await_served(&self, more: u64) {
        let wanted = self.served.load(SeqCst) + more;
        eventually("the viewers are served", || {
            assert!(
                !self.viewers.iter().any(JoinHandle::is_finished),
                "a viewer gave up"
            );
            (self.served.load(SeqCst) >= wanted).then_some(())
        });
    }

    /// Ends all, and says what they met.
    pub(crate) fn end(self) -> Vec<Visit> {
        self.stop.store(true, SeqCst);
        for viewer in self.viewers {
            viewer.join().expect("what a viewer got was right");
        }
        assert!(self.films.len() > 1, "an audience wants a choice");
        std::mem::take(&mut *self.visits.lock().expect("no viewer panicked"))
    }
}

struct Viewer {
    films: Arc<Vec<Film>>,
    address: Arc<Mutex<SocketAddr>>,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    visits: Arc<Mutex<Vec<Visit>>>,
    longest: usize,
    seed: u64,
}

impl Viewer {
    fn run(mut self) {
        let mut client: Option<Client> = None;
        while !self.stop.load(SeqCst) {
            let film = random(&mut self.seed) as usize % self.films.len();
            let asked = Instant::now();
            let met = self.visit(film, &mut client);
            if matches!(met, Met::Cut | Met::Refused) {
                client = None;
            }
            if met == Met::Refused || met == Met::Unavailable {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            if met == Met::Right {
                self.served.fetch_add(1, SeqCst);
            }
            let visit = Visit { film, asked, met };
            self.visits.lock().expect("no viewer panicked").push(visit);
        }
    }

    fn visit(&mut self, film: usize, client: &mut Option<Client>) -> Met {
        let address = *self.address.lock().expect("no panic");
        let connection = match client {
            Some(connection) => connection,
            None => match Client::connect(address) {
                Ok(connected) => client.insert(connected),
                Err(_) => return Met::Refused,
            },
        };
        let Film { path, bytes } = &self.films[film];
        let first = random(&mut self.seed) as usize % bytes.len();
        let length = 1 + random(&mut self.seed) as usize % self.longest.min(bytes.len() - first);
        let expected = &bytes[first..first + length];
        let last = first + length - 1;
        match connection.get(path, &[&format!("Range: bytes={first}-{last}")]) {
            Ok(response) => {
                if response.field("Connection") == Some("close") {
                    *client = None;
                }
                judge(&response, expected, path)
            }
            Err(error) => judge_cut(&error, connection, expected, path),
        }
    }
}

fn judge(response: &Response, expected: &[u8], path: &str) -> Met {
    match response.status {
        206 => {
            assert_same(&response.body, expected, path);
            Met::Right
        }
        503 => {
            assert!(response.field("Retry-After").is_some(), "{}", response.head);
            Met::Unavailable
        }
        _ => panic!("{path}: {}", response.head),
    }
}

/// What has come of an answer that was cut must be right, and an answer that just stops coming is a failure.
fn judge_cut(error: &io::Error, client: &Client, expected: &[u8], path: &str) -> Met {
    let waited = matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    );
    assert!(!waited, "{path}: neither all bytes nor a close within 20 s");
    if let Some(body) = client.unfinished_body() {
        assert!(body.len() < expected.len(), "{path}: more than was asked");
        assert_same(body, &expected[..body.len()], path);
    }
    Met::Cut
}
