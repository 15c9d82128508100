//! Bare readiness of sockets, for clients that read in a way of their own (the load generator throws bodies
//! away uncopied). Servers use the [`crate::reactor`].

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::reactor::Poller;

/// Sockets whose next bytes, room or end are waited for together.
pub struct Watch {
    poller: Poller,
}

impl Watch {
    /// Errors: what the kernel says (out of descriptors).
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
        })
    }

    /// Watches `socket` until it is closed. Edge-triggered: `key` comes out once each time bytes or the end
    /// arrive, so the caller reads until `WouldBlock` or until it knows that nothing follows.
    ///
    /// Errors: what the kernel says (already watched, out of memory).
    pub fn add(&self, socket: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        self.poller.register(socket.as_raw_fd(), key)
    }

    /// Waits at most `timeout`; how many keys [`Watch::key`] can be asked for. A signal ends the wait early.
    ///
    /// Errors: what the kernel says.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<usize> {
        self.poller.wait_exactly(timeout)
    }

    /// The `number`th key of the last wait.
    ///
    /// # Panics
    /// If the last wait did not give that many.
    pub fn key(&self, number: usize) -> u64 {
        self.poller.readiness(number).key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::discard;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn bytes_are_announced_and_thrown_away_exactly() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut watch = Watch::new().unwrap();
        watch.add(socket.as_fd(), 7).unwrap();
        peer.write_all(&[1; 100_000]).unwrap();
        peer.write_all(b"rest").unwrap();

        let mut left = 100_000;
        while left > 0 {
            let count = watch.wait(Duration::from_secs(10)).unwrap();
            assert!((0..count).all(|number| watch.key(number) == 7));
            while let Ok(gone) = discard(socket.as_fd(), left) {
                left -= gone;
                if left == 0 {
                    break;
                }
            }
        }
        let mut rest = [0; 4];
        socket.set_nonblocking(false).unwrap();
        io::Read::read_exact(&mut &socket, &mut rest).unwrap();
        assert_eq!(&rest, b"rest");
    }
}
