//! Whether the kernel seals what is sent, and with what: the keys of rustls as `platform::kernel_tls` wants them.

use std::io;

use anyhow::Context as _;
use platform::kernel_tls::{self, Available, Suite, TransmitKeys, Version};
use protocol::config::KernelTls;
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

/// Why a connection is not sealed by the kernel although it should be: the label set of `oca_tls_kernel_fallbacks_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This kernel seals nothing.
    Unavailable,
    /// This kernel does not know the suite, or not in this version of TLS.
    Suite,
    /// The socket had no room for the end of the handshake.
    Unsent,
    /// The peer has closed already, for sending at least: Linux takes connections that are open both ways.
    PeerClosed,
    /// The kernel refused this connection.
    Refused,
}

impl Fallback {
    /// All of them, in the order of [`Fallback::number`].
    pub const ALL: [Self; 5] = [
        Self::Unavailable,
        Self::Suite,
        Self::Unsent,
        Self::PeerClosed,
        Self::Refused,
    ];

    /// Its place in [`Fallback::ALL`].
    pub fn number(self) -> usize {
        self as usize
    }

    /// What the kernel said to a connection.
    pub fn of(refusal: &io::Error) -> Self {
        match refusal.kind() {
            io::ErrorKind::NotConnected => Self::PeerClosed,
            _ => Self::Refused,
        }
    }

    /// One word for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Suite => "suite",
            Self::Unsent => "unsent",
            Self::PeerClosed => "peer_closed",
            Self::Refused => "refused",
        }
    }
}

/// What the kernel does for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// It is not asked.
    Off,
    /// It cannot.
    Unavailable,
    /// What it can.
    Available(Available),
}

impl Kernel {
    /// As `tls.kernel` wants it; finds out what the kernel can do.
    ///
    /// # Errors
    /// It must, and cannot: what it said, and what to do.
    pub(super) fn of(wanted: KernelTls) -> anyhow::Result<Self> {
        if wanted == KernelTls::Off {
            return Ok(Self::Off);
        }
        match kernel_tls::available() {
            Ok(available) => Ok(Self::Available(available)),
            Err(refusal) if wanted == KernelTls::On => {
                Err(refusal).context("tls.kernel = \"on\"; \"auto\" or \"off\" serve without it")
            }
            Err(refusal) => {
                tracing::info!("TLS is sealed by the workers: {refusal}");
                Ok(Self::Unavailable)
            }
        }
    }

    /// Whether it is to be asked to seal with these keys.
    ///
    /// # Errors
    /// Why not; `None` if that is as it should be.
    pub fn takes(&self, keys: &TransmitKeys) -> Result<(), Option<Fallback>> {
        match self {
            Self::Off => Err(None),
            Self::Unavailable => Err(Some(Fallback::Unavailable)),
            Self::Available(available) if available.takes_keys(keys) => Ok(()),
            Self::Available(_) => Err(Some(Fallback::Suite)),
        }
    }
}

/// What rustls gives out of the sending direction; `None` for a suite that it has and kernels have not.
pub(super) fn transmit_keys(
    version: ProtocolVersion,
    secrets: &ConnectionTrafficSecrets,
    sequence: u64,
) -> Option<TransmitKeys> {
    let (suite, key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Suite::Aes128Gcm, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Suite::Aes256Gcm, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            (Suite::ChaCha20Poly1305, key, iv)
        }
        _ => return None,
    };
    let version = match version {
        ProtocolVersion::TLSv1_3 => Version::Tls13,
        ProtocolVersion::TLSv1_2 => Version::Tls12,
        _ => return None,
    };
    let iv = iv.as_ref().try_into().ok()?;
    TransmitKeys::new(version, suite, key.as_ref(), iv, sequence).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_must_seal_and_cannot_is_an_error_that_says_what_to_do() {
        let must = Kernel::of(KernelTls::On);
        match kernel_tls::available() {
            Ok(available) => assert_eq!(must.unwrap(), Kernel::Available(available)),
            Err(_) => assert!(format!("{:#}", must.unwrap_err()).contains("tls.kernel")),
        }
        assert_eq!(Kernel::of(KernelTls::Off).unwrap(), Kernel::Off);
    }
}
