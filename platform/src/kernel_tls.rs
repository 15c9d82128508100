//! Kernel TLS for what is sent: after a handshake in user space the kernel seals records itself, so that `sendfile` works on a TLS
//! connection as on a plain one. What is received stays with the caller.
//!
//! Linux: `TCP_ULP` "tls" and `TLS_TX` (Documentation/networking/tls.rst). FreeBSD: `TCP_TXTLS_ENABLE` (ktls(4)). This module knows
//! keys and records, and nothing of handshakes or of who made the keys.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use zeroize::Zeroize;

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(target_os = "linux")]
use linux as system;

/// Bytes of the longest key, the one of AES-256 and of ChaCha20.
const LONGEST_KEY: usize = 32;

/// The versions that kernels know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// How records are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// AES-GCM with a key of 128 bits; RFC 5288.
    Aes128Gcm,
    /// AES-GCM with a key of 256 bits; RFC 5288.
    Aes256Gcm,
    /// RFC 7905.
    ChaCha20Poly1305,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];
}

impl Suite {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// Length of its key in bytes.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => LONGEST_KEY,
        }
    }
}

/// With what the next records to one peer are sealed. Wiped when dropped; never printed.
pub struct TransmitKeys {
    version: Version,
    suite: Suite,
    key: [u8; LONGEST_KEY],
    iv: [u8; 12],
    sequence: u64,
}

impl TransmitKeys {
    /// `sequence` is the number of the next record, so of those that were sealed with this key before.
    ///
    /// `iv`: of TLS 1.3 and of ChaCha20-Poly1305 the write IV; of AES-GCM in TLS 1.2 the salt of 4 bytes and the explicit nonce, of which
    /// record *n* before this one has used the value xor *n*.
    ///
    /// # Errors
    /// `InvalidInput` if the key is not as long as the suite wants it.
    pub fn new(
        version: Version,
        suite: Suite,
        key: &[u8],
        iv: [u8; 12],
        sequence: u64,
    ) -> io::Result<Self> {
        if key.len() != suite.key_bytes() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut room = [0; LONGEST_KEY];
        room[..key.len()].copy_from_slice(key);
        Ok(Self {
            version,
            suite,
            key: room,
            iv,
            sequence,
        })
    }

    fn key(&self) -> &[u8] {
        &self.key[..self.suite.key_bytes()]
    }

    /// Whether each record carries a part of its nonce, which the kernel counts up from where it is told to: AES-GCM in TLS 1.2.
    fn has_explicit_nonce(&self) -> bool {
        self.version == Version::Tls12 && self.suite != Suite::ChaCha20Poly1305
    }

    /// The last 8 bytes of the IV, as the kernel shall begin. A nonce that is used twice gives the key away (RFC 5288 section 3), and
    /// records 0 to `sequence` - 1 have used E xor n, which lies less than `sequence` from E: so counting begins at E + `sequence`.
    #[allow(
        dead_code,
        reason = "FreeBSD's kernel is not told it: it begins at random"
    )]
    fn first_nonce(&self) -> [u8; 8] {
        let mut nonce = [0; 8];
        nonce.copy_from_slice(&self.iv[4..]);
        if self.has_explicit_nonce() {
            nonce = u64::from_be_bytes(nonce)
                .wrapping_add(self.sequence)
                .to_be_bytes();
        }
        nonce
    }
}

impl Drop for TransmitKeys {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
    }
}

impl fmt::Debug for TransmitKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransmitKeys")
            .field("version", &self.version)
            .field("suite", &self.suite)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// What this kernel can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Available {
    takes: [[bool; Suite::ALL.len()]; Version::ALL.len()],
    replaces_keys: bool,
}

impl Available {
    /// Whether the kernel seals records of this kind.
    #[must_use]
    pub fn takes(&self, version: Version, suite: Suite) -> bool {
        self.takes[version as usize][suite as usize]
    }

    /// The same, of what these keys are for.
    #[must_use]
    pub fn takes_keys(&self, keys: &TransmitKeys) -> bool {
        self.takes(keys.version, keys.suite)
    }

    /// Whether [`replace_keys`] works: Linux 6.14 and later.
    #[must_use]
    pub fn replaces_keys(&self) -> bool {
        self.replaces_keys
    }
}

/// Why the kernel seals no records: what it said, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("no kernel TLS: {cause}; {advice}")]
pub struct Unavailable {
    /// What the kernel said.
    #[source]
    pub cause: io::Error,
    /// What an operator can do.
    pub advice: &'static str,
}

impl From<io::Error> for Unavailable {
    fn from(cause: io::Error) -> Self {
        let advice = system::advice(&cause);
        Self { cause, advice }
    }
}

/// Finds out what this kernel can do, by doing it on connections over loopback. To be asked once, at start: it may load a module.
///
/// # Errors
/// If the kernel takes no suite at all.
pub fn available() -> Result<Available, Unavailable> {
    let listener = loopback_listener()?;
    let mut available = Available {
        takes: Default::default(),
        replaces_keys: false,
    };
    let mut refusal = None;
    for version in Version::ALL {
        for suite in Suite::ALL {
            match probe(&listener, version, suite) {
                Ok(replaces) => {
                    available.takes[version as usize][suite as usize] = true;
                    available.replaces_keys |= replaces;
                }
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
    }
    match refusal {
        Some(error) if !available.takes.iter().flatten().any(|takes| *takes) => Err(error.into()),
        _ => Ok(available),
    }
}

fn loopback_listener() -> io::Result<TcpListener> {
    let addresses = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
    ];
    TcpListener::bind(addresses.as_slice())
}

/// Whether keys can be replaced on a connection of this kind.
fn probe(listener: &TcpListener, version: Version, suite: Suite) -> io::Result<bool> {
    let socket = TcpStream::connect(listener.local_addr()?)?;
    // The other end lives as long as the socket needs it: a connection that is being closed is refused.
    let _peer = listener.accept()?;
    let keys = TransmitKeys::new(
        version,
        suite,
        &[1; LONGEST_KEY][..suite.key_bytes()],
        [2; 12],
        0,
    )?;
    start_transmit(socket.as_fd(), &keys)?;
    Ok(version == Version::Tls13 && replace_keys(socket.as_fd(), &keys).is_ok())
}

/// From now on the kernel seals whatever is sent on this connected socket, in records of at most 16 KiB. What was sent before leaves as it
/// is, so all of the handshake must have been taken by the socket.
///
/// # Errors
/// What the kernel says; on Linux `NotConnected` of a connection that the peer has closed or half-closed. Nothing has changed then: the
/// caller can go on sealing.
pub fn start_transmit(socket: BorrowedFd<'_>, keys: &TransmitKeys) -> io::Result<()> {
    system::start_transmit(socket, keys)
}

/// New keys on a socket on which the kernel seals already; to be called after the KeyUpdate that announces them was sent (RFC 8446
/// section 4.6.3). Version and suite must be the same.
///
/// # Errors
/// `ResourceBusy` of Linux before 6.14, `Unsupported` on FreeBSD: the connection must then be ended, as its peer expects the new keys.
pub fn replace_keys(socket: BorrowedFd<'_>, keys: &TransmitKeys) -> io::Result<()> {
    system::replace_keys(socket, keys)
}

/// Lets the kernel hand pages of files to a device that seals, without copying them first: retransmissions read them again. Only for
/// files that never change. Linux 5.19; nothing happens elsewhere, nor where no device seals.
///
/// # Errors
/// The socket's error.
pub fn allow_zero_copy(socket: BorrowedFd<'_>) -> io::Result<()> {
    system::allow_zero_copy(socket)
}

/// Sends `bytes` (at most 16 KiB) as one record of a type other than application data: an alert (21) or a handshake message (22).
///
/// # Errors
/// `WouldBlock` if the socket takes nothing now, or the socket's error.
pub fn send_record(socket: BorrowedFd<'_>, content_type: u8, bytes: &[u8]) -> io::Result<()> {
    let mut control = Control::new(content_type);
    let mut piece = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zero is a valid `msghdr`: null pointers and lengths of 0.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = CONTROL_BYTES as _;
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    loop {
        // SAFETY: `message` points at `piece`, so at `bytes`, and at `control`; all are alive during the call, which only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
        match usize::try_from(sent) {
            Ok(sent) if sent == bytes.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(_) => {}
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// One control message that says of which type the record is: a header, and data, aligned as 64-bit systems want it; cmsg(3).
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    /// Its first byte is the data; the others pad it.
    content_type: u64,
}

/// Length of the message without what pads it.
// SAFETY: this computes from a number.
const CONTROL_BYTES: u32 = unsafe { libc::CMSG_LEN(1) };

const _: () = assert!(std::mem::offset_of!(Control, content_type) + 1 == CONTROL_BYTES as usize);
// SAFETY: this computes from a number.
const _: () = assert!(size_of::<Control>() == unsafe { libc::CMSG_SPACE(1) } as usize);

impl Control {
    fn new(content_type: u8) -> Self {
        // SAFETY: all zero is a valid `cmsghdr`.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = CONTROL_BYTES as _;
        header.cmsg_level = system::RECORD_TYPE_LEVEL;
        header.cmsg_type = system::SET_RECORD_TYPE;
        Self {
            header,
            content_type: u64::from_ne_bytes([content_type, 0, 0, 0, 0, 0, 0, 0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(version: Version, suite: Suite, sequence: u64) -> TransmitKeys {
        let key = [3; LONGEST_KEY];
        TransmitKeys::new(version, suite, &key[..suite.key_bytes()], [9; 12], sequence).unwrap()
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let made = TransmitKeys::new(Version::Tls13, Suite::Aes128Gcm, &[0; 32], [0; 12], 0);
        assert_eq!(made.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn keys_are_not_printed() {
        let text = format!("{:?}", keys(Version::Tls13, Suite::Aes256Gcm, 5));
        assert_eq!(
            text,
            "TransmitKeys { version: Tls13, suite: Aes256Gcm, sequence: 5, .. }"
        );
    }

    #[test]
    fn only_explicit_nonces_are_moved_on() {
        for (version, suite, moved) in [
            (Version::Tls12, Suite::Aes128Gcm, 1),
            (Version::Tls12, Suite::Aes256Gcm, 1),
            (Version::Tls12, Suite::ChaCha20Poly1305, 0),
            (Version::Tls13, Suite::Aes128Gcm, 0),
        ] {
            let nonce = u64::from_be_bytes(keys(version, suite, 1).first_nonce());
            assert_eq!(nonce, 0x0909_0909_0909_0909 + moved);
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_said_with_what_to_do() {
        match available() {
            Ok(available) => assert!(available.takes(Version::Tls13, Suite::Aes128Gcm)),
            Err(refusal) => {
                let text = refusal.to_string();
                assert!(text.starts_with("no kernel TLS: "), "{text}");
                assert!(text.len() > refusal.cause.to_string().len() + 20, "{text}");
            }
        }
    }
}
