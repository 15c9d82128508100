//! Linux words for kernel TLS: include/uapi/linux/tls.h, net/tls/tls_main.c.

use std::io;
use std::mem::offset_of;
use std::os::fd::BorrowedFd;

use libc::{
    tls_crypto_info, tls12_crypto_info_aes_gcm_128, tls12_crypto_info_aes_gcm_256,
    tls12_crypto_info_chacha20_poly1305,
};
use zeroize::Zeroizing;

use super::{Suite, TransmitKeys, Version};
use crate::socket::set_option;

/// Where a record's type is told.
pub(super) const RECORD_TYPE_LEVEL: i32 = libc::SOL_TLS;
/// How a record's type is told.
pub(super) const SET_RECORD_TYPE: i32 = libc::TLS_SET_RECORD_TYPE;

/// Bytes of the longest of the kernel's structures.
const LONGEST: usize = size_of::<tls12_crypto_info_aes_gcm_256>();

// One layout for three structures: version and cipher, explicit nonce or IV, key, salt (none for ChaCha20), sequence.
const _: () = {
    assert!(size_of::<tls_crypto_info>() == 4);
    assert!(size_of::<tls12_crypto_info_aes_gcm_128>() == 40);
    assert!(offset_of!(tls12_crypto_info_aes_gcm_128, iv) == 4);
    assert!(offset_of!(tls12_crypto_info_aes_gcm_128, key) == 12);
    assert!(offset_of!(tls12_crypto_info_aes_gcm_128, salt) == 28);
    assert!(offset_of!(tls12_crypto_info_aes_gcm_128, rec_seq) == 32);
    assert!(size_of::<tls12_crypto_info_aes_gcm_256>() == 56);
    assert!(offset_of!(tls12_crypto_info_aes_gcm_256, key) == 12);
    assert!(offset_of!(tls12_crypto_info_aes_gcm_256, salt) == 44);
    assert!(offset_of!(tls12_crypto_info_aes_gcm_256, rec_seq) == 48);
    assert!(size_of::<tls12_crypto_info_chacha20_poly1305>() == 56);
    assert!(offset_of!(tls12_crypto_info_chacha20_poly1305, iv) == 4);
    assert!(offset_of!(tls12_crypto_info_chacha20_poly1305, key) == 16);
    assert!(offset_of!(tls12_crypto_info_chacha20_poly1305, rec_seq) == 48);
};

pub(super) fn advice(refusal: &io::Error) -> &'static str {
    match refusal.raw_os_error() {
        // `tcp_set_ulp`: not there, and only a process with CAP_NET_ADMIN has it loaded (net/ipv4/tcp_ulp.c).
        Some(libc::ENOENT) => {
            "load the kernel's module `tls` (modprobe tls; for every boot: a line `tls` in /etc/modules-load.d/oca.conf)"
        }
        Some(libc::ENOPROTOOPT) => "this kernel has no upper layer protocols for TCP (CONFIG_TLS)",
        _ => "see `dmesg`, and whether the module `tls` is allowed",
    }
}

pub(super) fn start_transmit(socket: BorrowedFd<'_>, keys: &TransmitKeys) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_ULP, b"tls")?;
    replace_keys(socket, keys)
}

/// The same call the second time: 6.14 ("tls: implement rekey for TLS1.3"); EBUSY before.
pub(super) fn replace_keys(socket: BorrowedFd<'_>, keys: &TransmitKeys) -> io::Result<()> {
    let (info, length) = crypto_info(keys);
    set_option(socket, libc::SOL_TLS, libc::TLS_TX, &info[..length])
}

pub(super) fn allow_zero_copy(socket: BorrowedFd<'_>) -> io::Result<()> {
    let yes = 1_u32;
    match set_option(socket, libc::SOL_TLS, libc::TLS_TX_ZEROCOPY_RO, &yes) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        result => result,
    }
}

/// The kernel's structure for these keys as bytes, and how many there are.
fn crypto_info(keys: &TransmitKeys) -> (Zeroizing<[u8; LONGEST]>, usize) {
    let version = match keys.version {
        Version::Tls12 => libc::TLS_1_2_VERSION,
        Version::Tls13 => libc::TLS_1_3_VERSION,
    };
    let cipher = match keys.suite {
        Suite::Aes128Gcm => libc::TLS_CIPHER_AES_GCM_128,
        Suite::Aes256Gcm => libc::TLS_CIPHER_AES_GCM_256,
        Suite::ChaCha20Poly1305 => libc::TLS_CIPHER_CHACHA20_POLY1305,
    };
    let nonce = keys.first_nonce();
    let (iv, salt): (&[u8], &[u8]) = match keys.suite {
        Suite::Aes128Gcm | Suite::Aes256Gcm => (&nonce, &keys.iv[..4]),
        Suite::ChaCha20Poly1305 => (&keys.iv, &[]),
    };
    let mut bytes = Zeroizing::new([0; LONGEST]);
    let mut length = 0;
    for part in [
        &version.to_ne_bytes(),
        &cipher.to_ne_bytes(),
        iv,
        keys.key(),
        salt,
        &keys.sequence.to_be_bytes(),
    ] {
        bytes[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    }
    (bytes, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const IV: [u8; 12] = [1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 0xff];

    fn info(version: Version, suite: Suite) -> Vec<u8> {
        let keys = TransmitKeys::new(version, suite, &KEY[..suite.key_bytes()], IV, 2).unwrap();
        let (bytes, length) = crypto_info(&keys);
        bytes[..length].to_vec()
    }

    fn joined(version: u16, cipher: u16, parts: [&[u8]; 4]) -> Vec<u8> {
        let mut bytes = [version.to_ne_bytes(), cipher.to_ne_bytes()].concat();
        bytes.extend(parts.concat());
        bytes
    }

    #[test]
    fn each_structure_is_as_the_kernel_reads_it() {
        let sequence: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 2];
        let (salt, nonce) = IV.split_at(4);
        let cases = [
            (Suite::Aes128Gcm, 51, [nonce, &KEY[..16], salt, sequence]),
            (Suite::Aes256Gcm, 52, [nonce, &KEY, salt, sequence]),
            (Suite::ChaCha20Poly1305, 54, [&IV, &KEY, &[], sequence]),
        ];
        for (suite, cipher, parts) in cases {
            assert_eq!(info(Version::Tls13, suite), joined(0x0304, cipher, parts));
        }
        let chacha = [&IV[..], &KEY, &[], sequence];
        let info = info(Version::Tls12, Suite::ChaCha20Poly1305);
        assert_eq!(info, joined(0x0303, 54, chacha));
    }

    #[test]
    fn nonces_that_the_handshake_used_are_passed_over() {
        let info = info(Version::Tls12, Suite::Aes128Gcm);
        // ..05ff + 2
        assert_eq!(info[4..12], [5, 5, 5, 5, 5, 5, 6, 1]);
    }
}
