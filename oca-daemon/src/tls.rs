//! What connections over TLS need, made once for all workers: [`Tls::config`] for the handshakes of rustls, and the
//! [`Certificates`] behind it, which are swapped while it is in use.
//!
//! The cryptography is aws-lc-rs alone. There is no store of sessions in the server: it would take a lock and memory for each
//! viewer. A viewer who comes back shows a ticket, which every worker can read.

mod certificates;

use std::sync::Arc;

use anyhow::Context as _;
use protocol::config::{self, Config};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider, kx_group};
use rustls::server::NoServerSessionStorage;

pub use certificates::Certificates;

/// The one protocol that is spoken inside (RFC 7301). Whoever offers only others is refused; whoever offers none is served.
const ALPN: &[u8] = b"http/1.1";

/// Of the certificates and settings of `[tls]`, shared by all workers for the life of the process.
#[derive(Debug)]
pub struct Tls {
    /// For `rustls::server::UnbufferedServerConnection`.
    pub config: Arc<ServerConfig>,
    /// What viewers are shown; `config` asks it at each handshake.
    pub certificates: Arc<Certificates>,
}

impl Tls {
    /// Of a configuration; `None` if nobody is to be served with TLS. Reads the files that `[tls]` names.
    ///
    /// # Errors
    /// A file that cannot be used, and why.
    pub fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let wanted = config.tls.as_ref();
        let wanted = wanted.filter(|_| !config.listen.https.is_empty());
        wanted.map(Self::new).transpose()
    }

    fn new(wanted: &config::Tls) -> anyhow::Result<Self> {
        let provider = Arc::new(provider());
        let certificates = Arc::new(Certificates::load(&wanted.certificates, &provider)?);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("[tls]")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Records of the response are sealed by the worker or by the kernel, not by rustls.
        config.enable_secret_extraction = true;
        config.ignore_client_order = true;
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().context("keys for session tickets")?;
        config.send_tls13_tickets = 1;
        Ok(Self {
            config: Arc::new(config),
            certificates,
        })
    }
}

fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..default_provider()
    }
}
