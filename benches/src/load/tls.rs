//! TLS under a connection of the load generator, made cheap, so that the client's core is not what is measured.
//!
//! rustls does the [`handshake`]; then records are handled here. Requests are sealed. Of responses, only records that are read are opened
//! ([`Session::read`]: the one with the head), and small ones, in which alerts and other words of the protocol come; the others are thrown
//! away in the kernel, their plaintext counted by the length in their header ([`Session::discard`]). Each record counts in the sequence
//! that the opening of the next one depends on, so that none can be lost or added unnoticed; but the bytes of those thrown away are not
//! checked at all. Whoever wants them checked reads everything ([`super::Check::Content`]).
//!
//! Padding of TLS 1.3 would be counted as plaintext: no server here pads.

mod handshake;
mod keys;
mod record;

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;

use platform::socket::discard;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;

use crate::tls::Client;
pub(crate) use handshake::Handshake;
use keys::Keys;
use record::{ALERT, APPLICATION_DATA, HANDSHAKE, HEADER_BYTES, Header};

/// Records of at most so many bytes are opened even where bodies are thrown away: alerts, tickets and updates of keys are that
/// small, and in TLS 1.3 look like any other record from outside.
const SMALL_BYTES: usize = 1024;

/// Types of handshake messages (RFC 8446, section 4).
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// One connection's TLS.
pub(super) enum Session {
    Shaking(Box<Handshake>),
    Open(Box<Records>),
}

impl Session {
    /// Says hello.
    pub(super) fn start(client: &Client, socket: &TcpStream) -> anyhow::Result<Self> {
        let mut handshake = Handshake::new(client.connection()?);
        handshake.advance(socket)?;
        Ok(Self::Shaking(Box::new(handshake)))
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Goes on with the handshake as far as it goes without waiting.
    ///
    /// Errors: whatever ends it; [`ErrorKind::UnexpectedEof`] if the server has closed.
    pub(super) fn advance(&mut self, socket: &TcpStream) -> io::Result<()> {
        if let Self::Shaking(handshake) = self
            && handshake.advance(socket)?
        {
            let records = Records::after(handshake)?;
            *self = Self::Open(Box::new(records));
        }
        Ok(())
    }

    fn records(&mut self) -> io::Result<&mut Records> {
        match self {
            Self::Open(records) => Ok(records),
            Self::Shaking(_) => Err(bad("the handshake is not over")),
        }
    }

    /// Seals and sends all of `plaintext`, which fits into one record.
    pub(super) fn write_all(&mut self, mut socket: &TcpStream, plaintext: &[u8]) -> io::Result<()> {
        let records = self.records()?;
        records.sealed.clear();
        let Records { send, sealed, .. } = records;
        send.seal(APPLICATION_DATA, plaintext, sealed)?;
        socket.write_all(&records.sealed)
    }

    /// Opens records; as [`Read::read`]. 0: the server has said that nothing more comes, or has closed.
    ///
    /// Errors: `WouldBlock`; an alert; what is no record, or was sealed with another key or as another one in the sequence.
    pub(super) fn read(&mut self, socket: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
        let records = self.records()?;
        loop {
            let count = records.take(into.len());
            if count > 0 {
                let end = records.unread.start;
                into[..count].copy_from_slice(&records.buffer[end - count..end]);
                return Ok(count);
            }
            if records.at_end(socket)? {
                return Ok(0);
            }
            records.open(socket)?;
        }
    }

    /// Throws away at most `most` bytes of plaintext: of records opened already, or a whole other one; how many.
    ///
    /// Errors: as [`read`](Self::read); a record that holds more than `most`.
    pub(super) fn discard(&mut self, socket: &TcpStream, most: usize) -> io::Result<usize> {
        let records = self.records()?;
        loop {
            let count = records.take(most);
            if count > 0 {
                return Ok(count);
            }
            if records.at_end(socket)? {
                return Ok(0);
            }
            match records.header {
                Some(header) if header.kind == APPLICATION_DATA && header.length > SMALL_BYTES => {
                    return records.skip(socket, header, most);
                }
                _ => records.open(socket)?,
            }
        }
    }
}

/// Records of both directions, after the handshake.
pub(super) struct Records {
    connection: KernelConnection<ClientConnectionData>,
    send: Keys,
    receive: Keys,
    sealed: Vec<u8>,
    /// What came with the last bytes of the handshake.
    early: Vec<u8>,
    /// Of the record under way, as far as it has come; its bytes after them.
    start: [u8; HEADER_BYTES],
    filled: usize,
    header: Option<Header>,
    /// Bytes of the record under way that were thrown away.
    gone: usize,
    /// A record to be opened; then its plaintext, of which this is not read yet.
    buffer: Vec<u8>,
    unread: std::ops::Range<usize>,
    closed: bool,
}

impl Records {
    fn after(handshake: &mut Handshake) -> io::Result<Self> {
        let (secrets, connection, early) = handshake.take()?;
        let version = connection.protocol_version();
        Ok(Self {
            send: Keys::new(version, secrets.tx)?,
            receive: Keys::new(version, secrets.rx)?,
            connection,
            sealed: Vec::new(),
            early,
            start: [0; HEADER_BYTES],
            filled: 0,
            header: None,
            gone: 0,
            buffer: Vec::new(),
            unread: 0..0,
            closed: false,
        })
    }

    /// Moves on in what was opened and not read, by at most `most`.
    fn take(&mut self, most: usize) -> usize {
        let count = self.unread.len().min(most);
        self.unread.start += count;
        count
    }

    /// Waits for the header of the next record; whether nothing follows.
    fn at_end(&mut self, socket: &TcpStream) -> io::Result<bool> {
        while !self.closed && self.header.is_none() {
            let mut rest = [0; HEADER_BYTES];
            let rest = &mut rest[..HEADER_BYTES - self.filled];
            let count = receive(&mut self.early, socket, rest)?;
            self.closed = count == 0;
            self.start[self.filled..self.filled + count].copy_from_slice(&rest[..count]);
            self.filled += count;
            if self.filled == HEADER_BYTES {
                self.header = Some(self.receive.header(self.start)?);
                self.buffer.clear();
            }
        }
        Ok(self.closed)
    }

    fn next_record(&mut self) {
        (self.filled, self.header, self.gone) = (0, None, 0);
    }

    /// Throws the record away; the length of its plaintext.
    fn skip(&mut self, socket: &TcpStream, header: Header, most: usize) -> io::Result<usize> {
        let length = header.length - self.receive.overhead();
        if length > most {
            return Err(bad("a record with more bytes than were asked for"));
        }
        while self.gone < header.length {
            let left = header.length - self.gone;
            let count = if self.early.is_empty() {
                discard(socket.as_fd(), left)?
            } else {
                let count = self.early.len().min(left);
                self.early.drain(..count);
                count
            };
            if count == 0 {
                self.closed = true;
                return Ok(0);
            }
            self.gone += count;
        }
        self.receive.count();
        self.next_record();
        Ok(length)
    }

    /// Opens the record under way, and obeys it if it is no application data.
    fn open(&mut self, socket: &TcpStream) -> io::Result<()> {
        let Some(header) = self.header else {
            return Ok(());
        };
        let mut have = self.gone;
        self.buffer.resize(header.length, 0);
        while have < header.length {
            let count = receive(&mut self.early, socket, &mut self.buffer[have..])?;
            if count == 0 {
                self.closed = true;
                return Ok(());
            }
            have += count;
            self.gone = have;
        }
        let (kind, plaintext) = self.receive.open(self.start, &mut self.buffer)?;
        self.next_record();
        match kind {
            APPLICATION_DATA => self.unread = plaintext,
            ALERT => self.alert(plaintext)?,
            HANDSHAKE => self.messages(socket, plaintext)?,
            other => return Err(bad(&format!("a record of type {other}"))),
        }
        Ok(())
    }

    fn alert(&mut self, place: std::ops::Range<usize>) -> io::Result<()> {
        match self.buffer[place] {
            // close_notify
            [_, 0] => {
                self.closed = true;
                Ok(())
            }
            [_, description] => Err(bad(&format!("the server sends alert {description}"))),
            _ => Err(bad("an alert that is none")),
        }
    }

    /// Later records are sealed with the next key; ours too, after having said so, if that was `asked` for.
    fn update_keys(&mut self, mut socket: &TcpStream, asked: bool) -> io::Result<()> {
        let version = self.connection.protocol_version();
        let next = self.connection.update_rx_secret();
        self.receive = Keys::new(version, next.map_err(io::Error::other)?)?;
        if asked {
            self.sealed.clear();
            let message = [KEY_UPDATE, 0, 0, 1, 0];
            self.send.seal(HANDSHAKE, &message, &mut self.sealed)?;
            socket.write_all(&self.sealed)?;
            let next = self.connection.update_tx_secret();
            self.send = Keys::new(version, next.map_err(io::Error::other)?)?;
        }
        Ok(())
    }

    /// What a server may say after the handshake.
    fn messages(&mut self, socket: &TcpStream, place: std::ops::Range<usize>) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[place];
        while let [kind, high, middle, low, after @ ..] = rest {
            let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
            let Some((message, after)) = after.split_at_checked(length) else {
                return Err(bad("a handshake message in several records"));
            };
            match (*kind, message) {
                (NEW_SESSION_TICKET, _) => {}
                // RFC 8446, section 4.6.3: 1 asks for ours.
                (KEY_UPDATE, [asked @ (0 | 1)]) if after.is_empty() => {
                    self.update_keys(socket, *asked == 1)?;
                }
                (other, _) => return Err(bad(&format!("handshake message {other}"))),
            }
            rest = after;
        }
        self.buffer = buffer;
        Ok(())
    }
}

/// What came early, then what comes from the socket.
fn receive(early: &mut Vec<u8>, mut socket: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    if early.is_empty() {
        return socket.read(into);
    }
    let count = early.len().min(into.len());
    into[..count].copy_from_slice(&early[..count]);
    early.drain(..count);
    Ok(count)
}

fn bad(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests;
