//! The smallest HTTP/1.1 client that can tell exactly what a server did.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A response, whole.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// A connection that is kept.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    pub(crate) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        Ok(Self::on(stream))
    }
}

impl<S: Read + Write> Client<S> {
    /// Over whatever carries bytes.
    pub(crate) fn on(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    pub(crate) fn get(&mut self, path: &str, fields: &[&str]) -> io::Result<Response> {
        self.request("GET", path, fields)
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[&str],
    ) -> io::Result<Response> {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"
        ))?;
        self.response(method == "HEAD")
    }

    /// Reads one response; an error if the connection ends before it is complete.
    pub(crate) fn response(&mut self, head_only: bool) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {head:?}")))?;
        let mut response = Response {
            status,
            head,
            body: Vec::new(),
        };
        let without_body = head_only || matches!(status, 204 | 304);
        let length = if without_body {
            0
        } else {
            response
                .field("Content-Length")
                .map_or(0, |length| length.parse().expect("digits"))
        };
        while self.buffer.len() < end + length {
            self.fill()?;
        }
        response.body = self.buffer[end..end + length].to_vec();
        self.buffer.drain(..end + length);
        Ok(response)
    }

    /// Whether the server closed, with nothing more to say.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && matches!(self.stream.read(&mut [0; 1]), Ok(0))
    }

    /// What has come of the body of a 206 that is not complete.
    pub(crate) fn unfinished_body(&self) -> Option<&[u8]> {
        let end = self
            .buffer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")?;
        self.buffer
            .starts_with(b"HTTP/1.1 206")
            .then(|| &self.buffer[end + 4..])
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut part = [0; 64 * 1024];
        let length = loop {
            match self.stream.read(&mut part) {
                // signal(7): after a stop and SIGCONT, a read with a timeout ends so, without any handler.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if length == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed in the middle of a response",
            ));
        }
        self.buffer.extend_from_slice(&part[..length]);
        Ok(())
    }
}

/// One request on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str, fields: &[&str]) -> io::Result<Response> {
    Client::connect(address)?.get(path, fields)
}
