//! The readiness backend: a kernel that says "may be read" (epoll, kqueue) is made to look like one that
//! hands over what it has read.
//!
//! Each descriptor is registered once, edge-triggered, for both directions; closing it ends that. From then
//! on this file remembers what the kernel said: `readable` holds until a read finds less than it could take,
//! `writable` until a send finds no room. A socket with something to do stands in a queue; so
//! `stop_receive` and `receive` are flags and cost no system call.
//!
//! **Back-pressure**: a socket that is due for reading while no buffer is free simply stays in its queue,
//! in order, and the reactor sleeps until something else happens.
//!
//! It knows nothing of the kernel: `epoll.rs` and `kqueue.rs` are thin tables.

#[cfg(target_os = "linux")]
pub(super) mod epoll;
#[cfg(any(target_os = "freebsd", test))]
pub(super) mod kqueue;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

#[cfg(target_os = "linux")]
pub(crate) use epoll::Poller;
#[cfg(target_os = "freebsd")]
pub(crate) use kqueue::Poller;

use super::driver::Driver;
use super::event::{Event, ListenerId, Token};
use super::limits::{ACCEPTS_PER_TURN, ReactorLimits};
use super::table::Table;
use super::tag::Tag;
use super::waker::Waker;
use crate::socket;

/// What the kernel said of one descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    /// The `Tag` it was registered with.
    pub(crate) key: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has closed its side, or the connection is broken: reads will tell, up to the very end.
    pub(crate) ending: bool,
}

pub(super) struct ReadinessDriver {
    poller: Poller,
    waker: Waker,
    /// By socket index.
    states: Vec<State>,
    /// By listener id.
    accepts: Vec<Accept>,
    /// Numbers of the receive buffers that are free.
    free_buffers: Vec<u16>,
    /// Sockets that want bytes and may have them, first come first served.
    to_receive: VecDeque<Token>,
    /// Sockets that wait for room and have it.
    to_write: VecDeque<Token>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// The caller wants bytes.
    wants_bytes: bool,
    /// The kernel may have bytes, the end, or an error for us.
    readable: bool,
    /// The end is near: a short read does not mean that nothing follows.
    ending: bool,
    /// End or error were reported.
    over: bool,
    /// The caller waits for room.
    wants_room: bool,
    /// Stands in `to_receive`.
    in_to_receive: bool,
    /// Stands in `to_write`.
    in_to_write: bool,
}

#[derive(Clone, Copy, Default)]
struct Accept {
    wanted: bool,
    ready: bool,
}

impl ReadinessDriver {
    pub(super) fn new(limits: &ReactorLimits) -> io::Result<Self> {
        let poller = Poller::new()?;
        let waker = Waker::new(poller.bell()?);
        poller.watch_bell(waker.bell())?;
        let connections = limits.connections as usize;
        Ok(Self {
            poller,
            waker,
            states: vec![State::default(); connections],
            accepts: Vec::new(),
            free_buffers: (0..limits.receive_buffers).rev().collect(),
            to_receive: VecDeque::with_capacity(connections.min(1024)),
            to_write: VecDeque::with_capacity(connections.min(1024)),
        })
    }

    /// Whether there is work that needs no news from the kernel.
    fn has_work(&self) -> bool {
        let accepting = self
            .accepts
            .iter()
            .any(|accept| accept.wanted && accept.ready);
        let receiving = !self.to_receive.is_empty() && !self.free_buffers.is_empty();
        accepting || receiving || !self.to_write.is_empty()
    }

    fn note(&mut self, table: &Table, readiness: Readiness) {
        match Tag::from_bits(readiness.key) {
            Tag::Listener(id) => self.accepts[usize::from(id.0)].ready = true,
            Tag::Receive(token) => self.note_socket(table, token, readiness),
            Tag::Bell | Tag::Writable(_) | Tag::Cancel => {}
        }
    }

    fn note_socket(&mut self, table: &Table, token: Token, readiness: Readiness) {
        let Some(socket) = table.sockets.get(token) else {
            return;
        };
        let state = &mut self.states[token.index()];
        state.readable |= readiness.readable || readiness.ending;
        state.ending |= readiness.ending;
        if readiness.writable || readiness.ending {
            socket.writable.set(true);
        }
        self.queue_receive(token);
        self.queue_write(token, table);
    }

    fn queue_receive(&mut self, token: Token) {
        let state = &mut self.states[token.index()];
        if state.wants_bytes && state.readable && !state.over && !state.in_to_receive {
            state.in_to_receive = true;
            self.to_receive.push_back(token);
        }
    }

    fn queue_write(&mut self, token: Token, table: &Table) {
        let writable = table
            .sockets
            .get(token)
            .is_some_and(|socket| socket.writable.get());
        let state = &mut self.states[token.index()];
        if state.wants_room && writable && !state.in_to_write {
            state.in_to_write = true;
            self.to_write.push_back(token);
        }
    }

    fn accept_all(&mut self, table: &mut Table) {
        for slot in 0..self.accepts.len() {
            let id = ListenerId(slot as u16);
            for _ in 0..ACCEPTS_PER_TURN {
                if !(self.accepts[slot].wanted && self.accepts[slot].ready) {
                    break;
                }
                if let Err(error) = self.accept_one(table, id) {
                    self.accepts[slot].wanted = false;
                    table.events.push_back(Event::AcceptFailed {
                        listener: id,
                        error,
                    });
                }
            }
        }
    }

    /// Errors: those that will not go away by trying again.
    fn accept_one(&mut self, table: &mut Table, id: ListenerId) -> io::Result<()> {
        let listener = table
            .listener(id)
            .expect("a listener is never taken out of the table");
        match socket::accept(listener.as_fd()) {
            Ok(descriptor) => {
                let token = self.open(table, descriptor)?;
                table.events.push_back(Event::Accepted {
                    listener: id,
                    token,
                });
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.accepts[usize::from(id.0)].ready = false;
                Ok(())
            }
            Err(error) if socket::is_passing_accept_error(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn open(&mut self, table: &mut Table, descriptor: OwnedFd) -> io::Result<Token> {
        let token = table
            .sockets
            .insert(descriptor)
            .ok_or(io::ErrorKind::QuotaExceeded)?;
        if let Err(error) = self.adopt(table, token) {
            table.sockets.remove(token);
            return Err(error);
        }
        Ok(token)
    }

    /// One buffer for each socket in the queue, as long as there are buffers: no socket is read twice in
    /// one turn, whatever its peer sends.
    fn receive_all(&mut self, table: &mut Table) {
        for _ in 0..self.to_receive.len() {
            if self.free_buffers.is_empty() {
                break;
            }
            let token = self
                .to_receive
                .pop_front()
                .expect("the loop ends with the queue");
            if !table.sockets.is_open(token) {
                continue;
            }
            let state = &mut self.states[token.index()];
            state.in_to_receive = false;
            if state.wants_bytes {
                self.receive_one(table, token);
                self.queue_receive(token);
            }
        }
    }

    fn receive_one(&mut self, table: &mut Table, token: Token) {
        let (Some(socket), Some(index)) = (table.sockets.get(token), self.free_buffers.pop())
        else {
            return;
        };
        let room = table.memory.buffer_bytes() as usize;
        let received = socket::receive(socket.as_fd(), table.memory.address(index), room);
        let state = &mut self.states[token.index()];
        let event = match received {
            Ok(0) => {
                state.over = true;
                Event::PeerClosed { token }
            }
            Ok(length) => {
                state.readable = length == room || state.ending;
                let buffer = table.memory.lend(index, length as u32);
                table.events.push_back(Event::Received { token, buffer });
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                state.readable = false;
                self.free_buffers.push(index);
                return;
            }
            Err(error) => {
                state.over = true;
                Event::ReceiveFailed { token, error }
            }
        };
        self.free_buffers.push(index);
        table.events.push_back(event);
    }

    fn write_all(&mut self, table: &mut Table) {
        while let Some(token) = self.to_write.pop_front() {
            if table.sockets.is_open(token) {
                let state = &mut self.states[token.index()];
                state.in_to_write = false;
                state.wants_room = false;
                table.events.push_back(Event::Writable { token });
            }
        }
    }
}

impl Driver for ReadinessDriver {
    fn waker(&self) -> &Waker {
        &self.waker
    }

    fn listen(&mut self, table: &mut Table, id: ListenerId) -> io::Result<()> {
        let listener = table
            .listener(id)
            .expect("the reactor has put it into the table");
        listener.set_nonblocking(true)?;
        let slot = usize::from(id.0);
        if self.accepts.len() <= slot {
            self.accepts.resize(slot + 1, Accept::default());
        }
        self.accepts[slot] = Accept {
            wanted: true,
            ready: false,
        };
        self.poller
            .register(listener.as_raw_fd(), Tag::Listener(id).to_bits())
    }

    fn pause_accept(&mut self, _: &mut Table, id: ListenerId) {
        self.accepts[usize::from(id.0)].wanted = false;
    }

    fn is_accepting(&self, id: ListenerId) -> bool {
        self.accepts[usize::from(id.0)].wanted
    }

    fn resume_accept(&mut self, _: &mut Table, id: ListenerId) {
        self.accepts[usize::from(id.0)].wanted = true;
    }

    fn adopt(&mut self, table: &mut Table, token: Token) -> io::Result<()> {
        self.states[token.index()] = State::default();
        let socket = table.sockets.get(token).expect("it has just been put in");
        self.poller
            .register(socket.raw(), Tag::Receive(token).to_bits())
    }

    fn receive(&mut self, _: &mut Table, token: Token) {
        self.states[token.index()].wants_bytes = true;
        self.queue_receive(token);
    }

    fn stop_receive(&mut self, _: &mut Table, token: Token) {
        self.states[token.index()].wants_bytes = false;
    }

    fn wait_writable(&mut self, table: &mut Table, token: Token) {
        self.states[token.index()].wants_room = true;
        self.queue_write(token, table);
    }

    /// Closing the descriptor takes it out of the kernel's table; the queues skip dead tokens.
    fn close(&mut self, table: &mut Table, token: Token) {
        table.sockets.remove(token);
    }

    fn give_back(&mut self, _: &Table, index: u16) {
        self.free_buffers.push(index);
    }

    fn turn(&mut self, table: &mut Table, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.has_work() {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        let waited = self.poller.wait(self.waker.about_to_wait(timeout));
        if self.waker.has_waited() {
            table.events.push_back(Event::Wake);
        }
        for number in 0..waited? {
            let readiness = self.poller.readiness(number);
            self.note(table, readiness);
        }
        self.accept_all(table);
        self.receive_all(table);
        self.write_all(table);
        Ok(())
    }
}
