//! Connections with routers: opened, accepted, read and written, each by a task of the speaker's runtime. What happens is told
//! through one queue; while it is full, nothing is read.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

use platform::guard;
use steering::bgp::ConnectionId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::canary::Answer;
use crate::limits::{
    ADMIN_ACCEPT_PAUSE, BGP_CONNECT, BGP_LINGER, BGP_OUTBOX, BGP_READ_BYTES, BGP_WRITE,
};

/// What happened.
pub(super) enum Heard {
    /// A router has connected.
    Accepted { stream: TcpStream, remote: IpAddr },
    /// An attempt to connect has ended.
    Connected {
        peer: usize,
        connected: io::Result<TcpStream>,
    },
    /// Bytes came.
    Received {
        peer: usize,
        connection: ConnectionId,
        bytes: Vec<u8>,
    },
    /// A connection is gone.
    Closed {
        peer: usize,
        connection: ConnectionId,
        why: String,
    },
    /// A service address was asked.
    Canary { address: IpAddr, answer: Answer },
}

/// How a router is reached.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) remote: SocketAddr,
    pub(super) local: Option<IpAddr>,
    /// One hop, and no more.
    pub(super) is_direct: bool,
    /// Of TCP-MD5.
    pub(super) key: Option<Vec<u8>>,
}

/// Held by each connection until it is closed.
pub(super) type Open = Arc<()>;

/// Accepts for ever.
pub(super) fn listen(listener: TcpListener, heard: mpsc::Sender<Heard>) {
    tokio::spawn(async move {
        loop {
            let Ok((stream, remote)) = listener.accept().await else {
                sleep(ADMIN_ACCEPT_PAUSE).await;
                continue;
            };
            let remote = remote.ip().to_canonical();
            if heard
                .send(Heard::Accepted { stream, remote })
                .await
                .is_err()
            {
                return;
            }
        }
    });
}

/// Connects, and tells how that ended.
pub(super) fn connect(peer: usize, route: Route, heard: mpsc::Sender<Heard>) {
    tokio::spawn(async move {
        let late = |_| Err(io::ErrorKind::TimedOut.into());
        let connected = timeout(BGP_CONNECT, open(&route)).await;
        let connected = connected.unwrap_or_else(late);
        // The speaker has ended.
        let _ = heard.send(Heard::Connected { peer, connected }).await;
    });
}

async fn open(route: &Route) -> io::Result<TcpStream> {
    let remote = route.remote;
    let socket = if remote.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if let Some(key) = &route.key {
        guard::sign(socket.as_fd(), remote.ip(), key)?;
    }
    if route.is_direct {
        guard::only_direct(socket.as_fd(), remote.ip())?;
    }
    if let Some(local) = route.local {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(remote).await
}

/// Reads and writes until one side ends it. Whoever drops the sender has said all: what is queued is written, and the connection
/// is closed when the router has read it, or after [`BGP_LINGER`].
pub(super) fn converse(
    peer: usize,
    connection: ConnectionId,
    stream: TcpStream,
    heard: mpsc::Sender<Heard>,
    open: Open,
) -> mpsc::Sender<Vec<u8>> {
    let (outbox, queued) = mpsc::channel(BGP_OUTBOX);
    // KEEPALIVEs are small.
    let _ = stream.set_nodelay(true);
    let (reading, writing) = stream.into_split();
    let writer = tokio::spawn(write(writing, queued));
    tokio::spawn(async move {
        let _open = open;
        let why = tokio::select! {
            why = read(reading, peer, connection, &heard) => why,
            said = writer => match said {
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(())) | Err(_) => return,
            },
        };
        let _ = heard
            .send(Heard::Closed {
                peer,
                connection,
                why,
            })
            .await;
    });
    outbox
}

async fn read(
    mut reading: OwnedReadHalf,
    peer: usize,
    connection: ConnectionId,
    heard: &mpsc::Sender<Heard>,
) -> String {
    let mut buffer = vec![0; BGP_READ_BYTES];
    loop {
        let bytes = match reading.read(&mut buffer).await {
            Ok(0) => return "closed by the neighbour".to_owned(),
            Ok(length) => buffer[..length].to_vec(),
            Err(error) => return error.to_string(),
        };
        let received = Heard::Received {
            peer,
            connection,
            bytes,
        };
        if heard.send(received).await.is_err() {
            return String::new();
        }
    }
}

async fn write(mut writing: OwnedWriteHalf, mut queued: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    while let Some(bytes) = queued.recv().await {
        timeout(BGP_WRITE, writing.write_all(&bytes))
            .await
            .map_err(late)??;
    }
    writing.shutdown().await?;
    // Closed while the router's bytes lie unread, the kernel would reset the connection, and the last words with it.
    sleep(BGP_LINGER).await;
    Ok(())
}
