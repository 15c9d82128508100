//! From connections to those that speak TLS: handshakes beside each other, only so many, each within its time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{App, Keys};
use crate::limits::{HANDSHAKE_TIME, HANDSHAKES_AT_ONCE, PARTING_BYTES, PARTING_TIME};

/// Gives connections whose handshake is done.
pub(crate) struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    /// Ends with this.
    _accepting: JoinSet<()>,
}

impl TlsListener {
    /// Begins to accept.
    ///
    /// # Errors
    /// A listener that has no address.
    pub(crate) fn new(listener: TcpListener, app: Arc<App>, keys: Arc<Keys>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (done, ready) = mpsc::channel(1);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Handshake { app, keys }, done));
        Ok(Self {
            address,
            ready,
            _accepting: accepting,
        })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The task has panicked, which was said.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Connections beyond the bound wait in the kernel's queue.
async fn accept(
    mut listener: TcpListener,
    handshake: Handshake,
    done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE));
    let mut under_way = JoinSet::new();
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, peer) = Listener::accept(&mut listener).await;
        while under_way.try_join_next().is_some() {}
        let (handshake, done) = (handshake.clone(), done.clone());
        under_way.spawn(async move {
            if let Some(stream) = handshake.run(stream, peer).await {
                // Nobody takes it when the program stops.
                let _ = done.send((stream, peer)).await;
            }
            drop(place);
        });
    }
}

#[derive(Clone)]
struct Handshake {
    app: Arc<App>,
    keys: Arc<Keys>,
}

impl Handshake {
    async fn run(&self, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let Ok(outcome) = timeout(HANDSHAKE_TIME, self.shake(stream)).await else {
            self.app.metrics.handshake("timed_out");
            return None;
        };
        let (word, said) = match outcome {
            Ok(stream) => {
                self.app.metrics.handshake("done");
                return Some(stream);
            }
            Err(Failure::Plain) => ("plain", "it speaks plain HTTP".to_owned()),
            Err(Failure::Gone(error)) => ("gone", error.to_string()),
            Err(Failure::Refused(error)) => ("client_refused", error.to_string()),
            Err(Failure::Tls(error)) => ("failed", error.to_string()),
        };
        self.app.metrics.handshake(word);
        tracing::debug!(%peer, "no TLS: {said}");
        None
    }

    async fn shake(&self, mut stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
        // A request is one small write, and waits for nothing.
        let _ = stream.set_nodelay(true);
        let mut first = [0];
        if stream.peek(&mut first).await.map_err(Failure::Gone)? == 0 {
            return Err(Failure::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        if first[0].is_ascii_uppercase() {
            let _ = stream.write_all(PLAIN).await;
            part(stream).await;
            return Err(Failure::Plain);
        }
        let acceptor = TlsAcceptor::from(self.keys.config());
        match acceptor.accept(stream).into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, stream)) => {
                part(stream).await;
                Err(Failure::of(error))
            }
        }
    }
}

/// To a method of HTTP in clear: a record of TLS never begins with a letter.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 65\r\nConnection: close\r\n\r\n{\"error\":\"only https is spoken here: the address needs https://\"}";

/// Why there is no connection.
enum Failure {
    Plain,
    Gone(io::Error),
    /// The client's certificate.
    Refused(rustls::Error),
    Tls(rustls::Error),
}

impl Failure {
    fn of(error: io::Error) -> Self {
        let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref());
        match of_tls {
            Some(
                wrong @ (rustls::Error::NoCertificatesPresented
                | rustls::Error::InvalidCertificate(_)),
            ) => Self::Refused(rustls::Error::clone(wrong)),
            Some(wrong) => Self::Tls(rustls::Error::clone(wrong)),
            None => Self::Gone(error),
        }
    }
}

/// Ends a connection so that the client reads why: with bytes unread, the kernel would reset it and the alert be lost.
async fn part(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut rest = stream.take(PARTING_BYTES);
    let _ = timeout(
        PARTING_TIME,
        tokio::io::copy(&mut rest, &mut tokio::io::sink()),
    )
    .await;
}
