//! Records of TLS: how they are framed, and the key that seals or opens those of one direction.
//!
//! TLS 1.3: RFC 8446 section 5. TLS 1.2: RFC 5246 section 6.2, AES-GCM by RFC 5288, ChaCha20 by RFC 7905.

use std::fmt;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::{AlertDescription, ConnectionTrafficSecrets, ContentType, ProtocolVersion};

/// Bytes before each record: its type, a version that means nothing any more, and its length.
pub const HEADER_BYTES: usize = 5;

/// The most bytes that one record carries.
pub const PLAINTEXT_BYTES: usize = 1 << 14;

/// The most bytes that a record adds to what it carries: header, explicit nonce (1.2) or inner type (1.3), and tag.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + EXPLICIT_NONCE_BYTES + TAG_BYTES;

/// The most bytes of a record that follow its header (RFC 8446 section 5.2; the suites of TLS 1.2 that are spoken need fewer).
pub const BODY_BYTES: usize = PLAINTEXT_BYTES + 256;

/// The most bytes of a whole record.
pub const RECORD_BYTES: usize = HEADER_BYTES + BODY_BYTES;

const TAG_BYTES: usize = 16;
const EXPLICIT_NONCE_BYTES: usize = 8;
/// What a record of TLS 1.3 carries behind its content.
const INNER_TYPE_BYTES: usize = 1;

/// What is wrong with what a peer sent after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// What comes is no record of TLS.
    #[error("no record of TLS")]
    NoRecord,
    /// A record is longer than records may be.
    #[error("a record that is too long")]
    TooLong,
    /// A record was not sealed by the peer, or not for this place.
    #[error("a record that cannot be opened")]
    CannotOpen,
    /// A message that has no business here.
    #[error("an unexpected message")]
    Unexpected,
    /// A message that means nothing.
    #[error("a malformed message")]
    Malformed,
    /// TLS 1.2: the peer wants another handshake.
    #[error("renegotiation")]
    Renegotiation,
    /// Too many records without a byte of application data, or too much that was not asked for.
    #[error("too many records that carry nothing")]
    Flood,
    /// The peer says that something went wrong on its side.
    #[error("an alert of the peer")]
    Alert,
}

impl Fault {
    /// All of them, in the order of [`Fault::number`].
    pub const ALL: [Self; 8] = [
        Self::NoRecord,
        Self::TooLong,
        Self::CannotOpen,
        Self::Unexpected,
        Self::Malformed,
        Self::Renegotiation,
        Self::Flood,
        Self::Alert,
    ];

    /// Its place in [`Fault::ALL`].
    pub fn number(self) -> usize {
        self as usize
    }

    /// One word for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoRecord => "no_record",
            Self::TooLong => "too_long",
            Self::CannotOpen => "cannot_open",
            Self::Unexpected => "unexpected",
            Self::Malformed => "malformed",
            Self::Renegotiation => "renegotiation",
            Self::Flood => "flood",
            Self::Alert => "alert",
        }
    }

    /// What the peer is told (RFC 8446 section 6.2); nothing if it was the peer who ended the connection.
    pub fn alert(self) -> Option<AlertDescription> {
        Some(match self {
            Self::NoRecord | Self::Unexpected | Self::Flood => AlertDescription::UnexpectedMessage,
            Self::TooLong => AlertDescription::RecordOverflow,
            Self::CannotOpen => AlertDescription::BadRecordMac,
            Self::Malformed => AlertDescription::DecodeError,
            Self::Renegotiation => AlertDescription::NoRenegotiation,
            Self::Alert => return None,
        })
    }
}

/// Bytes of the record that `bytes` begin with, header and all; `None` if even the header is not complete.
///
/// # Errors
/// It is no record, or longer than records may be.
pub fn record_length(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let [kind, major, _, high, low, ..] = *bytes else {
        return Ok(None);
    };
    if major != 3 || matches!(ContentType::from(kind), ContentType::Unknown(_)) {
        return Err(Fault::NoRecord);
    }
    let body = usize::from(u16::from_be_bytes([high, low]));
    if body > BODY_BYTES {
        return Err(Fault::TooLong);
    }
    Ok(Some(HEADER_BYTES + body))
}

/// The key of one direction.
pub(super) struct RecordKey {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    form: Form,
}

/// How version and suite put a record together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The type is inside, the nonce is not sent.
    Tls13,
    /// TLS 1.2 with AES-GCM: a part of the nonce is sent.
    ExplicitNonce,
    /// TLS 1.2 with ChaCha20.
    ImplicitNonce,
}

impl RecordKey {
    /// Of what rustls gives out; `None` for a suite that it has and this does not know.
    pub(super) fn new(
        version: ProtocolVersion,
        secrets: &ConnectionTrafficSecrets,
    ) -> Option<Self> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return None,
        };
        let form = match version {
            ProtocolVersion::TLSv1_3 => Form::Tls13,
            _ if *algorithm == CHACHA20_POLY1305 => Form::ImplicitNonce,
            _ => Form::ExplicitNonce,
        };
        Some(Self {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?),
            iv: iv.as_ref().try_into().ok()?,
            form,
        })
    }

    /// Whether this is TLS 1.3.
    pub(super) fn is_tls13(&self) -> bool {
        self.form == Form::Tls13
    }

    /// Bytes of a record that carries `plain` bytes.
    fn sealed_length(&self, plain: usize) -> usize {
        HEADER_BYTES + self.before() + plain + self.after()
    }

    /// Bytes between the header and the content,
    fn before(&self) -> usize {
        match self.form {
            Form::ExplicitNonce => EXPLICIT_NONCE_BYTES,
            Form::Tls13 | Form::ImplicitNonce => 0,
        }
    }

    /// and behind the content.
    fn after(&self) -> usize {
        match self.form {
            Form::Tls13 => INNER_TYPE_BYTES + TAG_BYTES,
            Form::ExplicitNonce | Form::ImplicitNonce => TAG_BYTES,
        }
    }

    /// The start of the nonces, and the number of the record (RFC 8446 section 5.3, RFC 7905; allowed by RFC 5288 section 3, which leaves
    /// the construction open).
    fn nonce(&self, sequence: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        let number = sequence.to_be_bytes();
        let tail = nonce.iter_mut().skip(NONCE_LEN - number.len());
        tail.zip(number).for_each(|(byte, bits)| *byte ^= bits);
        nonce
    }

    /// Seals `plain`, at most [`PLAINTEXT_BYTES`], as record number `sequence` at the beginning of `out`; how long the record is. `None` if
    /// `out` is too short for it.
    ///
    /// A number is used once: the caller never comes back to it.
    pub(super) fn seal(
        &self,
        sequence: u64,
        kind: ContentType,
        plain: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let length = self.sealed_length(plain.len());
        let out = out.get_mut(..length)?;
        let nonce = self.nonce(sequence);
        let (header, body) = out.split_at_mut(HEADER_BYTES);
        let (explicit, body) = body.split_at_mut(self.before());
        let (content, tail) = body.split_at_mut(plain.len());
        let outer = match self.form {
            Form::Tls13 => ContentType::ApplicationData,
            Form::ExplicitNonce | Form::ImplicitNonce => kind,
        };
        header.copy_from_slice(&header_of(outer, length - HEADER_BYTES));
        explicit.copy_from_slice(&nonce[NONCE_LEN - explicit.len()..]);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let inner = [kind.into()];
        let sealed = match self.form {
            Form::Tls13 => self.key.seal_out_of_place_scatter(
                nonce,
                Aad::from(&*header),
                plain,
                content,
                &inner,
                tail,
            ),
            Form::ExplicitNonce | Form::ImplicitNonce => self.key.seal_out_of_place_scatter(
                nonce,
                Aad::from(additional_data(sequence, kind, plain.len())),
                plain,
                content,
                &[],
                tail,
            ),
        };
        sealed.ok().map(|()| length)
    }

    /// Opens `record`, whole and of a length that [`record_length`] accepts, as number `sequence` into `plain`: its type, and how many bytes
    /// it carries.
    ///
    /// # Errors
    /// It is not what the peer sealed at this place, or carries more than it may.
    pub(super) fn open(
        &self,
        sequence: u64,
        record: &[u8],
        plain: &mut [u8],
    ) -> Result<(ContentType, usize), Fault> {
        let (header, body) = record
            .split_at_checked(HEADER_BYTES)
            .ok_or(Fault::NoRecord)?;
        let outer = ContentType::from(header[0]);
        if self.is_tls13() && outer != ContentType::ApplicationData {
            return Err(Fault::Unexpected);
        }
        let sealed = self.before() + TAG_BYTES;
        let length = body.len().checked_sub(sealed).ok_or(Fault::CannotOpen)?;
        let (explicit, body) = body.split_at(self.before());
        let (content, tag) = body.split_at(length);
        let plain = plain.get_mut(..length).ok_or(Fault::TooLong)?;
        let mut nonce = self.nonce(sequence);
        if !explicit.is_empty() {
            nonce[..4].copy_from_slice(&self.iv[..4]);
            nonce[4..].copy_from_slice(explicit);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = if self.is_tls13() {
            let data = Aad::from(header);
            self.key
                .open_separate_gather(nonce, data, content, tag, plain)
        } else {
            let data = Aad::from(additional_data(sequence, outer, length));
            self.key
                .open_separate_gather(nonce, data, content, tag, plain)
        };
        opened.map_err(|_| Fault::CannotOpen)?;
        let (kind, length) = match self.form {
            Form::Tls13 => inner_type(plain)?,
            Form::ExplicitNonce | Form::ImplicitNonce => (outer, length),
        };
        if length > PLAINTEXT_BYTES {
            return Err(Fault::TooLong);
        }
        Ok((kind, length))
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordKey")
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

fn header_of(kind: ContentType, length: usize) -> [u8; HEADER_BYTES] {
    let [high, low] = (length as u16).to_be_bytes();
    [kind.into(), 3, 3, high, low]
}

/// What a record of TLS 1.2 is bound to (RFC 5246 section 6.2.3.3).
fn additional_data(sequence: u64, kind: ContentType, length: usize) -> [u8; 13] {
    let mut data = [0; 13];
    data[..8].copy_from_slice(&sequence.to_be_bytes());
    data[8..].copy_from_slice(&header_of(kind, length));
    data
}

/// What stands last before the padding of zeros (RFC 8446 section 5.4).
fn inner_type(plain: &[u8]) -> Result<(ContentType, usize), Fault> {
    let last = plain.iter().rposition(|byte| *byte != 0);
    let last = last.ok_or(Fault::Unexpected)?;
    Ok((ContentType::from(plain[last]), last))
}
