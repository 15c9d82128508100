//! A client that can say anything: a handshake by rustls, and then records of any type with the right keys.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::crypto::cipher::{
    InboundOpaqueMessage, KeyBlockShape, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundPlainMessage,
};
use rustls::{
    AlertDescription, ClientConfig, ConnectionTrafficSecrets, ContentType, ProtocolVersion,
    SupportedCipherSuite,
};

use crate::support::tls::{connect, read_all, write_all};

pub(crate) struct Crafted {
    pub(crate) stream: TcpStream,
    encrypter: Box<dyn MessageEncrypter>,
    decrypter: Box<dyn MessageDecrypter>,
    sent: u64,
    received: u64,
}

impl Crafted {
    pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let mut client = connect(address, config);
        // A ticket, if there is one, comes before the answer and is not read here: it is counted by the secrets once it was.
        client.get("/film", &["Range: bytes=0-0"]).unwrap();
        let (tls, stream) = client.stream.into_parts();
        let suite = tls.negotiated_cipher_suite().unwrap();
        let secrets = tls.dangerous_extract_secrets().unwrap();
        let mut crafted = Self {
            stream,
            encrypter: encrypter(suite, &secrets.tx.1),
            decrypter: decrypter(suite, &secrets.rx.1),
            sent: 0,
            received: secrets.rx.0,
        };
        // A key of AES-GCM counts from the first record on.
        while crafted.sent < secrets.tx.0 {
            crafted.sealed(ContentType::ApplicationData, b"");
        }
        crafted
    }

    /// One record.
    pub(crate) fn sealed(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        let sealed = self.encrypter.encrypt(message, self.sent).unwrap();
        self.sent += 1;
        sealed.encode()
    }

    pub(crate) fn send(&mut self, typ: ContentType, payload: &[u8]) {
        let sealed = self.sealed(typ, payload);
        write_all(&mut self.stream, &sealed);
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// All that the server says until it closes: types, and what they carry.
    pub(crate) fn heard(&mut self) -> Vec<(ContentType, Vec<u8>)> {
        let mut bytes = read_all(&mut self.stream);
        let mut rest = &mut bytes[..];
        let mut heard = Vec::new();
        while rest.len() >= 5 {
            let length = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            let (record, after) = rest.split_at_mut(5 + length);
            let typ = ContentType::from(record[0]);
            let message =
                InboundOpaqueMessage::new(typ, ProtocolVersion::TLSv1_2, &mut record[5..]);
            let plain = self.decrypter.decrypt(message, self.received).unwrap();
            self.received += 1;
            heard.push((plain.typ, plain.payload.to_vec()));
            rest = after;
        }
        assert!(rest.is_empty(), "the last record is whole");
        heard
    }

    /// The alerts that the server sends until it closes.
    pub(crate) fn alerts(&mut self) -> Vec<AlertDescription> {
        let heard = self.heard();
        let alerts = heard.iter().filter(|(typ, _)| *typ == ContentType::Alert);
        alerts
            .map(|(_, payload)| AlertDescription::from(payload[1]))
            .collect()
    }
}

pub(crate) fn encrypter(
    suite: SupportedCipherSuite,
    secrets: &ConnectionTrafficSecrets,
) -> Box<dyn MessageEncrypter> {
    let (key, iv) = parts(secrets);
    match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key.into(), iv.into()),
        SupportedCipherSuite::Tls12(suite) => {
            let shape = suite.aead_alg.key_block_shape();
            let (fixed, explicit) = split(&iv, &shape);
            suite.aead_alg.encrypter(key.into(), fixed, explicit)
        }
    }
}

fn decrypter(
    suite: SupportedCipherSuite,
    secrets: &ConnectionTrafficSecrets,
) -> Box<dyn MessageDecrypter> {
    let (key, iv) = parts(secrets);
    match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key.into(), iv.into()),
        SupportedCipherSuite::Tls12(suite) => {
            let shape = suite.aead_alg.key_block_shape();
            suite.aead_alg.decrypter(key.into(), split(&iv, &shape).0)
        }
    }
}

/// Of suites with ChaCha20 and AES-256 only: `AeadKey` can be made of 32 bytes.
fn parts(secrets: &ConnectionTrafficSecrets) -> ([u8; 32], [u8; 12]) {
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("a key of 16 bytes"),
    };
    (
        key.as_ref().try_into().unwrap(),
        iv.as_ref().try_into().unwrap(),
    )
}

fn split<'a>(iv: &'a [u8; 12], shape: &KeyBlockShape) -> (&'a [u8], &'a [u8]) {
    let (fixed, explicit) = iv.split_at(shape.fixed_iv_len);
    (fixed, &explicit[..shape.explicit_nonce_len])
}
