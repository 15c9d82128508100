//! A server for tests, which answers ranges as the test says.

use std::io::{BufRead, BufReader, Lines};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// What comes on one connection.
pub(crate) struct Requests(Lines<BufReader<TcpStream>>);

impl Requests {
    /// First and last byte that the next request asks for; `None` if it asks for no range, or when the client has left.
    pub(crate) fn next_range(&mut self) -> Option<(usize, usize)> {
        let mut range = None;
        loop {
            let line = self.0.next()?.ok()?;
            if line.is_empty() {
                return range;
            }
            if let Some(value) = line.strip_prefix("Range: bytes=") {
                let (first, last) = value.split_once('-')?;
                range = Some((first.parse().ok()?, last.parse().ok()?));
            }
        }
    }

    /// Waits until the client leaves.
    pub(crate) fn until_gone(&mut self) {
        self.0.next();
    }
}

/// Gives every connection to `answer`, until the test ends.
pub(crate) fn serve(
    answer: impl Fn(Requests, TcpStream) -> Option<()> + Copy + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let socket = socket.unwrap();
            let requests = Requests(BufReader::new(socket.try_clone().unwrap()).lines());
            std::thread::spawn(move || answer(requests, socket));
        }
    });
    address
}
