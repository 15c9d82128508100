//! One direction's key, and how many records it was used for: sealing and opening (RFC 8446, section 5.2; RFC 5246, 6.2.3.3;
//! RFC 5288; RFC 7905).

use std::io;
use std::ops::Range;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

use super::bad;
use super::record::{APPLICATION_DATA, HEADER_BYTES, Header};

const TAG_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;

pub(super) struct Keys {
    key: LessSafeKey,
    iv: [u8; NONCE_BYTES],
    /// Of the next record.
    sequence: u64,
    shape: Shape,
}

/// What stands around a plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Plaintext and type, sealed; tag.
    Tls13,
    /// Eight bytes of the nonce; plaintext, sealed; tag.
    Tls12Gcm,
    /// Plaintext, sealed; tag.
    Tls12Chacha,
}

impl Keys {
    pub(super) fn new(
        version: ProtocolVersion,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> io::Result<Self> {
        use ConnectionTrafficSecrets::{Aes128Gcm, Aes256Gcm, Chacha20Poly1305};
        let (algorithm, key, iv) = match &secrets {
            Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(bad("an unknown suite")),
        };
        let shape = match (version, &secrets) {
            (ProtocolVersion::TLSv1_3, _) => Shape::Tls13,
            (_, Chacha20Poly1305 { .. }) => Shape::Tls12Chacha,
            _ => Shape::Tls12Gcm,
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| bad("a bad key"))?;
        Ok(Self {
            key: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().map_err(|_| bad("a bad nonce"))?,
            sequence,
            shape,
        })
    }

    /// Bytes of a record beside its header and its plaintext.
    pub(super) fn overhead(&self) -> usize {
        self.explicit_bytes() + TAG_BYTES + usize::from(self.shape == Shape::Tls13)
    }

    /// Errors: it is none of a record of this connection.
    pub(super) fn header(&self, bytes: [u8; HEADER_BYTES]) -> io::Result<Header> {
        Header::read(bytes, self.overhead())
    }

    /// A record goes by unopened.
    pub(super) fn count(&mut self) {
        self.sequence += 1;
    }

    /// Appends a record.
    pub(super) fn seal(&mut self, kind: u8, plaintext: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        let length = (plaintext.len() + self.overhead()) as u16;
        let [high, low] = length.to_be_bytes();
        let nonce = self.nonce();
        let outside = if self.shape == Shape::Tls13 {
            APPLICATION_DATA
        } else {
            kind
        };
        let header = [outside, 3, 3, high, low];
        to.extend(header);
        to.extend(&nonce[NONCE_BYTES - self.explicit_bytes()..]);
        let begin = to.len();
        to.extend(plaintext);
        if self.shape == Shape::Tls13 {
            to.push(kind);
        }
        let about = self.about(header, plaintext.len());
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(about.as_ref()),
                &mut to[begin..],
            )
            .map_err(|_| bad("a request cannot be sealed"))?;
        to.extend(tag.as_ref());
        self.sequence += 1;
        Ok(())
    }

    /// Opens a record in place; its type, and where its plaintext is.
    pub(super) fn open(
        &mut self,
        header: [u8; HEADER_BYTES],
        record: &mut [u8],
    ) -> io::Result<(u8, Range<usize>)> {
        let mut nonce = self.nonce();
        let begin = self.explicit_bytes();
        nonce[NONCE_BYTES - begin..].copy_from_slice(&record[..begin]);
        let about = self.about(header, record.len() - self.overhead());
        let opened = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(about.as_ref()),
                &mut record[begin..],
            )
            .map_err(|_| bad("a record that cannot be opened"))?;
        self.sequence += 1;
        if self.shape != Shape::Tls13 {
            return Ok((header[0], begin..begin + opened.len()));
        }
        // After the type there may be zeros.
        let last = opened.iter().rposition(|&byte| byte != 0);
        let last = last.ok_or_else(|| bad("a record without a type"))?;
        Ok((opened[last], 0..last))
    }

    fn explicit_bytes(&self) -> usize {
        if self.shape == Shape::Tls12Gcm { 8 } else { 0 }
    }

    fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = self.iv;
        let end = nonce[NONCE_BYTES - 8..].iter_mut();
        for (byte, of_sequence) in end.zip(self.sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        nonce
    }

    /// What is authenticated beside the plaintext.
    fn about(&self, header: [u8; HEADER_BYTES], length: usize) -> About {
        let mut about = About::default();
        if self.shape == Shape::Tls13 {
            about.push(&header);
        } else {
            about.push(&self.sequence.to_be_bytes());
            about.push(&header[..3]);
            about.push(&(length as u16).to_be_bytes());
        }
        about
    }
}

/// At most 13 bytes.
#[derive(Default)]
struct About {
    bytes: [u8; 13],
    length: usize,
}

impl About {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
