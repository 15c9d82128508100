//! What a handshake agreed on, as metrics and the log name it.

use rustls::CipherSuite;

/// Version and suite of a connection, one of [`Suite::all`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite(usize);

/// Suite, version, and the suite's name in the registry of IANA.
const SUITES: [(CipherSuite, &str, &str); 9] = [
    (
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        "1.3",
        "TLS_AES_128_GCM_SHA256",
    ),
    (
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        "1.3",
        "TLS_AES_256_GCM_SHA384",
    ),
    (
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        "1.3",
        "TLS_CHACHA20_POLY1305_SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "1.2",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "1.2",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "1.2",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "1.2",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "1.2",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "1.2",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
];

impl Suite {
    /// How many there are.
    pub const COUNT: usize = SUITES.len();

    /// All of them, in the order of [`Suite::number`].
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// The one that rustls agreed on; `None` if it is not among those that are spoken.
    pub fn of(suite: CipherSuite) -> Option<Self> {
        SUITES.iter().position(|known| known.0 == suite).map(Self)
    }

    /// Its place among all.
    pub fn number(self) -> usize {
        self.0
    }

    /// The version of TLS that it belongs to.
    pub fn version(self) -> &'static str {
        SUITES[self.0].1
    }

    /// Its name in the registry of IANA.
    pub fn name(self) -> &'static str {
        SUITES[self.0].2
    }
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Version and suite.
    pub suite: Suite,
    /// Whether it went on from an earlier connection, by a ticket.
    pub is_resumed: bool,
    /// Who seals what is sent.
    pub path: Path,
}

/// Who seals what is sent over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// The worker.
    User,
    /// The kernel.
    Kernel,
}

impl Path {
    /// All of them, in the order of [`Path::number`].
    pub const ALL: [Self; 2] = [Self::User, Self::Kernel];

    /// Its place in [`Path::ALL`].
    pub fn number(self) -> usize {
        self as usize
    }

    /// One word for metrics and the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Kernel => "kernel",
        }
    }
}
