//! A handshake: bytes in, bytes out, and at last a [`Session`] or the reason why there is none. No socket, no clock.
//!
//! rustls is shown one record after another and no further: what follows the client's Finished is application data, and left to the session.
//!
//! ```text
//!  Handshake ── received ──► advance ──► Pending(Handshake)        output: ServerHello .. Finished, HelloRetryRequest
//!                               ├──────► Done(Session)             output: NewSessionTicket
//!                               └──────► Failed(Reason)            output: an alert, or a word in plain text
//! ```

use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{Error, HandshakeKind, PeerIncompatible, ServerConfig};

use super::agreed::{Agreed, Path, Suite};
use super::records::{RECORD_BYTES, record_length};
use super::session::Session;
use crate::limits::HANDSHAKE_BYTES;

/// Why a handshake failed: the label set of `oca_tls_handshake_failures_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It took too long.
    Timeout,
    /// The peer closed before it was done.
    PeerClosed,
    /// The peer speaks HTTP without TLS.
    PlainHttp,
    /// The peer sent more than a handshake needs.
    TooLong,
    /// No version, suite, group or signature that both have.
    NothingInCommon,
    /// No application protocol that both have (ALPN).
    Alpn,
    /// The peer's certificate is missing, or not accepted.
    Certificate,
    /// The peer ended it with an alert: it may not trust our certificate.
    Alert,
    /// The peer sent what no client may send.
    Protocol,
    /// A fault of our own.
    Internal,
}

impl Reason {
    /// All of them, in the order of [`Reason::number`].
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::PeerClosed,
        Self::PlainHttp,
        Self::TooLong,
        Self::NothingInCommon,
        Self::Alpn,
        Self::Certificate,
        Self::Alert,
        Self::Protocol,
        Self::Internal,
    ];

    /// Its place in [`Reason::ALL`].
    pub fn number(self) -> usize {
        self as usize
    }

    /// One word for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::PeerClosed => "peer_closed",
            Self::PlainHttp => "plain_http",
            Self::TooLong => "too_long",
            Self::NothingInCommon => "nothing_in_common",
            Self::Alpn => "alpn",
            Self::Certificate => "certificate",
            Self::Alert => "alert",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Self::Certificate,
            Error::NoApplicationProtocol => Self::Alpn,
            Error::PeerIncompatible(
                PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
            ) => Self::Certificate,
            Error::PeerIncompatible(_) => Self::NothingInCommon,
            Error::AlertReceived(_) => Self::Alert,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::PeerSentOversizedRecord
            | Error::DecryptError => Self::Protocol,
            _ => Self::Internal,
        }
    }
}

/// What came of [`Handshake::advance`].
pub enum Progress {
    /// It needs more bytes of the peer.
    Pending(Handshake),
    /// It is done.
    Done(Box<Session>, Agreed),
    /// There will be no connection.
    Failed(Reason),
}

/// What speaks HTTP without TLS gets this.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 49\r\nConnection: close\r\n\r\n\
    This port speaks TLS: the address is https://...\n";

/// A handshake under way.
pub struct Handshake {
    config: Arc<ServerConfig>,
    /// Made when the client has said something.
    tls: Option<Box<UnbufferedServerConnection>>,
    /// What rustls has not used yet.
    input: Vec<u8>,
    /// As much of it was shown to rustls: whole records.
    shown: usize,
    /// All that the peer has sent.
    received: usize,
}

impl Handshake {
    /// With a client that was just accepted. Costs nothing until it says something.
    pub fn new(config: &Arc<ServerConfig>) -> Self {
        Self {
            config: Arc::clone(config),
            tls: None,
            input: Vec::new(),
            shown: 0,
            received: 0,
        }
    }

    /// Takes bytes of the client. Cheap: what they mean is looked at by [`Handshake::advance`].
    pub fn received(&mut self, bytes: &[u8]) {
        self.received = self.received.saturating_add(bytes.len());
        self.input.extend_from_slice(bytes);
    }

    /// Whether the client has said nothing.
    pub fn is_unspoken(&self) -> bool {
        self.received == 0
    }

    /// Whether to go on receiving while its turn has not come: otherwise what lies here is enough to go on with.
    pub fn is_hungry(&self) -> bool {
        self.input.len() < RECORD_BYTES
    }

    /// Goes as far as the input allows; what is to be sent is added to `output`, also if it has failed.
    pub fn advance(mut self, output: &mut Vec<u8>) -> Progress {
        if self.input.first().is_some_and(u8::is_ascii_uppercase) {
            output.extend_from_slice(PLAIN_HTTP);
            return Progress::Failed(Reason::PlainHttp);
        }
        let tls = match self.tls.take() {
            Some(tls) => Ok(tls),
            None => UnbufferedServerConnection::new(Arc::clone(&self.config)).map(Box::new),
        };
        let Ok(mut tls) = tls else {
            return Progress::Failed(Reason::Internal);
        };
        loop {
            match self.process(&mut tls, output) {
                Ok(Ask::More) if self.show_next() => {}
                Ok(Ask::More) if self.received > HANDSHAKE_BYTES => {
                    return Progress::Failed(Reason::TooLong);
                }
                Ok(Ask::More) => {
                    self.tls = Some(tls);
                    return Progress::Pending(self);
                }
                Ok(Ask::Nothing) => return self.finish(*tls),
                Ok(Ask::Closed) => return Progress::Failed(Reason::PeerClosed),
                Err(error) => {
                    self.last_words(&mut tls, output);
                    return Progress::Failed(Reason::of(&error));
                }
            }
        }
    }

    /// Shows one more record to rustls; whether there is one. A header that is wrong is shown as it is.
    fn show_next(&mut self) -> bool {
        let rest = &self.input[self.shown..];
        let next = match record_length(rest) {
            Ok(Some(length)) if length <= rest.len() => length,
            Ok(_) => return false,
            Err(_) => rest.len(),
        };
        self.shown += next;
        true
    }

    fn process(
        &mut self,
        tls: &mut UnbufferedServerConnection,
        output: &mut Vec<u8>,
    ) -> Result<Ask, Error> {
        loop {
            let UnbufferedStatus { discard, state } =
                tls.process_tls_records(&mut self.input[..self.shown]);
            let ask = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(|out| data.encode(out), output)?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::BlockedHandshake) => Some(Ok(Ask::More)),
                Ok(ConnectionState::WriteTraffic(_)) => Some(Ok(Ask::Nothing)),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(Ok(Ask::Closed)),
                Ok(_) => Some(Err(Error::General("data during the handshake".into()))),
                Err(error) => Some(Err(error)),
            };
            self.input.drain(..discard);
            self.shown -= discard;
            if let Some(ask) = ask {
                return ask;
            }
        }
    }

    /// What rustls has queued when it has failed, an alert at the end. Asked for more than that it would look at the input again, which it
    /// must not after a fault.
    fn last_words(&mut self, tls: &mut UnbufferedServerConnection, output: &mut Vec<u8>) {
        while tls.wants_write() {
            let status = tls.process_tls_records(&mut self.input[..self.shown]);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else {
                return;
            };
            if encode(|out| data.encode(out), output).is_err() {
                return;
            }
        }
    }

    /// The keys are taken out of rustls, which has nothing more to say.
    fn finish(self, tls: UnbufferedServerConnection) -> Progress {
        let suite = tls.negotiated_cipher_suite();
        let suite = suite.and_then(|suite| Suite::of(suite.suite()));
        let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let session = tls.dangerous_into_kernel_connection().ok();
        let session = session.and_then(|(secrets, keys)| Session::new(&secrets, keys));
        let (Some(mut session), Some(suite)) = (session, suite) else {
            return Progress::Failed(Reason::Internal);
        };
        // Not more than was received during a handshake, which is less than a session keeps.
        let rest = self.input.get(self.shown..).unwrap_or_default();
        match session.keep(rest, Vec::new) {
            Ok(()) => {
                let path = Path::User;
                let agreed = Agreed {
                    suite,
                    is_resumed,
                    path,
                };
                Progress::Done(Box::new(session), agreed)
            }
            Err(_) => Progress::Failed(Reason::TooLong),
        }
    }
}

/// What rustls waits for.
enum Ask {
    /// Another record.
    More,
    /// Nothing: the handshake is done.
    Nothing,
    /// Nothing: the peer has closed.
    Closed,
}

/// Adds what `encode` writes to `output`.
fn encode(
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    output: &mut Vec<u8>,
) -> Result<(), Error> {
    let begin = output.len();
    if let Err(EncodeError::InsufficientSize(needed)) = encode(&mut []) {
        output.resize(begin + needed.required_size, 0);
        let written = encode(&mut output[begin..]);
        let written = written.map_err(|error| Error::General(error.to_string()))?;
        output.truncate(begin + written);
    }
    Ok(())
}
