//! FreeBSD words for kernel TLS: sys/sys/ktls.h, sys/netinet/tcp.h, ktls(4).

use std::io;
use std::mem::offset_of;
use std::os::fd::BorrowedFd;
use std::ptr;

use super::{Suite, TransmitKeys, Version};
use crate::socket::set_option;

/// Where a record's type is told.
pub(super) const RECORD_TYPE_LEVEL: i32 = libc::IPPROTO_TCP;
/// How a record's type is told: `TLS_SET_RECORD_TYPE` of netinet/tcp.h.
pub(super) const SET_RECORD_TYPE: i32 = 1;

/// netinet/tcp.h, since 13.0.
const TCP_TXTLS_ENABLE: i32 = 39;
/// opencrypto/cryptodev.h.
const CRYPTO_AES_NIST_GCM_16: i32 = 25;
/// opencrypto/cryptodev.h.
const CRYPTO_CHACHA20_POLY1305: i32 = 41;

/// `struct tls_enable` of sys/ktls.h, since 13.0; `libc` does not have it.
#[repr(C)]
struct TlsEnable {
    cipher_key: *const u8,
    iv: *const u8,
    auth_key: *const u8,
    cipher_algorithm: i32,
    cipher_key_len: i32,
    iv_len: i32,
    auth_algorithm: i32,
    auth_key_len: i32,
    flags: i32,
    tls_vmajor: u8,
    tls_vminor: u8,
    rec_seq: [u8; 8],
    /// The end of the structure, named so that no byte of it is undefined.
    end: [u8; 6],
}

// The kernel tells this structure from an older one of 56 bytes by its size (netinet/tcp_usrreq.c).
const _: () = {
    assert!(size_of::<TlsEnable>() == 64);
    assert!(offset_of!(TlsEnable, cipher_algorithm) == 24);
    assert!(offset_of!(TlsEnable, tls_vmajor) == 48);
    assert!(offset_of!(TlsEnable, rec_seq) == 50);
};

pub(super) fn advice(refusal: &io::Error) -> &'static str {
    match refusal.raw_os_error() {
        Some(libc::EOPNOTSUPP) => {
            "sysctl kern.ipc.tls.enable=1, and before 14.0 also kldload ktls_ocf"
        }
        Some(libc::ENXIO) => "sysctl kern.ipc.mb_use_ext_pgs=1",
        Some(libc::ENOPROTOOPT) => "this kernel is built without `options KERN_TLS`",
        _ => "see ktls(4)",
    }
}

/// The kernel begins the explicit nonces of TLS 1.2 at a random number (`ktls_create_session`), so that only the salt is told.
pub(super) fn start_transmit(socket: BorrowedFd<'_>, keys: &TransmitKeys) -> io::Result<()> {
    let cipher_algorithm = match keys.suite {
        Suite::Aes128Gcm | Suite::Aes256Gcm => CRYPTO_AES_NIST_GCM_16,
        Suite::ChaCha20Poly1305 => CRYPTO_CHACHA20_POLY1305,
    };
    // RFC 8446 section 4.2.1: 0x0303, 0x0304.
    let tls_vminor = match keys.version {
        Version::Tls12 => 3,
        Version::Tls13 => 4,
    };
    let iv_len = if keys.has_explicit_nonce() { 4 } else { 12 };
    let enable = TlsEnable {
        cipher_key: keys.key().as_ptr(),
        iv: keys.iv.as_ptr(),
        auth_key: ptr::null(),
        cipher_algorithm,
        cipher_key_len: keys.key().len() as i32,
        iv_len,
        auth_algorithm: 0,
        auth_key_len: 0,
        flags: 0,
        tls_vmajor: 3,
        tls_vminor,
        rec_seq: keys.sequence.to_be_bytes(),
        end: [0; 6],
    };
    set_option(socket, libc::IPPROTO_TCP, TCP_TXTLS_ENABLE, &enable)
}

/// ktls(4): "only permits the session keys to be set once in each direction".
pub(super) fn replace_keys(_: BorrowedFd<'_>, _: &TransmitKeys) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Pages of files are never copied for a device that seals.
pub(super) fn allow_zero_copy(_: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}
