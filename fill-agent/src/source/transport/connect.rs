//! A new connection: names, addresses, TLS.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use trust::Fault;
use url::{Host, Url};

use super::{Request, Sender, chain};
use crate::limits::{ADDRESSES_MAX, HEADERS_MAX, READ_BYTES};
use crate::source::SourceError;
use crate::tls::Tls;

/// Connects to the first address that answers.
pub(super) async fn connect(
    request: &Request,
    tls: &Tls,
    deadline: Duration,
) -> Result<Sender, SourceError> {
    let mut problem = SourceError::Unreachable("its name has no address".into());
    for address in addresses(&request.url, deadline).await? {
        match timeout(deadline, connect_to(address, request, tls)).await {
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

async fn connect_to(
    address: SocketAddr,
    request: &Request,
    tls: &Tls,
) -> Result<Sender, SourceError> {
    let unreachable =
        |error: std::io::Error| SourceError::Unreachable(format!("{address}: {error}"));
    let stream = TcpStream::connect(address).await.map_err(unreachable)?;
    // A request is one small write, and waits for nothing.
    let _ = stream.set_nodelay(true);
    if request.url.scheme() != "https" {
        return handshake(stream).await;
    }
    let config = tls.config(request.side).await;
    let config = config.map_err(|error| SourceError::Setup(error.to_string()))?;
    let connecting = TlsConnector::from(config).connect(server_name(request)?, stream);
    let stream = connecting
        .await
        .map_err(|error| match Fault::find(&error) {
            Some((fault, said)) => no_tls(request, tls, fault, &said),
            None => unreachable(error),
        })?;
    handshake(stream).await
}

/// What the certificate must be for.
fn server_name(request: &Request) -> Result<ServerName<'static>, SourceError> {
    if let Some(name) = &request.name {
        return Ok(name.clone());
    }
    let host = request.url.host_str().unwrap_or_default();
    ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| SourceError::Setup(format!("{host}: {error}")))
}

/// The handshake failed, and is counted.
pub(super) fn no_tls(request: &Request, tls: &Tls, fault: Fault, said: &str) -> SourceError {
    let name =
        server_name(request).map_or_else(|_| String::new(), |name| name.to_str().into_owned());
    let what = tls.failed(request.side, &name, fault, said);
    SourceError::Tls { fault, what }
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
