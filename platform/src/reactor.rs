//! The reactor: sockets and wakes of one core. Operations go in, completions come out.
//!
//! ```text
//! loop {
//!     reactor.turn(timers.next(now))?;              // submit, and wait for anything
//!     while let Some(event) = reactor.next_event() {
//!         Accepted    -> reactor.receive(token)     // stays armed, also during responses
//!         Received    -> parse; reactor.sendfile(token, head, file, ..); reactor.release(buffer)
//!         sent less   -> reactor.wait_writable(token) ... Writable -> go on
//!         Wake        -> look into the mailboxes
//!     }
//! }
//! ```
//!
//! Two backends behind one face: io_uring ([`Backend::Uring`]), and readiness made to look like completions
//! ([`Backend::Epoll`], [`Backend::Kqueue`]).
//!
//! Invariants:
//! - One reactor belongs to one thread (it is not `Send`); only [`Waker`] crosses threads.
//! - It carries sockets and wakes, never a disk: on io_uring the kernel itself refuses every other operation.
//! - Nothing comes for a token after [`Reactor::close`], whatever the kernel had under way.
//! - Once warm, a turn allocates nothing and takes no lock.
//!
//! It deliberately has no timers: `turn` takes a timeout, [`crate::timer::TimerWheel`] computes it.

mod backend;
mod bell;
mod driver;
mod event;
mod limits;
mod readiness;
mod system;
mod table;
mod tag;
#[cfg(target_os = "linux")]
mod uring;
mod waker;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

pub use backend::{Backend, BackendUnavailable, Chosen, UnknownBackend, choose_backend};
pub use event::{Event, ListenerId, Listening, ReceiveBuffer, Token};
pub use limits::{MAX_CONNECTIONS, MAX_RECEIVE_BUFFERS, ReactorLimits};
pub use waker::Waker;

pub(crate) use readiness::Poller;

use self::driver::Driver;
use self::limits::LONGEST_WAIT;
use self::table::{Socket, Table};
pub use crate::sendfile::{More, Progress};
use crate::{sendfile, socket};

/// See the module.
pub struct Reactor {
    /// Before `table`, so that it is dropped first: its kernel may write into the table's memory.
    driver: Box<dyn Driver>,
    table: Table,
    backend: Backend,
}

impl Reactor {
    /// Opens `backend`; everything it will ever need is allocated here.
    ///
    /// Errors: `Unsupported` for a backend of another system, `InvalidInput` for limits out of bounds, and
    /// what the kernel says (see [`choose_backend`] for finding one that works).
    pub fn new(backend: Backend, limits: &ReactorLimits) -> io::Result<Self> {
        let table = Table::new(limits)?;
        Ok(Self {
            driver: system::open(backend, limits, &table)?,
            table,
            backend,
        })
    }

    /// What it stands on.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// A handle that wakes this reactor from any thread.
    pub fn waker(&self) -> Waker {
        self.driver.waker().clone()
    }

    /// Accepts from `listener` until [`Reactor::pause_accept`], an [`Event::AcceptFailed`], or the end.
    ///
    /// Errors: `AlreadyExists` if `id` is taken; what the kernel says.
    pub fn listen(&mut self, id: ListenerId, listener: impl Into<Listening>) -> io::Result<()> {
        let (listener, is_shared) = match listener.into() {
            Listening::Own(listener) => (listener, false),
            Listening::Shared(listener) => (listener, true),
        };
        self.table.keep_listener(id, listener, is_shared)?;
        self.driver.listen(&mut self.table, id)
    }

    /// Leaves new connections in the kernel's queue. A few may still come out that were accepted before.
    pub fn pause_accept(&mut self, id: ListenerId) {
        if self.table.listener(id).is_some() {
            self.driver.pause_accept(&mut self.table, id);
        }
    }

    /// Whether connections may still come out of a listener: after [`Reactor::pause_accept`] until the kernel has let go.
    pub fn is_accepting(&self, id: ListenerId) -> bool {
        self.table.listener(id).is_some() && self.driver.is_accepting(id)
    }

    /// Accepts again, after [`Reactor::pause_accept`] or [`Event::AcceptFailed`].
    pub fn resume_accept(&mut self, id: ListenerId) {
        if self.table.listener(id).is_some() {
            self.driver.resume_accept(&mut self.table, id);
        }
    }

    /// Takes in a connected stream socket that was not accepted here, and makes it non-blocking.
    ///
    /// Errors: `QuotaExceeded` at the limit of connections; what the kernel says. The socket is closed then.
    pub fn adopt(&mut self, socket: OwnedFd) -> io::Result<Token> {
        socket::set_nonblocking(socket.as_fd())?;
        let token = self
            .table
            .sockets
            .insert(socket)
            .ok_or(io::ErrorKind::QuotaExceeded)?;
        if let Err(error) = self.driver.adopt(&mut self.table, token) {
            self.table.sockets.remove(token);
            return Err(error);
        }
        Ok(token)
    }

    /// Asks for the peer's bytes, from now until [`Reactor::stop_receive`]: [`Event::Received`] as often as
    /// there are any. Idempotent; without effect after `PeerClosed` or `ReceiveFailed`.
    ///
    /// Leave it armed during responses: on io_uring, to stop and start again for each request costs 1 us of
    /// the 6 us that a request of 16 KiB takes (one core, 64 connections, loopback, Linux 6.18).
    ///
    /// While all buffers are lent out nothing is received; those who had to wait come first, in order.
    pub fn receive(&mut self, token: Token) {
        if self.table.sockets.is_open(token) {
            self.driver.receive(&mut self.table, token);
        }
    }

    /// Leaves further bytes in the kernel, which slows the peer down. What had been received before the
    /// kernel learnt of it still comes out: keep it, it is not repeated. On io_uring that may be some dozen
    /// buffers if the peer floods (the kernel takes up to 33 for one connection before it turns to the next);
    /// so copy them out or close, rather than hold buffers that others wait for.
    pub fn stop_receive(&mut self, token: Token) {
        if self.table.sockets.is_open(token) {
            self.driver.stop_receive(&mut self.table, token);
        }
    }

    /// Asks for one [`Event::Writable`]: in the next turn if there is room already. Idempotent until it comes.
    pub fn wait_writable(&mut self, token: Token) {
        if self.table.sockets.is_open(token) {
            self.driver.wait_writable(&mut self.table, token);
        }
    }

    /// Sends what the socket takes of `bytes`, without waiting; how much that was.
    ///
    /// Errors: `WouldBlock` if nothing fits, `NotConnected` for a dead token, or the socket's error.
    pub fn send(&self, token: Token, bytes: &[u8], more: More) -> io::Result<usize> {
        let socket = self.open_socket(token)?;
        note_room(socket, sendfile::send(socket.as_fd(), bytes, more))
    }

    /// Sends `head` (may be empty) and then `length` bytes of `file` from `offset`, without waiting for the
    /// socket; how much of each went. The file's bytes must be in memory: this thread would wait for a disk.
    ///
    /// Errors: `WouldBlock` if nothing fits, `UnexpectedEof` if the file ends before `offset + length`,
    /// `NotConnected` for a dead token, or the socket's error.
    pub fn sendfile(
        &self,
        token: Token,
        head: &[u8],
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
        more: More,
    ) -> io::Result<Progress> {
        let socket = self.open_socket(token)?;
        let piece = sendfile::FilePiece {
            file,
            offset,
            length,
        };
        note_room(
            socket,
            sendfile::send_head_and_file(socket.as_fd(), head, piece, more),
        )
    }

    /// Tells the peer that no more will come. Nothing to report: a broken connection is told by receiving.
    pub fn shutdown_write(&self, token: Token) {
        if let Some(socket) = self.table.sockets.get(token) {
            socket::shutdown_write(socket.as_fd());
        }
    }

    /// Who is at the other end. Errors: `NotConnected`.
    pub fn peer_address(&self, token: Token) -> io::Result<SocketAddr> {
        socket::peer_address(self.open_socket(token)?.as_fd())
    }

    /// The socket, for options and statistics; never for reading or writing.
    ///
    /// # Panics
    /// If the token is dead: the caller has closed it.
    pub fn descriptor(&self, token: Token) -> BorrowedFd<'_> {
        self.table
            .sockets
            .get(token)
            .expect("the caller uses no token after closing it")
            .as_fd()
    }

    /// Closes the connection. The token is dead at once: events about it that wait to be handed out are
    /// swallowed, and so is whatever the kernel still completes.
    pub fn close(&mut self, token: Token) {
        if self.table.sockets.is_open(token) {
            self.driver.close(&mut self.table, token);
        }
    }

    /// Gives everything asked for to the kernel and waits until something has happened, for at most
    /// `timeout` (`None`: for ever). It may return early with nothing. Then [`Reactor::next_event`] is to be
    /// called until it says `None`.
    ///
    /// Errors: those of the kernel interface itself, which nothing here can mend.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.table.events.is_empty() {
            timeout.map(|timeout| timeout.min(LONGEST_WAIT))
        } else {
            Some(Duration::ZERO)
        };
        self.driver.turn(&mut self.table, timeout)
    }

    /// The next thing that has happened.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(event) = self.table.events.pop_front() {
            let closed = event
                .token()
                .is_some_and(|token| !self.table.sockets.is_open(token));
            match event {
                Event::Received { buffer, .. } if closed => self.release(buffer),
                _ if closed => {}
                event => return Some(event),
            }
        }
        None
    }

    /// The bytes that were received into `buffer`.
    ///
    /// # Panics
    /// If `buffer` is of another reactor.
    pub fn bytes<'a>(&'a self, buffer: &'a ReceiveBuffer) -> &'a [u8] {
        self.table.memory.bytes(buffer)
    }

    /// Gives a buffer back, to be filled again.
    ///
    /// # Panics
    /// If `buffer` is of another reactor.
    pub fn release(&mut self, buffer: ReceiveBuffer) {
        let index = self.table.memory.take_back(buffer);
        self.driver.give_back(&self.table, index);
    }

    fn open_socket(&self, token: Token) -> io::Result<&Socket> {
        self.table
            .sockets
            .get(token)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// An edge-triggered kernel tells of room only after a send that found none.
fn note_room<T>(socket: &Socket, sent: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &sent
        && error.kind() == io::ErrorKind::WouldBlock
    {
        socket.writable.set(false);
    }
    sent
}

/// Fails to compile if `Reactor` becomes `Send`: then both implementations fit and `_` is ambiguous.
const _: fn() = || {
    trait AmbiguousIfSend<A> {
        fn check() {}
    }
    impl<T: ?Sized> AmbiguousIfSend<()> for T {}
    struct IsSend;
    impl<T: ?Sized + Send> AmbiguousIfSend<IsSend> for T {}
    let _ = <Reactor as AmbiguousIfSend<_>>::check;
};
