//! Carries out the steps of one connection until it has to wait or has had its quantum.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use content_store::Index;
use platform::device::{Class, Mailbox, ReadRequest};
use platform::reactor::{More, Progress, Reactor, Token};
use platform::socket::{grow_send_buffer, outgrows_send_buffer, set_pacing};
use platform::stored_file::FileRef;

use super::reads::ReadTable;
use super::secure::Secure;
use super::transmit::seal_step;
use super::{Worker, slot};
use crate::connection::Step;
use crate::counters::WorkerCounters;
use crate::limits::{
    LOOKS_AT_PATH_FROM, PIPELINED_BYTES, QUANTUM_BYTES, SEALED_QUANTUM_BYTES, SPARE_BUFFERS,
};
use crate::memory_tier::Candidate;
use crate::pacing::Rate;
use crate::shared::Shared;
use crate::tls::session::Session;
use crate::transfer::{ReadId, Source, Wanted};

/// What came of one step.
pub(super) enum Then {
    Again,
    Wait,
    Close,
}

impl Worker {
    pub(super) fn drive(&mut self, token: Token, index: &Index) {
        let is_secure =
            slot(&mut self.connections, token).is_some_and(|slot| slot.secure.is_some());
        let mut quantum = if is_secure {
            SEALED_QUANTUM_BYTES
        } else {
            QUANTUM_BYTES
        };
        loop {
            match self.carry_out_step(token, index, &mut quantum) {
                Then::Again if quantum == 0 => return self.ready.push_back(token),
                Then::Again => {}
                Then::Wait => return,
                Then::Close => return self.close(token),
            }
        }
    }

    fn carry_out_step(&mut self, token: Token, index: &Index, quantum: &mut u64) -> Then {
        if let Some(then) = self.before_step(token, index) {
            return then;
        }
        let Some(slot) = slot(&mut self.connections, token) else {
            return Then::Wait;
        };
        let mut cx = self.thought.context(index);
        cx.closing |= slot.secure.as_deref().is_some_and(Secure::is_worn);
        match slot.connection.step(&mut cx) {
            Step::Pace(rate) => {
                self.pace(token, rate);
                Then::Again
            }
            Step::Read(wanted) => {
                self.read(token, &wanted);
                Then::Again
            }
            Step::Send { head, body, more } => {
                let session = slot.secure.as_deref_mut().and_then(Secure::session);
                let by_kernel = session
                    .as_ref()
                    .is_some_and(|session| session.is_handed_over());
                if let Some(session) = session.filter(|_| !by_kernel) {
                    let body = body.as_ref();
                    let sealed = seal_step(session, &mut self.sealing, head, body, more);
                    return self.sealed(token, index, sealed, quantum);
                }
                let offered = head.len() as u64 + body.as_ref().map_or(0, Source::length);
                // What is told to be followed by more, the kernel keeps for its record until that comes, however long.
                let more = more && !by_kernel;
                let sent = send(&self.reactor, token, head, body.as_ref(), more);
                let taken = sent.as_ref().map_or(0, |progress| progress.body as u64);
                let counted = Counted::of(body.as_ref(), taken);
                self.sent(token, index, sent, offered, counted, quantum)
            }
            Step::AwaitRead => Then::Wait,
            Step::Receive => {
                if slot.secure.is_some()
                    && let Then::Again = self.hear_kept(token, index)
                {
                    return Then::Again;
                }
                self.keep_spares(token);
                self.reactor.receive(token);
                Then::Wait
            }
            Step::Linger => {
                if let Then::Wait = self.say_goodbye(token, index) {
                    return Then::Wait;
                }
                self.end_writing(token);
                Then::Wait
            }
            Step::Close => {
                self.say_goodbye(token, index);
                Then::Close
            }
        }
    }

    fn sent(
        &mut self,
        token: Token,
        index: &Index,
        sent: io::Result<Progress>,
        offered: u64,
        counted: Counted,
        quantum: &mut u64,
    ) -> Then {
        match sent {
            Ok(progress) => {
                self.count(counted, progress.body as u64);
                self.thought.now = Instant::now();
                let Some(slot) = slot(&mut self.connections, token) else {
                    return Then::Wait;
                };
                slot.connection
                    .sent(progress.head, progress.body, &self.thought.context(index));
                slot.count_records((progress.head + progress.body) as u64);
                *quantum = quantum.saturating_sub(progress.body as u64);
                // A short count means that the socket is full: asking again would only say so.
                if ((progress.head + progress.body) as u64) < offered {
                    return self.await_room(token, index);
                }
                Then::Again
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.await_room(token, index)
            }
            Err(_) => Then::Close,
        }
    }

    pub(super) fn await_room(&mut self, token: Token, index: &Index) -> Then {
        if let Some(slot) = slot(&mut self.connections, token) {
            slot.connection.blocked(&self.thought.context(index));
            if slot.connection.holds_buffer() && !slot.is_holder {
                slot.is_holder = true;
                self.holders.push(token);
            }
        }
        self.note_full(token);
        self.reactor.wait_writable(token);
        Then::Wait
    }

    /// A send buffer that is full again and again may be too small for a long path, which is looked at ever more seldom. What cannot be
    /// known or set leaves it as it is: it is looked at again.
    fn note_full(&mut self, token: Token) {
        let Some(full) = slot(&mut self.connections, token).and_then(|slot| slot.full.as_mut())
        else {
            return;
        };
        *full = full.saturating_add(1);
        if *full < LOOKS_AT_PATH_FROM || !full.is_power_of_two() {
            return;
        }
        let socket = self.reactor.descriptor(token);
        if outgrows_send_buffer(socket).unwrap_or(false)
            && grow_send_buffer(socket).is_ok()
            && let Some(slot) = slot(&mut self.connections, token)
        {
            slot.full = None;
            self.thought.counters.grown_send_buffers.add(1);
        }
    }

    pub(super) fn count(&self, counted: Counted, bytes: u64) {
        let devices = &self.thought.counters.devices;
        match counted {
            Counted::Memory(device) => devices
                .get(device)
                .inspect(|device| device.memory_bytes.add(bytes)),
            Counted::Device(device) => devices
                .get(device)
                .inspect(|device| device.device_bytes.add(bytes)),
            Counted::Nothing => None,
        };
    }

    /// A connection whose rate cannot be bounded is broken, which the next send tells.
    fn pace(&self, token: Token, rate: Option<Rate>) {
        self.thought.counters.pacing_changes.add(1);
        let rate = rate.map(Rate::bytes_per_second);
        let _ = set_pacing(self.reactor.descriptor(token), rate);
    }

    /// Takes the buffers that a connection has no use for while it waits.
    fn keep_spares(&mut self, token: Token) {
        let Some(slot) = slot(&mut self.connections, token) else {
            return;
        };
        let session = slot.secure.as_deref_mut().and_then(Secure::session);
        let spares = [
            slot.connection.take_spare(),
            session.and_then(Session::take_spare),
        ];
        spares
            .into_iter()
            .flatten()
            .for_each(|spare| self.keep_spare(spare));
    }

    /// Keeps a few buffers for the next unfinished heads; the rest goes back to the allocator.
    fn keep_spare(&mut self, spare: Vec<u8>) {
        if self.spares.len() < SPARE_BUFFERS && spare.capacity() <= 2 * PIPELINED_BYTES {
            self.spares.push(spare);
        }
    }

    fn read(&mut self, token: Token, wanted: &Wanted) {
        let file = wanted.file.as_ref();
        let io = ReadIo {
            shared: &self.thought.shared,
            reads: &mut self.reads,
            mailbox: &self.mailbox,
        };
        let id = file.and_then(|file| submit(io, token, file, wanted));
        let Some(slot) = slot(&mut self.connections, token) else {
            return;
        };
        match (file, id) {
            (Some(file), Some(id)) => {
                slot.connection.submitted(wanted, file.device(), id);
                offer_to_memory(&self.thought.shared, file, wanted);
            }
            _ => {
                slot.connection.refused(wanted);
                count_failed_read(&self.thought.counters, file);
            }
        }
    }
}

/// Where the body bytes of a step are counted.
#[derive(Clone, Copy)]
pub(super) enum Counted {
    Memory(usize),
    Device(usize),
    Nothing,
}

impl Counted {
    /// `taken` bytes of `body` were taken by the kernel.
    pub(super) fn of(body: Option<&Source<'_>>, taken: u64) -> Self {
        match body {
            Some(Source::Memory { piece, device, .. }) => {
                piece.count_sent(taken);
                Self::Memory(*device)
            }
            Some(Source::Buffer { device, .. }) => Self::Device(*device),
            _ => Self::Nothing,
        }
    }
}

pub(super) fn more_if(more: bool) -> More {
    if more { More::Yes } else { More::No }
}

/// Head and the next bytes of the body, in as few calls as the sources allow.
fn send(
    reactor: &Reactor,
    token: Token,
    head: &[u8],
    body: Option<&Source<'_>>,
    more: bool,
) -> io::Result<Progress> {
    let more = more_if(more);
    match body {
        Some(Source::Memory {
            piece,
            offset,
            length,
            ..
        }) => reactor.sendfile(
            token,
            head,
            piece.descriptor(),
            *offset,
            *length as usize,
            more,
        ),
        Some(Source::Buffer { bytes, .. }) => {
            send_head_and_bytes(reactor, token, head, bytes, more)
        }
        _ => Ok(Progress {
            head: reactor.send(token, head, More::No)?,
            body: 0,
        }),
    }
}

fn send_head_and_bytes(
    reactor: &Reactor,
    token: Token,
    head: &[u8],
    bytes: &[u8],
    more: More,
) -> io::Result<Progress> {
    let sent = if head.is_empty() {
        0
    } else {
        reactor.send(token, head, More::Yes)?
    };
    if sent < head.len() {
        return Ok(Progress {
            head: sent,
            body: 0,
        });
    }
    match reactor.send(token, bytes, more) {
        Ok(body) => Ok(Progress { head: sent, body }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && sent > 0 => Ok(Progress {
            head: sent,
            body: 0,
        }),
        Err(error) => Err(error),
    }
}

/// What it takes to submit a read.
struct ReadIo<'a> {
    shared: &'a Shared,
    reads: &'a mut ReadTable,
    mailbox: &'a Arc<Mailbox>,
}

pub(super) fn count_failed_read(counters: &WorkerCounters, file: Option<&FileRef>) {
    if let Some(device) = file.and_then(|file| counters.devices.get(file.device())) {
        device.failed_reads.add(1);
    }
}

/// Gives a read to its device's service; `None` if it was refused.
fn submit(io: ReadIo<'_>, token: Token, file: &FileRef, wanted: &Wanted) -> Option<ReadId> {
    let device = io.shared.devices.get(file.device())?;
    let id = io.reads.open(token)?;
    let request = ReadRequest {
        file: file.clone(),
        offset: wanted.offset,
        length: wanted.length,
        class: wanted.class,
        requester: requester(token, io.mailbox),
        token: u64::from(id),
        reply: Arc::clone(io.mailbox),
    };
    if device.submit(request).is_err() {
        io.reads.close(id);
        return None;
    }
    Some(id)
}

/// A connection: tokens are unique in their worker, whose mailbox has its own place in memory. Two with the same number would share turns.
fn requester(token: Token, mailbox: &Arc<Mailbox>) -> u64 {
    token.to_bits() ^ (Arc::as_ptr(mailbox).addr() as u64)
}

/// What viewers want from a device is worth a look of the memory tier; what another appliance fetches is wanted once.
fn offer_to_memory(shared: &Shared, file: &FileRef, wanted: &Wanted) {
    if shared.memory.is_off() || wanted.class != Class::Viewer {
        return;
    }
    // A full queue forgets the candidate: it will be wanted again.
    let _ = shared.candidates.push(Candidate {
        file: file.clone(),
        offset: wanted.offset,
        length: wanted.length,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_turns_of_its_own_at_a_device() {
        let mailbox = Mailbox::new(1, Box::new(|| ()));
        let of = |connection| requester(Token::from_bits(connection), &mailbox);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }
}
