//! What comes in: records in, what they mean out. No socket, no allocation.

use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, HandshakeType, ProtocolVersion,
};

use super::records::{Fault, RecordKey};
use crate::limits::RECORDS_WITHOUT_DATA;

/// What one record meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// So many bytes of application data.
    Data(usize),
    /// Nothing to act on.
    Nothing,
    /// The peer will send no more (close_notify).
    Closed,
    /// The peer seals with its next key from now on.
    KeyUpdate {
        /// It wants the same of us.
        is_asked: bool,
    },
}

/// The receiving direction of one connection.
#[derive(Debug)]
pub(super) struct Opener {
    key: RecordKey,
    sequence: u64,
    /// Records since the last one with application data.
    without_data: u32,
}

impl Opener {
    pub(super) fn new(key: RecordKey, sequence: u64) -> Self {
        Self {
            key,
            sequence,
            without_data: 0,
        }
    }

    /// Opens one whole record into `plain`.
    ///
    /// # Errors
    /// What is wrong with it. Nothing can be opened after that.
    pub(super) fn open(&mut self, record: &[u8], plain: &mut [u8]) -> Result<Opened, Fault> {
        let (kind, length) = self.key.open(self.sequence, record, plain)?;
        self.sequence += 1;
        let content = plain.get(..length).unwrap_or_default();
        if kind == ContentType::ApplicationData && length > 0 {
            self.without_data = 0;
            return Ok(Opened::Data(length));
        }
        self.without_data += 1;
        if self.without_data > RECORDS_WITHOUT_DATA {
            return Err(Fault::Flood);
        }
        match kind {
            ContentType::ApplicationData => Ok(Opened::Nothing),
            ContentType::Alert => alert(content),
            ContentType::Handshake if self.key.is_tls13() => key_update(content),
            ContentType::Handshake => Err(renegotiation(content)),
            _ => Err(Fault::Unexpected),
        }
    }

    /// Opens with the next key from now on.
    pub(super) fn update(&mut self, secrets: &ConnectionTrafficSecrets) -> Result<(), Fault> {
        let key = RecordKey::new(ProtocolVersion::TLSv1_3, secrets);
        self.key = key.ok_or(Fault::CannotOpen)?;
        self.sequence = 0;
        Ok(())
    }
}

/// Level and description (RFC 8446 section 6). The level means nothing: an alert that is not known ends the connection.
fn alert(content: &[u8]) -> Result<Opened, Fault> {
    let [_, description] = *content else {
        return Err(Fault::Malformed);
    };
    match AlertDescription::from(description) {
        AlertDescription::CloseNotify => Ok(Opened::Closed),
        AlertDescription::UserCanceled => Ok(Opened::Nothing),
        _ => Err(Fault::Alert),
    }
}

/// The only message of a client that may follow its Finished: we ask for no certificate then. It is 5 bytes; a client that spreads them over
/// records is not known.
fn key_update(content: &[u8]) -> Result<Opened, Fault> {
    match content {
        [kind, ..] if HandshakeType::from(*kind) != HandshakeType::KeyUpdate => {
            Err(Fault::Unexpected)
        }
        [_, 0, 0, 1, 0] => Ok(Opened::KeyUpdate { is_asked: false }),
        [_, 0, 0, 1, 1] => Ok(Opened::KeyUpdate { is_asked: true }),
        _ => Err(Fault::Malformed),
    }
}

fn renegotiation(content: &[u8]) -> Fault {
    match content {
        [kind, ..] if HandshakeType::from(*kind) == HandshakeType::ClientHello => {
            Fault::Renegotiation
        }
        _ => Fault::Unexpected,
    }
}
