//! A reactor with one listener, and blocking peers on the same thread.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use platform::reactor::{
    Backend, Event, ListenerId, Reactor, ReactorLimits, Token, choose_backend,
};
use platform::socket::{ListenOptions, bind_listeners};

pub(crate) const LISTENER: ListenerId = ListenerId(0);
/// Longer than anything here takes; reached only by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

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

    /// Lets the reactor do what it can without waiting, and takes nothing out of it that was expected.
    pub(crate) fn expect_silence(&mut self) {
        for _ in 0..5 {
            self.reactor.turn(Some(Duration::from_millis(1))).unwrap();
            if let Some(event) = self.reactor.next_event() {
                panic!("out of the silence: {event:?}");
            }
        }
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
