//! A reactor with one listener, and blocking peers on the same thread.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use platform::reactor::{
    Backend, Event, ListenerId, More, Reactor, ReactorLimits, Token, choose_backend,
};
use platform::socket::{ListenOptions, bind_listeners};

pub(crate) const LISTENER: ListenerId = ListenerId(0);
/// Longer than anything here takes; reached only by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Long enough for the kernel to finish what it can without anybody's help.
pub(crate) const TINY: Duration = Duration::from_millis(1);

/// Runs `case` on each backend that works here.
pub(crate) fn on_every_backend(case: impl Fn(Backend)) {
    for &backend in Backend::OF_THIS_SYSTEM {
        match choose_backend(Some(backend)) {
            Ok(_) => {
                println!("on {backend}");
                case(backend);
            }
            Err(error) => println!("not on {backend}: {error}"),
        }
    }
}

pub(crate) struct Server {
    pub(crate) reactor: Reactor,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn new(backend: Backend) -> Self {
        Self::with_limits(backend, &small_limits())
    }

    pub(crate) fn with_limits(backend: Backend, limits: &ReactorLimits) -> Self {
        let mut reactor = Reactor::new(backend, limits).unwrap();
        let listener = listener(&ListenOptions::default());
        let address = listener.local_addr().unwrap();
        reactor.listen(LISTENER, listener).unwrap();
        Self { reactor, address }
    }

    /// A connected peer, and the token of our end.
    pub(crate) fn connect(&mut self) -> (TcpStream, Token) {
        let peer = TcpStream::connect(self.address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.set_write_timeout(Some(PATIENCE)).unwrap();
        let token = self.accepted();
        (peer, token)
    }

    /// A peer on a socket pair. What its socket has room for depends on nothing but what was sent and read,
    /// whereas TCP's room changes by itself for a while.
    pub(crate) fn pair(&mut self) -> (UnixStream, Token) {
        let (peer, ours) = UnixStream::pair().unwrap();
        (peer, self.reactor.adopt(ours.into()).unwrap())
    }

    pub(crate) fn accepted(&mut self) -> Token {
        match self.next() {
            Event::Accepted {
                listener: LISTENER,
                token,
            } => token,
            other => panic!("instead of a connection: {other:?}"),
        }
    }

    /// The next event, however many turns it takes.
    pub(crate) fn next(&mut self) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.reactor.next_event() {
                return event;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing has come out of the reactor");
            self.reactor.turn(Some(left)).unwrap();
        }
    }

    /// Lets the reactor do what it can without anybody's help: nothing may come out.
    pub(crate) fn expect_silence(&mut self) {
        for _ in 0..5 {
            self.reactor.turn(Some(TINY)).unwrap();
            if let Some(event) = self.reactor.next_event() {
                panic!("out of the silence: {event:?}");
            }
        }
    }

    /// Nothing comes out, and turns last as long as they may. (A signal may end one early: a ring that has
    /// just ended interrupts its thread once or twice.)
    pub(crate) fn assert_sleeps(&mut self) {
        let start = Instant::now();
        let mut turns = 0;
        while start.elapsed() < Duration::from_millis(60) {
            self.reactor.turn(Some(Duration::from_millis(20))).unwrap();
            assert!(self.reactor.next_event().is_none());
            turns += 1;
        }
        assert!(turns <= 10, "{turns} turns in the time of three");
    }

    /// Bytes of `token`, exactly `length` of them, in whatever pieces they come.
    pub(crate) fn receive_exactly(&mut self, token: Token, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let (of, piece) = self.received();
            assert_eq!(of, token);
            bytes.extend(piece);
        }
        assert_eq!(bytes.len(), length);
        bytes
    }

    /// The next event, which must be bytes; the buffer is given back.
    pub(crate) fn received(&mut self) -> (Token, Vec<u8>) {
        match self.next() {
            Event::Received { token, buffer } => {
                let bytes = self.reactor.bytes(&buffer).to_vec();
                assert_eq!(bytes.len(), buffer.len());
                self.reactor.release(buffer);
                (token, bytes)
            }
            other => panic!("instead of bytes: {other:?}"),
        }
    }
}

/// Sends until nothing fits any more; how many bytes that was.
pub(crate) fn fill(server: &Server, token: Token) -> usize {
    let bytes = [0; 64 * 1024];
    let mut queued = 0;
    loop {
        match server.reactor.send(token, &bytes, More::No) {
            Ok(sent) => queued += sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return queued,
            Err(error) => panic!("send: {error}"),
        }
    }
}

pub(crate) fn small_limits() -> ReactorLimits {
    ReactorLimits {
        connections: 256,
        receive_buffers: 16,
        receive_buffer_bytes: 1024,
    }
}

pub(crate) fn listener(options: &ListenOptions) -> TcpListener {
    bind_listeners("127.0.0.1:0".parse().unwrap(), 1, options)
        .unwrap()
        .remove(0)
}

/// Bytes that differ from place to place, so that a misplaced piece is noticed.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|place| (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}
