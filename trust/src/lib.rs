//! Who one is and who is believed over TLS, between the programs: not what viewers are served with.
//!
//! ```text
//! PEM files --pem--> certificates, keys, authorities --client--> rustls::ClientConfig
//!                                                    a failed handshake --fault--> Fault: a word, and what to do
//! ```
//!
//! Files are looked at again before they are used, so that renewed ones need no restart; new ones that are no good leave the old ones
//! in force. The cryptography is aws-lc-rs, named at each use, whatever the process has for a default. Sockets are others' business.

mod client;
mod fault;
pub mod limits;
pub mod pem;
mod stamp;
#[cfg(feature = "testing")]
pub mod testing;
mod validity;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client::{Client, ClientError, Identity, believing_nobody};
pub use fault::Fault;
pub use pem::BadFile;
pub use stamp::Stamp;
pub use validity::Validity;

/// aws-lc-rs.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
