//! A hand that carries out the steps of a connection, in the worker's place.

use std::sync::Arc;
use std::time::Duration;

use oca_daemon::connection::{Connection, Late, Step};
use oca_daemon::transfer::{ReadId, Source, Wanted};
use platform::device::{FilledBuffer, ReadError, ReadRequest};

use super::Bench;
use super::tape::{Greedy, Little, Tape};

/// Device reads that are out, and those that came back and were not told yet.
#[derive(Default)]
pub(super) struct Reads {
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
            file: file.clone(),
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
    pub(super) fn await_all(&mut self, bench: &Bench) {
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
pub(super) struct Hand<'a> {
    pub(super) connection: Connection,
    pub(super) rest: &'a [u8],
    pub(super) sent: Vec<u8>,
    pub(super) flowing: bool,
    pub(super) reads: Reads,
}

impl Hand<'_> {
    /// Something that changes whenever something happens.
    pub(super) fn progress(&self) -> (usize, usize, ReadId, usize) {
        let Reads { last, back, .. } = &self.reads;
        (self.rest.len(), self.sent.len(), *last, back.len())
    }

    /// One thing happens; `false` when the connection is over.
    pub(super) fn turn(&mut self, bench: &mut Bench, tape: &mut impl Tape) -> bool {
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
pub(crate) struct Viewer(pub(super) Hand<'static>);

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

    /// One thing happens; what is read of a device does not come back by itself.
    pub(crate) fn turn(&mut self, bench: &mut Bench) {
        assert!(self.0.turn(bench, &mut Greedy), "the connection is over");
    }

    /// What is read ahead of it comes.
    pub(crate) fn deliver(&mut self, bench: &Bench) {
        self.0.deliver(bench, &mut Greedy);
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
            let bytes = piece.bytes(*offset..offset + length);
            bytes.expect("a stretch of the piece")
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
