//! The admin's listening sockets. Bounded: connections in number, and each in the time that it may rest, so that nobody who
//! reaches the port can use up the daemon's descriptors.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use platform::inherited::Inherited;
use platform::socket::ListenOptions;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep};

use crate::limits::{ADMIN_ACCEPT_PAUSE, ADMIN_CONNECTIONS, ADMIN_IDLE};
use crate::listener::cannot_listen;

/// Answers with `router` on `listener` until `closed` says so, which ends what rests and lets what is being answered end.
///
/// # Errors
/// None in practice: what goes wrong with one connection ends that connection.
pub async fn serve(
    listener: std::net::TcpListener,
    router: Router,
    mut closed: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let bounded = BoundedListener {
        listener: TcpListener::from_std(listener)?,
        places: Arc::new(Semaphore::new(ADMIN_CONNECTIONS)),
    };
    axum::serve(
        bounded,
        router.into_make_service_with_connect_info::<Peer>(),
    )
    .with_graceful_shutdown(async move { _ = closed.wait_for(|closed| *closed).await })
    .await
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Accepts while there are places.
struct BoundedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        let places = Arc::clone(&self.places);
        let place = places
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (BoundedStream::new(stream, place), peer),
                // Out of descriptors, or that one connection is gone already.
                Err(error) => {
                    tracing::debug!(%error, "the admin port cannot accept");
                    sleep(ADMIN_ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when no byte has come or gone for [`ADMIN_IDLE`].
struct BoundedStream {
    stream: TcpStream,
    rest: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl BoundedStream {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            rest: Box::pin(sleep(ADMIN_IDLE)),
            _place: place,
        }
    }

    /// `progress` if there is some; an error if there was none for too long.
    fn within_bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.rest.as_mut().reset(Instant::now() + ADMIN_IDLE);
            return progress;
        }
        ready!(self.rest.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.within_bound(cx, progress)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.within_bound(cx, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Takes over or binds `address`; `key` is the configuration's name for it.
///
/// # Errors
/// What the system says, with the key and the address.
pub fn bind(
    key: &str,
    address: SocketAddr,
    inherited: &mut Inherited,
) -> io::Result<std::net::TcpListener> {
    let taken = inherited.take(address, &ListenOptions::default());
    let own = |taken: Vec<_>| match taken.into_iter().next() {
        Some(listener) => Ok(listener),
        None => std::net::TcpListener::bind(address),
    };
    let bound = taken.and_then(own);
    bound.map_err(|error| cannot_listen(key, address, &error))
}
