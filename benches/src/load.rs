//! Keep-alive connections that ask for ranges, each the next one when the last byte of the previous has come, or at a steady rate.
//!
//! `Load` -> [`run`] -> `Outcome`. One thread, one [`platform::watch::Watch`]. Bodies are thrown away uncopied, so that the
//! client's core is not what is measured; with [`Check::Content`] they are compared with the files instead.
//!
//! A response that is not a 206 of exactly the bytes asked for ends the run with an error, whatever it is: figures
//! of a server that answers something else would mean nothing. The viewers of [`crowd`] take a refusal as players do.

#[cfg(test)]
pub(crate) mod answering;
mod connection;
pub(crate) mod crowd;
mod head;
mod random;
pub(crate) mod replay;
pub(crate) mod tls;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use platform::watch::Watch;

use crate::latency::{Latencies, Summary};
use crate::setup;
use crate::tls::{Client, Suite, Version};
pub(crate) use connection::{Answer, Connection, Range};
pub(crate) use random::Random;

/// A server that sends nothing for so long has failed.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// What this program itself is late at a steady rate, it makes up for as far as this. It does not burden the server with more at once.
const CATCH_UP: Duration = Duration::from_millis(1);

/// A sample in which this program was too late for a larger share of the requests is void: it would move a ratio by as much.
pub(crate) const MOST_MISSED: f64 = 0.01;

/// One file that the server has under a path.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    /// Path of the URL, with its slash.
    pub(crate) path: String,
    /// The same bytes on this machine.
    pub(crate) file: Option<PathBuf>,
    /// Length in bytes.
    pub(crate) size: u64,
}

/// Where a server listens, and how it is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// None: without TLS.
    pub(crate) tls: Option<Client>,
}

/// What is asked of the server.
#[derive(Debug, Clone)]
pub(crate) struct Load<'a> {
    pub(crate) target: &'a Target,
    pub(crate) objects: &'a [Object],
    pub(crate) connections: usize,
    /// Length of each range; offsets are multiples of it.
    pub(crate) range_bytes: u64,
    pub(crate) rate: Rate,
    pub(crate) until: Until,
    pub(crate) check: Check,
}

/// When the next request is made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rate {
    /// As soon as a connection has nothing to do.
    Full,
    /// So many in a second, on all connections together. If none was free when a request was due, its latency counts from then.
    PerSecond(f64),
}

impl Rate {
    fn whole_intervals(self, time: Duration) -> u64 {
        match self {
            Self::Full => 0,
            Self::PerSecond(rate) => (time.as_secs_f64() * rate) as u64,
        }
    }
}

/// When no further request is made; those under way are finished.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Elapsed(Duration),
    Requests(u64),
}

/// How closely bodies are looked at. Status, range and length always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Bodies are counted, and thrown away in the kernel.
    Length,
    /// Bodies are counted, and read into memory as a player does.
    Read,
    /// Bodies are compared with the files.
    Content,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    /// Bytes of bodies.
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Summary,
    /// Requests that this program was too late for, of those that were due.
    pub(crate) missed_share: f64,
}

impl Outcome {
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

/// `oca-bench load`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Address of the server, as in 127.0.0.1:8080
    address: SocketAddr,
    /// Paths to ask for, as in /a.mp4; each must exist
    #[arg(required = true)]
    paths: Vec<String>,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 16, value_parser = setup::count)]
    connections: usize,
    /// Bytes per request; offsets are multiples of it
    #[arg(long, default_value_t = 65536, value_parser = clap::value_parser!(u64).range(1..))]
    range: u64,
    /// Requests a second, all together; default: as many as are answered
    #[arg(long, value_parser = setup::rate)]
    rate: Option<f64>,
    /// For how long
    #[arg(long, default_value_t = 5.0, value_parser = setup::seconds)]
    seconds: f64,
    /// Compare bodies with files of the same paths in this folder
    #[arg(long, value_name = "FOLDER")]
    verify: Option<PathBuf>,
    /// Speak TLS, with this suite
    #[arg(long, requires = "certificate")]
    tls: Option<Suite>,
    /// Version of TLS
    #[arg(long, default_value = "1.3")]
    tls_version: Version,
    /// Certificate of the server, in PEM: exactly this one is trusted
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Stay on this core
    #[arg(long)]
    core: Option<usize>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    if let Some(core) = arguments.core {
        platform::cpu::pin_to_core(core).with_context(|| format!("core {core}"))?;
    }
    let target = Target {
        address: arguments.address,
        tls: client(arguments)?,
    };
    let objects = arguments
        .paths
        .iter()
        .map(|path| object(arguments, &target, path))
        .collect::<Result<Vec<_>>>()?;
    let outcome = run(&Load {
        target: &target,
        objects: &objects,
        connections: arguments.connections,
        range_bytes: arguments.range,
        rate: arguments.rate.map_or(Rate::Full, Rate::PerSecond),
        until: Until::Elapsed(Duration::from_secs_f64(arguments.seconds)),
        check: if arguments.verify.is_some() {
            Check::Content
        } else {
            Check::Length
        },
    })?;
    println!(
        "{} requests, {:.3} GB, {:.0} requests/s, p50 {} us, p99 {} us, max {} us, missed {:.2} %",
        outcome.requests,
        outcome.bytes as f64 / 1e9,
        outcome.requests_per_second(),
        outcome.latency.p50_us,
        outcome.latency.p99_us,
        outcome.latency.max_us,
        outcome.missed_share * 100.0,
    );
    Ok(())
}

fn client(arguments: &Arguments) -> Result<Option<Client>> {
    let make = |(suite, certificate): (Suite, &PathBuf)| {
        Client::new(certificate, suite, arguments.tls_version)
    };
    let wanted = arguments.tls.zip(arguments.certificate.as_ref());
    wanted.map(make).transpose()
}

/// The size of an object that is not here as a file is asked of the server.
fn object(arguments: &Arguments, target: &Target, path: &str) -> Result<Object> {
    let file = arguments
        .verify
        .as_ref()
        .map(|folder| folder.join(path.trim_start_matches('/')));
    let size = match &file {
        Some(file) => file
            .metadata()
            .with_context(|| file.display().to_string())?
            .len(),
        None => connection::ask_size(target, path)?,
    };
    Ok(Object {
        path: path.to_owned(),
        file,
        size,
    })
}

/// Runs the load and returns when the last response is complete.
///
/// Errors: a connection that fails, a wrong response, silence.
pub(crate) fn run(load: &Load<'_>) -> Result<Outcome> {
    ensure!(
        load.objects
            .iter()
            .all(|object| object.size >= load.range_bytes),
        "an object is smaller than the range of {} bytes",
        load.range_bytes
    );
    let mut running = Running::open(load, SILENCE)?;
    let begun = Instant::now();
    running.start_due(begun)?;
    running.finish(begun)?;
    let requests = running.latencies.count();
    ensure!(requests > 0, "no request was made");
    Ok(Outcome {
        requests,
        bytes: requests * load.range_bytes,
        elapsed: begun.elapsed(),
        missed_share: running.missed_share(),
        latency: running.latencies.summary(),
    })
}

/// What came of a load that was looked at for a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) requests_per_second: f64,
    /// The longest that a request took, or had been waiting at the end; or all connections to be open.
    pub(crate) worst: Duration,
    /// Requests that this program was too late for, of those that were due.
    pub(crate) missed_share: f64,
}

/// Runs the load for `length`. What is not answered by then is not waited for: a server may have stopped altogether.
///
/// Errors: a connection that fails, or is not open within `length`; a wrong response.
pub(crate) fn look(load: &Load<'_>, length: Duration) -> Result<Window> {
    let opening = Instant::now();
    let mut running = Running::open(load, length)?;
    let begun = Instant::now();
    running.start_due(begun)?;
    while begun.elapsed() < length {
        running.turn(begun, length.saturating_sub(begun.elapsed()))?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let unanswered = running.connections.iter().filter(|it| it.is_busy());
    let oldest = unanswered.map(Connection::age).max().unwrap_or_default();
    let requests = running.latencies.count();
    let missed_share = running.missed_share();
    let slowest = running.latencies.summary().max_us;
    Ok(Window {
        requests_per_second: requests as f64 / seconds,
        worst: oldest
            .max(Duration::from_micros(u64::from(slowest)))
            .max(begun - opening),
        missed_share,
    })
}

/// Connections with their places as keys; all handshakes are over.
///
/// Errors: one fails, or the server says nothing for `patience`.
pub(crate) fn open_all<'a>(
    target: &Target,
    count: usize,
    check: Check,
    patience: Duration,
) -> Result<(Watch, Vec<Connection<'a>>)> {
    let mut watch = Watch::new()?;
    let mut connections = Vec::with_capacity(count);
    for key in 0..count {
        let connection = Connection::open(target, check)?;
        watch.add(connection.socket().as_fd(), key as u64)?;
        connections.push(connection);
    }
    let mut shaking = connections.iter().filter(|it| !it.is_open()).count();
    while shaking > 0 {
        let ready = watch.wait(patience)?;
        ensure!(
            ready > 0,
            "{shaking} handshakes are not over, and nothing comes for {patience:?}"
        );
        for place in 0..ready {
            let connection = &mut connections[watch.key(place) as usize];
            if !connection.is_open() {
                connection.advance()?;
                shaking -= usize::from(connection.is_open());
            }
        }
    }
    Ok((watch, connections))
}

struct Running<'a> {
    load: &'a Load<'a>,
    watch: Watch,
    connections: Vec<Connection<'a>>,
    /// Connections without a request, and since when; the first has been so for longest.
    idle: VecDeque<(usize, Instant)>,
    random: Random,
    latencies: Latencies,
    /// Requests made.
    made: u64,
    /// Requests that we were too late for.
    missed: u64,
}

impl<'a> Running<'a> {
    fn open(load: &'a Load<'a>, patience: Duration) -> Result<Self> {
        let (watch, connections) = open_all(load.target, load.connections, load.check, patience)?;
        let opened = Instant::now();
        Ok(Self {
            load,
            watch,
            idle: (0..connections.len()).map(|key| (key, opened)).collect(),
            connections,
            random: Random::new(0x0CA),
            latencies: Latencies::default(),
            made: 0,
            missed: 0,
        })
    }

    fn missed_share(&self) -> f64 {
        self.missed as f64 / (self.made + self.missed).max(1) as f64
    }

    fn is_pending(&self) -> bool {
        self.idle.len() < self.connections.len()
    }

    /// When the next request is due; `None` if there is to be no other.
    fn due(&self, begun: Instant, now: Instant) -> Option<Instant> {
        let due = match self.load.rate {
            Rate::Full => now,
            Rate::PerSecond(rate) => {
                begun + Duration::from_secs_f64((self.made + self.missed) as f64 / rate)
            }
        };
        let over = match self.load.until {
            Until::Elapsed(bound) => due - begun >= bound,
            Until::Requests(bound) => self.made >= bound,
        };
        (!over).then_some(due)
    }

    /// Makes the requests that are due, as far as connections are free.
    fn start_due(&mut self, begun: Instant) -> Result<()> {
        while let Some(&(number, since)) = self.idle.front() {
            let now = Instant::now();
            let Some(due) = self.due(begun, now) else {
                break;
            };
            if due > now {
                break;
            }
            if since <= due {
                // Late by our own fault, not the server's.
                self.start(number, now)?;
                let late = (now - due).saturating_sub(CATCH_UP);
                self.missed += self.load.rate.whole_intervals(late);
            } else {
                self.start(number, due)?;
            }
            self.idle.pop_front();
        }
        Ok(())
    }

    fn start(&mut self, number: usize, due: Instant) -> Result<()> {
        let object = &self.load.objects[self.random.below(self.load.objects.len() as u64) as usize];
        let units = object.size / self.load.range_bytes;
        let offset = self.random.below(units) * self.load.range_bytes;
        if self.connections[number].must_reopen() {
            self.connections[number] = Connection::open(self.load.target, self.load.check)?;
            let socket = self.connections[number].socket().as_fd();
            self.watch.add(socket, number as u64)?;
        }
        let range = Range {
            object,
            offset,
            length: self.load.range_bytes,
        };
        self.connections[number].request_due(range, due)?;
        self.made += 1;
        Ok(())
    }

    fn finish(&mut self, begun: Instant) -> Result<()> {
        let mut heard = Instant::now();
        while self.is_pending() || self.due(begun, Instant::now()).is_some() {
            if self.turn(begun, SILENCE)? > 0 || !self.is_pending() {
                heard = Instant::now();
            }
            ensure!(
                heard.elapsed() < SILENCE,
                "the server has sent nothing for {SILENCE:?}"
            );
        }
        Ok(())
    }

    /// Waits at most `patience` for news, or until a request is due, and takes them; how many there were.
    fn turn(&mut self, begun: Instant, patience: Duration) -> Result<usize> {
        let now = Instant::now();
        let is_idle = !self.idle.is_empty();
        let due = is_idle.then(|| self.due(begun, now)).flatten();
        let patience = due.map_or(patience, |due| {
            patience.min(due.saturating_duration_since(now))
        });
        let count = self.watch.wait(patience)?;
        for ready in 0..count {
            let number = self.watch.key(ready) as usize;
            if let Some(answer) = self.connections[number].advance()? {
                self.take(number, answer)?;
                self.start_due(begun)?;
            }
        }
        self.start_due(begun)?;
        Ok(count)
    }

    fn take(&mut self, number: usize, answer: Answer) -> Result<()> {
        match answer {
            Answer::Served => self.latencies.record(self.connections[number].took()),
            Answer::Refused(refusal) => bail!("status {} instead of 206", refusal.status),
            Answer::Cut => bail!("the server has closed the connection within a response"),
        }
        self.idle.push_back((number, Instant::now()));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
