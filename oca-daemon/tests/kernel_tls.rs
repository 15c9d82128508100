//! Records that the kernel sealed, opened by somebody else. Where the kernel seals nothing, that it leaves the socket as it was; with
//! `OCA_KERNEL_TLS=required` (scripts/kernel-tls.sh sets it) that is a failure.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use platform::kernel_tls::{
    Available, Suite, TransmitKeys, Version, allow_zero_copy, available, replace_keys, send_record,
    start_transmit,
};
use platform::sendfile::{FilePiece, More, send, send_head_and_file};

const KEY: [u8; 32] = [0x11; 32];
const IV: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
/// Records that a handshake would have sealed before.
const BEFORE: u64 = 3;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const BODY_BYTES: usize = 300_000;
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
const CLOSE_NOTIFY: [u8; 2] = [1, 0];

/// What this kernel can do, or `None`.
fn kernel() -> Option<Available> {
    match available() {
        Ok(available) => Some(available),
        Err(refusal) if std::env::var_os("OCA_KERNEL_TLS").is_some() => panic!("{refusal}"),
        Err(refusal) => {
            eprintln!("{refusal}");
            None
        }
    }
}

/// The kinds of records that this kernel seals.
fn kinds() -> Vec<(Version, Suite)> {
    let Some(kernel) = kernel() else {
        return Vec::new();
    };
    let all = Version::ALL.into_iter();
    all.flat_map(|version| Suite::ALL.map(|suite| (version, suite)))
        .filter(|(version, suite)| kernel.takes(*version, *suite))
        .collect()
}

fn keys(version: Version, suite: Suite) -> TransmitKeys {
    TransmitKeys::new(version, suite, &KEY[..suite.key_bytes()], IV, BEFORE).unwrap()
}

/// A connection whose first end does not wait.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    (near, far)
}

/// Calls again while the socket takes nothing.
fn patiently<T>(mut call: impl FnMut() -> std::io::Result<T>) -> T {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            result => return result.unwrap(),
        }
    }
}

/// What the other end receives until the end of the stream.
fn received(far: TcpStream) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        (&far).read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Opens records one after another as RFC 8446 section 5.2 and RFC 5246 section 6.2.3.3 say.
struct Opener {
    version: Version,
    suite: Suite,
    key: LessSafeKey,
    sequence: u64,
    explicit_nonces: BTreeSet<u64>,
}

impl Opener {
    fn new(version: Version, suite: Suite) -> Self {
        let algorithm = match suite {
            Suite::Aes128Gcm => &aead::AES_128_GCM,
            Suite::Aes256Gcm => &aead::AES_256_GCM,
            Suite::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, &KEY[..suite.key_bytes()]).unwrap();
        let first = u64::from_be_bytes(IV[4..].try_into().unwrap());
        Self {
            version,
            suite,
            key: LessSafeKey::new(key),
            sequence: BEFORE,
            explicit_nonces: (0..BEFORE).map(|n| first ^ n).collect(),
        }
    }

    /// All records of a stream: content type and content.
    fn open_all(&mut self, mut stream: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut records = Vec::new();
        while !stream.is_empty() {
            let (header, rest) = stream.split_at(5);
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            let (record, rest) = rest.split_at(length);
            assert_eq!(header[1..3], [3, 3]);
            records.push(match self.version {
                Version::Tls13 => self.open_13(header, record),
                Version::Tls12 => self.open_12(header[0], record),
            });
            self.sequence += 1;
            stream = rest;
        }
        records
    }

    fn open_13(&self, header: &[u8], record: &[u8]) -> (u8, Vec<u8>) {
        assert_eq!(header[0], APPLICATION_DATA);
        let mut plain = self.open(self.nonce(), header, record);
        let content_type = plain.pop().unwrap();
        (content_type, plain)
    }

    fn open_12(&mut self, content_type: u8, record: &[u8]) -> (u8, Vec<u8>) {
        let (nonce, record) = match self.suite {
            Suite::ChaCha20Poly1305 => (self.nonce(), record),
            Suite::Aes128Gcm | Suite::Aes256Gcm => self.explicit_nonce(record),
        };
        let length = (record.len() - 16) as u16;
        let mut aad = self.sequence.to_be_bytes().to_vec();
        aad.extend([content_type, 3, 3]);
        aad.extend(length.to_be_bytes());
        (content_type, self.open(nonce, &aad, record))
    }

    fn open(&self, nonce: [u8; 12], aad: &[u8], record: &[u8]) -> Vec<u8> {
        let mut bytes = record.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.key.open_in_place(nonce, Aad::from(aad), &mut bytes);
        let length = opened.expect("the record is sealed with these keys").len();
        bytes.truncate(length);
        bytes
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = IV;
        for (byte, of_sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        nonce
    }

    fn explicit_nonce<'a>(&mut self, record: &'a [u8]) -> ([u8; 12], &'a [u8]) {
        let (explicit, record) = record.split_at(8);
        let new = self
            .explicit_nonces
            .insert(u64::from_be_bytes(explicit.try_into().unwrap()));
        assert!(new, "a nonce is used again");
        let mut nonce = IV;
        nonce[4..].copy_from_slice(explicit);
        (nonce, record)
    }
}

#[test]
fn a_head_and_a_file_arrive_sealed_and_so_does_the_end() {
    let body: Vec<u8> = (0..BODY_BYTES).map(|n| (n % 251) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&body).unwrap();
    file.rewind().unwrap();
    for (version, suite) in kinds() {
        let (near, far) = pair();
        start_transmit(near.as_fd(), &keys(version, suite)).unwrap();
        allow_zero_copy(near.as_fd()).unwrap();
        let arrived = received(far);
        let (mut head, mut sent) = (HEAD, 0);
        while !head.is_empty() || sent < body.len() {
            let piece = FilePiece {
                file: file.as_fd(),
                offset: sent as u64,
                length: body.len() - sent,
            };
            let progress = patiently(|| send_head_and_file(near.as_fd(), head, piece, More::No));
            head = &head[progress.head..];
            sent += progress.body;
        }
        patiently(|| send_record(near.as_fd(), ALERT, &CLOSE_NOTIFY));
        drop(near);
        let mut records = Opener::new(version, suite).open_all(&arrived.join().unwrap());
        assert_eq!(records.pop().unwrap(), (ALERT, CLOSE_NOTIFY.to_vec()));
        assert!(records.iter().all(|(kind, _)| *kind == APPLICATION_DATA));
        let content: Vec<u8> = records.into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert!(content == [HEAD, &body].concat(), "{version:?} {suite:?}");
        eprintln!("sealed by the kernel: {version:?} {suite:?}");
    }
}

#[test]
fn new_keys_are_taken_or_refused_as_the_kernel_was_found_to_do() {
    let Some(kernel) = kernel() else {
        return;
    };
    let (near, _far) = pair();
    let keys = keys(Version::Tls13, Suite::Aes128Gcm);
    start_transmit(near.as_fd(), &keys).unwrap();
    let replaced = replace_keys(near.as_fd(), &keys);
    assert_eq!(replaced.is_ok(), kernel.replaces_keys(), "{replaced:?}");
    eprintln!("replaces keys: {}", kernel.replaces_keys());
}

#[test]
fn a_connection_that_is_refused_goes_on_as_it_was() {
    let (near, far) = pair();
    // Half-closed by the peer: Linux refuses that, and a kernel without TLS refuses all.
    far.shutdown(Shutdown::Write).unwrap();
    while patiently(|| (&near).read(&mut [0])) != 0 {}
    if start_transmit(near.as_fd(), &keys(Version::Tls13, Suite::Aes128Gcm)).is_ok() {
        return;
    }
    let arrived = received(far);
    assert_eq!(patiently(|| send(near.as_fd(), HEAD, More::No)), HEAD.len());
    drop(near);
    assert_eq!(arrived.join().unwrap(), HEAD);
}
