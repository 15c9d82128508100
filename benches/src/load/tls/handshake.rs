//! A handshake on a socket that does not block.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::unbuffered::{ConnectionState, EncodeError};
use rustls::{ExtractedSecrets, HandshakeKind};

/// Bytes read at a time: most first flights of a server are shorter.
const READ_BYTES: usize = 4096;

/// One side's words, until both are done.
pub(crate) struct Handshake {
    /// None: [`take`](Self::take)n.
    connection: Option<UnbufferedClientConnection>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Handshake {
    pub(crate) fn new(connection: UnbufferedClientConnection) -> Self {
        Self {
            connection: Some(connection),
            incoming: Vec::new(),
            outgoing: Vec::new(),
        }
    }

    /// Goes on as far as it goes without waiting; whether it is over. The words that end it have been sent then.
    ///
    /// Errors: what the server does wrong; [`ErrorKind::UnexpectedEof`] if it has closed.
    pub(crate) fn advance(&mut self, socket: &TcpStream) -> io::Result<bool> {
        loop {
            match self.step(socket)? {
                Step::Again => {}
                Step::Over => return Ok(true),
                Step::Read => {
                    if !self.read(socket)? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// After [`close`](Self::close): takes what the server still says, tickets for one, without waiting; whether it has closed too.
    pub(crate) fn is_gone(&mut self, socket: &TcpStream) -> io::Result<bool> {
        loop {
            match self.read(socket) {
                Ok(true) => while let Step::Again = self.step(socket)? {},
                Ok(false) => return Ok(false),
                Err(error) => match error.kind() {
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => return Ok(true),
                    _ => return Err(error),
                },
            }
        }
    }

    /// How it went.
    pub(crate) fn kind(&mut self) -> io::Result<Option<HandshakeKind>> {
        Ok(self.connection()?.handshake_kind())
    }

    /// Says that nothing more comes.
    pub(crate) fn close(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        let mut words = [0; 64];
        let status = self.connection()?.process_tls_records(&mut []);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
            return Err(super::bad("the handshake is not over"));
        };
        let length = traffic
            .queue_close_notify(&mut words)
            .map_err(io::Error::other)?;
        socket.write_all(&words[..length])
    }

    /// What goes on after it, and bytes that came with its last ones.
    pub(super) fn take(
        &mut self,
    ) -> io::Result<(
        ExtractedSecrets,
        KernelConnection<ClientConnectionData>,
        Vec<u8>,
    )> {
        let connection = self.connection.take();
        let connection = connection.ok_or_else(|| super::bad("taken already"))?;
        let (secrets, connection) = connection
            .dangerous_into_kernel_connection()
            .map_err(io::Error::other)?;
        Ok((secrets, connection, std::mem::take(&mut self.incoming)))
    }

    fn connection(&mut self) -> io::Result<&mut UnbufferedClientConnection> {
        let connection = self.connection.as_mut();
        connection.ok_or_else(|| super::bad("taken already"))
    }

    fn step(&mut self, mut socket: &TcpStream) -> io::Result<Step> {
        let Self {
            connection: Some(connection),
            incoming,
            outgoing,
        } = self
        else {
            return Err(super::bad("taken already"));
        };
        let status = connection.process_tls_records(incoming);
        let done = status.discard;
        let step = match status.state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                let begin = outgoing.len();
                let need = match data.encode(&mut []) {
                    Err(EncodeError::InsufficientSize(size)) => size.required_size,
                    Err(error) => return Err(io::Error::other(error)),
                    Ok(length) => length,
                };
                outgoing.resize(begin + need, 0);
                let length = data.encode(&mut outgoing[begin..]);
                outgoing.truncate(begin + length.map_err(io::Error::other)?);
                Step::Again
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                socket.write_all(outgoing)?;
                outgoing.clear();
                data.done();
                Step::Again
            }
            Ok(ConnectionState::BlockedHandshake) => Step::Read,
            Ok(
                ConnectionState::WriteTraffic(_)
                | ConnectionState::PeerClosed
                | ConnectionState::Closed,
            ) => Step::Over,
            Ok(other) => return Err(super::bad(&format!("within the handshake: {other:?}"))),
            Err(error) => return Err(super::bad(&format!("the handshake fails: {error}"))),
        };
        incoming.drain(..done);
        Ok(step)
    }

    /// Whether anything has come.
    fn read(&mut self, mut socket: &TcpStream) -> io::Result<bool> {
        let have = self.incoming.len();
        self.incoming.resize(have + READ_BYTES, 0);
        let result = socket.read(&mut self.incoming[have..]);
        self.incoming
            .truncate(have + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

enum Step {
    Again,
    /// More must come first.
    Read,
    Over,
}
