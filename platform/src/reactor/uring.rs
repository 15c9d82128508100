//! The io_uring backend: everything a turn asks for and everything it gets goes through one system call.
//!
//! - Accept and receive are *multishot*: submitted once, they complete until cancelled. A connection that is
//!   served with its receive armed costs no submission per request.
//! - Receive takes its memory from a *ring of provided buffers*, so a silent connection holds none. When the
//!   ring is empty the kernel ends the receive with `ENOBUFS`; such sockets are armed again in order as
//!   buffers come back (`rearm_starved`).
//! - Every operation carries the token of its socket. After `close` its cancellation is under way and its
//!   late completions find no socket: they are swallowed, buffers going straight back.
//! - The kernel is told to refuse all other operations (`ring.rs`).

mod buffers;
mod limits;
mod multishot;
mod ring;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode};
use memmap2::MmapRaw;

use self::buffers::{BufferRing, GROUP};
use self::limits::CANCEL_PATIENCE;
use self::multishot::{Multishot, Submit};
use self::ring::Ring;
use super::bell::Bell;
use super::driver::Driver;
use super::event::{Event, ListenerId, Token};
use super::limits::ReactorLimits;
use super::table::{ReceiveMemory, Table};
use super::tag::Tag;
use super::waker::Waker;
use crate::socket;

pub(super) struct UringDriver {
    /// Dropped first: that ends the kernel's use of what follows.
    ring: Ring,
    buffers: BufferRing,
    memory: Rc<MmapRaw>,
    waker: Waker,
    /// By socket index.
    states: Vec<State>,
    /// By listener id.
    accepts: Vec<Multishot>,
    /// Sockets whose receive ended for want of a buffer, oldest first.
    starved: VecDeque<Token>,
    /// Sockets that are closed for the caller, whose descriptors stay open until the kernel has seen every
    /// operation that names them. Otherwise an operation handed over later would find another socket under
    /// the same number, maybe one of another thread.
    closing: Vec<OwnedFd>,
}

#[derive(Clone, Copy, Default)]
struct State {
    receive: Multishot,
    /// The caller wants bytes, but there was no buffer: to be armed again by `rearm_starved`.
    is_starved: bool,
    /// Stands in `starved`.
    in_starved: bool,
    /// End or error were reported.
    is_over: bool,
    /// A wait for room is in the kernel.
    waits_for_room: bool,
}

impl UringDriver {
    pub(super) fn new(limits: &ReactorLimits, memory: &ReceiveMemory) -> io::Result<Self> {
        let ring = Ring::new(limits)?;
        let buffers = BufferRing::new(&ring.submitter(), memory)?;
        ring.enable()?;
        let connections = limits.connections as usize;
        let mut driver = Self {
            ring,
            buffers,
            memory: Rc::clone(&memory.region),
            waker: Waker::new(Bell::new()?),
            states: vec![State::default(); connections],
            accepts: Vec::new(),
            starved: VecDeque::with_capacity(connections.min(1024)),
            closing: Vec::with_capacity(connections.min(1024)),
        };
        driver.watch_bell();
        Ok(driver)
    }

    /// A multishot poll is edge-triggered, which suits a bell that is never read; and a first look is taken
    /// as it is armed, so a ring before that is not lost.
    fn watch_bell(&mut self) {
        let bell = Fd(self.waker.bell().as_fd().as_raw_fd());
        let poll = opcode::PollAdd::new(bell, libc::POLLIN as u32).multi(true);
        self.ring.push(poll.build(), Tag::Bell);
    }

    fn cancel(&mut self, tag: Tag) {
        let cancel = opcode::AsyncCancel::new(tag.to_bits()).build();
        self.ring.push(cancel, Tag::Cancel);
    }

    fn submit_accept(&mut self, table: &mut Table, id: ListenerId, submit: Submit) {
        match submit {
            Submit::Nothing => {}
            Submit::Cancellation => self.cancel(Tag::Listener(id)),
            Submit::Operation => {
                table.note_if_shared(id);
                let listener = table
                    .listener(id)
                    .expect("a listener is never taken out of the table");
                let listening = Fd(listener.as_raw_fd());
                if table.is_shared(id) {
                    let poll = opcode::PollAdd::new(listening, libc::POLLIN as u32).multi(true);
                    return self.ring.push(poll.build(), Tag::Listener(id));
                }
                let accept = opcode::AcceptMulti::new(listening)
                    .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
                self.ring.push(accept.build(), Tag::Listener(id));
            }
        }
    }

    fn submit_receive(&mut self, table: &Table, token: Token, submit: Submit) {
        match submit {
            Submit::Nothing => {}
            Submit::Cancellation => self.cancel(Tag::Receive(token)),
            Submit::Operation => {
                if let Some(socket) = table.sockets.get(token) {
                    let receive = opcode::RecvMulti::new(Fd(socket.raw()), GROUP);
                    self.ring.push(receive.build(), Tag::Receive(token));
                }
            }
        }
    }

    /// Arms as many of those that went without a buffer as there are buffers, oldest first. Says whether more
    /// of them could be armed after this turn (some of these may need no buffer at all).
    fn rearm_starved(&mut self, table: &Table) -> bool {
        let mut free = self.buffers.free();
        while free > 0
            && let Some(token) = self.starved.pop_front()
        {
            if !table.sockets.is_open(token) {
                continue;
            }
            let state = &mut self.states[token.index()];
            state.in_starved = false;
            if std::mem::take(&mut state.is_starved) {
                let submit = state.receive.start();
                self.submit_receive(table, token, submit);
                free -= 1;
            }
        }
        !self.starved.is_empty() && self.buffers.free() > 0
    }

    fn complete(&mut self, table: &mut Table, completion: &cqueue::Entry) {
        let ended = !cqueue::more(completion.flags());
        match Tag::from_bits(completion.user_data()) {
            Tag::Listener(id) => self.complete_accept(table, id, completion.result(), ended),
            Tag::Receive(token) => self.complete_receive(table, token, completion, ended),
            Tag::Writable(token) => self.complete_writable(table, token),
            Tag::Bell if ended => self.watch_bell(),
            Tag::Bell | Tag::Cancel => {}
        }
    }

    fn complete_accept(&mut self, table: &mut Table, id: ListenerId, result: i32, ended: bool) {
        let accept = &mut self.accepts[usize::from(id.0)];
        let was_wanted = accept.is_wanted();
        let is_wanted = if ended { accept.ended() } else { was_wanted };
        let failure = if table.is_shared(id) && result >= 0 {
            self.accept_waiting(table, id).err()
        } else {
            let connection = accepted(table, result);
            connection
                .map(|token| self.announce(table, id, token))
                .err()
        };
        match failure {
            None if ended && is_wanted => self.resume_accept(table, id),
            Some(error) if was_wanted => {
                table.events.push_back(Event::AcceptFailed {
                    listener: id,
                    error,
                });
                self.pause_accept(table, id);
            }
            _ => {}
        }
    }

    fn announce(&mut self, table: &mut Table, id: ListenerId, token: Option<Token>) {
        if let Some(token) = token {
            self.states[token.index()] = State::default();
            table.events.push_back(Event::Accepted {
                listener: id,
                token,
            });
        }
    }

    /// A listener that others have too says that somebody waits there. It is polled, not accepted from: an accept in the ring of a process
    /// that was killed and cannot end stays there, and as the kernel wakes only one of several accepts (`EPOLLEXCLUSIVE`), it would take
    /// the wake of ours. Seen on 6.18: of 1 000 new connections 20 were accepted.
    fn accept_waiting(&mut self, table: &mut Table, id: ListenerId) -> io::Result<()> {
        while let Some(listener) = table.listener(id) {
            match socket::accept(listener.as_fd()) {
                Ok(connection) => {
                    let token = keep(table, connection)?;
                    self.announce(table, id, token);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if socket::is_passing_accept_error(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn complete_receive(
        &mut self,
        table: &mut Table,
        token: Token,
        completion: &cqueue::Entry,
        ended: bool,
    ) {
        let result = completion.result();
        if let Some(index) = cqueue::buffer_select(completion.flags()) {
            self.buffers.taken();
            if result > 0 && table.sockets.is_open(token) {
                let buffer = table.memory.lend(index, result as u32);
                table.events.push_back(Event::Received { token, buffer });
            } else {
                self.buffers.provide(&table.memory, index);
            }
        }
        if ended && table.sockets.is_open(token) {
            self.receive_ended(table, token, result);
        }
    }

    fn receive_ended(&mut self, table: &mut Table, token: Token, result: i32) {
        let state = &mut self.states[token.index()];
        let is_wanted = state.receive.ended();
        match -result {
            libc::ENOBUFS if is_wanted => self.starve(token),
            libc::ENOBUFS => {}
            0 => {
                state.is_over = true;
                table.events.push_back(Event::PeerClosed { token });
            }
            // Cancelled and wanted again, or ended by the kernel for reasons of its own.
            code if code < 0 || code == libc::ECANCELED || code == libc::EINTR => {
                if is_wanted {
                    self.receive(table, token);
                }
            }
            code => {
                state.is_over = true;
                let error = io::Error::from_raw_os_error(code);
                table
                    .events
                    .push_back(Event::ReceiveFailed { token, error });
            }
        }
    }

    fn starve(&mut self, token: Token) {
        let state = &mut self.states[token.index()];
        state.is_starved = true;
        if !std::mem::replace(&mut state.in_starved, true) {
            self.starved.push_back(token);
        }
    }

    fn complete_writable(&mut self, table: &mut Table, token: Token) {
        if table.sockets.is_open(token) {
            self.states[token.index()].waits_for_room = false;
            table.events.push_back(Event::Writable { token });
        }
    }

    fn complete_all(&mut self, table: &mut Table) {
        while let Some(completion) = self.ring.completion() {
            self.complete(table, &completion);
        }
    }
}

/// What an accept has brought: a connection, or nothing that matters to the listener. Errors: what stops it.
fn accepted(table: &mut Table, result: i32) -> io::Result<Option<Token>> {
    if result < 0 {
        let error = io::Error::from_raw_os_error(-result);
        let passing = -result == libc::ECANCELED || socket::is_passing_accept_error(&error);
        return if passing { Ok(None) } else { Err(error) };
    }
    // SAFETY: the kernel has just handed us this descriptor with the completion; nobody else owns it.
    keep(table, unsafe { OwnedFd::from_raw_fd(result) })
}

fn keep(table: &mut Table, connection: OwnedFd) -> io::Result<Option<Token>> {
    match table.sockets.insert(connection) {
        Some(token) => Ok(Some(token)),
        None => Err(io::ErrorKind::QuotaExceeded.into()),
    }
}

impl Driver for UringDriver {
    fn waker(&self) -> &Waker {
        &self.waker
    }

    /// A listener of our own is made blocking: for one that is not, older kernels answer an accept that finds nobody
    /// with `EAGAIN` instead of waiting.
    fn listen(&mut self, table: &mut Table, id: ListenerId) -> io::Result<()> {
        let listener = table
            .listener(id)
            .expect("the reactor has put it into the table");
        listener.set_nonblocking(table.is_shared(id))?;
        let slot = usize::from(id.0);
        if self.accepts.len() <= slot {
            self.accepts.resize(slot + 1, Multishot::Idle);
        }
        self.resume_accept(table, id);
        Ok(())
    }

    fn pause_accept(&mut self, table: &mut Table, id: ListenerId) {
        let submit = self.accepts[usize::from(id.0)].stop();
        self.submit_accept(table, id, submit);
    }

    fn is_accepting(&self, id: ListenerId) -> bool {
        self.accepts[usize::from(id.0)] != Multishot::Idle
    }

    fn resume_accept(&mut self, table: &mut Table, id: ListenerId) {
        let submit = self.accepts[usize::from(id.0)].start();
        self.submit_accept(table, id, submit);
    }

    fn adopt(&mut self, _: &mut Table, token: Token) -> io::Result<()> {
        self.states[token.index()] = State::default();
        Ok(())
    }

    fn receive(&mut self, table: &mut Table, token: Token) {
        let state = &mut self.states[token.index()];
        if !state.is_over && !state.is_starved {
            let submit = state.receive.start();
            self.submit_receive(table, token, submit);
        }
    }

    fn stop_receive(&mut self, table: &mut Table, token: Token) {
        let state = &mut self.states[token.index()];
        state.is_starved = false;
        let submit = state.receive.stop();
        self.submit_receive(table, token, submit);
    }

    fn wait_writable(&mut self, table: &mut Table, token: Token) {
        let state = &mut self.states[token.index()];
        if std::mem::replace(&mut state.waits_for_room, true) {
            return;
        }
        if let Some(socket) = table.sockets.get(token) {
            let poll = opcode::PollAdd::new(Fd(socket.raw()), libc::POLLOUT as u32).build();
            self.ring.push(poll, Tag::Writable(token));
        }
    }

    fn close(&mut self, table: &mut Table, token: Token) {
        let mut state = std::mem::take(&mut self.states[token.index()]);
        if state.receive.stop() == Submit::Cancellation {
            self.cancel(Tag::Receive(token));
        }
        if state.waits_for_room {
            self.cancel(Tag::Writable(token));
        }
        let descriptor = table.sockets.remove(token);
        if self.ring.has_unsubmitted() {
            self.closing.extend(descriptor);
        }
    }

    fn give_back(&mut self, table: &Table, index: u16) {
        self.buffers.provide(&table.memory, index);
    }

    fn turn(&mut self, table: &mut Table, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.rearm_starved(table) {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        let entered = self.ring.enter(self.waker.about_to_wait(timeout));
        if !self.ring.has_unsubmitted() {
            self.closing.clear();
        }
        if self.waker.has_waited() {
            table.events.push_back(Event::Wake);
        }
        self.complete_all(table);
        entered
    }
}

impl Drop for UringDriver {
    /// The kernel must be done with the receive memory before it is unmapped; closing a ring ends its
    /// operations some time later. If it does not let go, the memory is leaked: it may still be written to.
    fn drop(&mut self) {
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any().all()).build();
        self.ring.push(cancel, Tag::Cancel);
        let deadline = Instant::now() + CANCEL_PATIENCE;
        while self.ring.in_kernel() > 0 && Instant::now() < deadline {
            if self.ring.enter(Some(CANCEL_PATIENCE)).is_err() {
                break;
            }
            while let Some(completion) = self.ring.completion() {
                close_late_connection(&completion);
            }
        }
        if self.ring.in_kernel() > 0 {
            std::mem::forget(Rc::clone(&self.memory));
        }
    }
}

/// A connection accepted while the reactor ended.
fn close_late_connection(completion: &cqueue::Entry) {
    let is_accept = matches!(Tag::from_bits(completion.user_data()), Tag::Listener(_));
    if is_accept && completion.result() >= 0 {
        // SAFETY: the kernel has handed us this descriptor with the completion; nobody else owns it.
        drop(unsafe { OwnedFd::from_raw_fd(completion.result()) });
    }
}
