//! A new connection: names, addresses, TLS.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::{Sender, chain};
use crate::limits::{ADDRESSES_MAX, HEADERS_MAX, READ_BYTES};
use crate::source::SourceError;

/// The client's side of TLS, made when the first `https` address is asked: a box without any needs no authorities.
#[derive(Default)]
pub(super) struct Tls(OnceLock<Result<Arc<rustls::ClientConfig>, String>>);

impl Tls {
    fn connector(&self) -> Result<TlsConnector, SourceError> {
        let made = self.0.get_or_init(|| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .and_then(BuilderVerifierExt::with_platform_verifier)
                .map(|config| Arc::new(config.with_no_client_auth()))
                .map_err(|error| error.to_string())
        });
        match made {
            Ok(config) => Ok(TlsConnector::from(config.clone())),
            Err(error) => Err(SourceError::Setup(format!(
                "no certificate authorities to check https with: {error}"
            ))),
        }
    }
}

/// Connects to the first address that answers.
pub(super) async fn connect(
    url: &Url,
    tls: &Tls,
    deadline: Duration,
) -> Result<Sender, SourceError> {
    let mut problem = SourceError::Unreachable("its name has no address".into());
    for address in addresses(url, deadline).await? {
        match timeout(deadline, connect_to(address, url, tls)).await {
            Ok(Ok(sender)) => return Ok(sender),
            Ok(Err(error)) => problem = error,
            Err(_) => {
                let seconds = deadline.as_secs_f32();
                let text = format!("{address} does not answer within {seconds} s");
                problem = SourceError::Unreachable(text);
            }
        }
    }
    Err(problem)
}

async fn addresses(url: &Url, deadline: Duration) -> Result<Vec<SocketAddr>, SourceError> {
    let port = url.port_or_known_default().unwrap_or(80);
    match url.host() {
        Some(Host::Ipv4(address)) => Ok(vec![(address, port).into()]),
        Some(Host::Ipv6(address)) => Ok(vec![(address, port).into()]),
        Some(Host::Domain(name)) => {
            let unreachable = |why: String| SourceError::Unreachable(format!("{name}: {why}"));
            let found = timeout(deadline, lookup_host((name, port)))
                .await
                .map_err(|_| unreachable("the resolver does not answer".into()))?
                .map_err(|error| unreachable(error.to_string()))?;
            Ok(found.take(ADDRESSES_MAX).collect())
        }
        None => Err(SourceError::Setup(format!("{url} names no host"))),
    }
}

async fn connect_to(address: SocketAddr, url: &Url, tls: &Tls) -> Result<Sender, SourceError> {
    let unreachable =
        |error: std::io::Error| SourceError::Unreachable(format!("{address}: {error}"));
    let stream = TcpStream::connect(address).await.map_err(unreachable)?;
    // A request is one small write, and waits for nothing.
    let _ = stream.set_nodelay(true);
    if url.scheme() != "https" {
        return handshake(stream).await;
    }
    let name = url.host_str().unwrap_or_default();
    let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
        .map_err(|error| SourceError::Setup(format!("{name}: {error}")))?;
    let stream = tls.connector()?.connect(name, stream).await;
    handshake(stream.map_err(unreachable)?).await
}

/// Speaks HTTP/1.1 over a stream. The connection runs until its sender is dropped.
async fn handshake<S>(stream: S) -> Result<Sender, SourceError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(READ_BYTES)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| SourceError::Unreachable(chain(&error)))?;
    tokio::spawn(async move {
        // What ends it, its requests and bodies are told.
        let _ = connection.await;
    });
    Ok(sender)
}
