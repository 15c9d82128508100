//! What connections over TLS need, made once for all workers: [`Tls::config`] for the handshakes of rustls, and the
//! [`Certificates`] behind it, which are swapped while it is in use.
//!
//! The cryptography is aws-lc-rs alone. There is no store of sessions in the server: it would take a lock and memory for each
//! viewer. A viewer who comes back shows a ticket, which every worker can read ([`Tickets`]). (For a ticket a handshake takes a
//! lock that all may read under; who writes does so once in six hours, with the new key in hand.)
//!
//! The way of certificates: `files` -> [`Pair`] -> [`Look`] -> [`Watch`] -> [`Certificates`].

mod agreed;
pub mod beside;
mod certificates;
mod files;
pub mod handshake;
pub mod kernel;
mod look;
mod names;
mod open;
mod pair;
mod problem;
pub mod records;
pub mod seal;
pub mod session;
mod suites;
mod tickets;
mod watch;
mod x509;

use std::sync::Arc;

use anyhow::Context as _;
use protocol::config::{self, Config};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use steering::UnixTime;

pub use agreed::{Agreed, Path, Suite};
pub use certificates::{Certificates, Reload, Set};
pub use look::{Look, Looker, check};
pub use pair::Pair;
pub use problem::Problem;
pub use tickets::{TicketKey, Tickets};
pub use watch::{Occasion, Watch};
pub use x509::X509;

use kernel::Kernel;
use problem::Fault;

/// The one protocol that is spoken inside (RFC 7301). Whoever offers only others is refused; whoever offers none is served.
const ALPN: &[u8] = b"http/1.1";

/// Tickets after a handshake of TLS 1.3. A ticket is for one connection (RFC 8446, appendix C.4), and each connection brings its
/// own: players of HTTP/1.1 that open six have six. A second one would only be for those who open more than they had
/// (RFC 9149), and cost everybody its encryption and some 200 bytes.
const TICKETS: usize = 1;

/// Of the certificates and settings of `[tls]`, shared by all workers for the life of the process.
#[derive(Debug)]
pub struct Tls {
    /// For `rustls::server::UnbufferedServerConnection`.
    pub config: Arc<ServerConfig>,
    /// What viewers are shown; `config` asks it at each handshake.
    pub certificates: Arc<Certificates>,
    /// Whether the kernel seals what they are sent.
    pub kernel: Kernel,
    /// What `config` seals tickets with.
    pub tickets: Arc<Tickets>,
    looker: Looker,
    print: u64,
}

impl Tls {
    /// Of a configuration; `None` if nobody is to be served with TLS. Reads the files that `[tls]` names.
    ///
    /// # Errors
    /// The files that cannot be used, and why.
    pub fn of(config: &Config, now: UnixTime) -> anyhow::Result<Option<Self>> {
        let wanted = config.tls.as_ref();
        let wanted = wanted.filter(|_| !config.listen.https.is_empty());
        wanted.map(|wanted| Self::new(wanted, now)).transpose()
    }

    fn new(wanted: &config::Tls, now: UnixTime) -> anyhow::Result<Self> {
        let provider = Arc::new(suites::provider(wanted));
        let looker = Looker::new(wanted.certificates.clone(), Arc::clone(&provider));
        let Look { found, print, .. } = looker.look(now);
        let found = found.unwrap_or_default();
        let certificates = Arc::new(Certificates::new(found).map_err(all)?);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&suites::versions(wanted.min_version))
            .context("[tls]")?
            .with_client_cert_verifier(client_verifier(wanted, provider)?)
            .with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Records of a response are sealed by the worker or by the kernel, not by rustls.
        config.enable_secret_extraction = true;
        // The order of `[tls] suites` counts, not the viewer's.
        config.ignore_client_order = true;
        // Early data can be replayed (RFC 8446, section 8), and saves players nothing: they keep their connections.
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let tickets = Arc::new(Tickets::new(now).context("keys for session tickets")?);
        config.ticketer = Arc::clone(&tickets) as _;
        config.send_tls13_tickets = TICKETS;
        Ok(Self {
            config: Arc::new(config),
            certificates,
            kernel: Kernel::of(wanted.kernel)?,
            tickets,
            looker,
            print,
        })
    }

    /// What follows the files from now on.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let certificates = Arc::clone(&self.certificates);
        Watch::new(certificates, self.looker.clone(), self.print)
    }
}

fn all(problems: Vec<Problem>) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow::anyhow!("[tls]: {}", lines.join("\n[tls]: "))
}

/// Client certificates are asked for, not demanded.
fn client_verifier(
    wanted: &config::Tls,
    provider: Arc<CryptoProvider>,
) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let Some(path) = &wanted.client_ca else {
        return Ok(Arc::new(NoClientAuth));
    };
    let mut roots = RootCertStore::empty();
    let authorities = files::authorities(path).map_err(|problem| all(vec![problem]))?;
    for (authority, number) in authorities.into_iter().zip(1..) {
        roots.add(authority).map_err(|error| {
            let why = error.to_string();
            all(vec![Fault::BadCertificate { number, why }.of(path)])
        })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .with_context(|| format!("[tls]: {}", path.display()))
}
