//! An HTTP server of a few lines, so that it can do what no good one does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use content_store::ObjectId;
use content_store::chunk_tree::ChunkTree;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Ask {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
}

impl Ask {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The range, its end not included.
    pub fn range(&self) -> Option<Range<u64>> {
        let (start, last) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some(start.parse().unwrap()..last.parse::<u64>().unwrap() + 1)
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub then: Then,
}

/// What follows the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next request.
    Next,
    /// The end of the connection.
    Close,
    /// Nothing, without an end.
    Silence,
    /// More bytes, without an end.
    Endless,
    /// The head goes on without an end, and no body comes.
    EndlessHead,
    /// One byte every 10 ms.
    Trickle,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: vec![("Content-Length".into(), "0".into())],
            body: Vec::new(),
            then: Then::Next,
        }
    }

    pub fn whole(body: &[u8]) -> Self {
        Self {
            status: 200,
            headers: vec![("Content-Length".into(), body.len().to_string())],
            body: body.into(),
            then: Then::Next,
        }
    }

    /// 206 with what was asked for, or 200.
    pub fn range(ask: &Ask, object: &[u8]) -> Self {
        let Some(range) = ask.range() else {
            return Self::whole(object);
        };
        let body = &object[range.start as usize..range.end as usize];
        let (first, last, size) = (range.start, range.end - 1, object.len());
        let mut reply = Self::whole(body);
        reply.status = 206;
        reply.with("Content-Range", &format!("bytes {first}-{last}/{size}"))
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

type Handler = dyn Fn(&Ask) -> Reply + Send + Sync;

/// A server until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    asks: Mutex<Vec<Ask>>,
    body_bytes: AtomicU64,
    connections: AtomicU64,
}

impl Server {
    pub async fn start(handler: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), handler).await
    }

    pub async fn start_at(
        address: SocketAddr,
        handler: impl Fn(&Ask) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (handler, shared): (Arc<Handler>, _) = (Arc::new(handler), seen.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Ends with the server, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(stream, handler.clone(), shared.clone()));
            }
        });
        Self {
            address,
            seen,
            _tasks: tasks,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn asks(&self) -> Vec<Ask> {
        self.seen.asks.lock().unwrap().clone()
    }

    /// Bytes of bodies that the client's side took.
    pub fn body_bytes(&self) -> u64 {
        self.seen.body_bytes.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, handler: Arc<Handler>, seen: Arc<Seen>) {
    let mut input = Vec::new();
    loop {
        let Some(ask) = read_head(&mut stream, &mut input).await else {
            return;
        };
        let reply = handler(&ask);
        let head_only = ask.method == "HEAD";
        seen.asks.lock().unwrap().push(ask);
        let sent = send(&mut stream, &reply, head_only, &seen).await;
        if sent.is_err() || reply.then != Then::Next {
            return;
        }
    }
}

async fn read_head(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<Ask> {
    loop {
        if let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = input.drain(..end + 4).collect();
            let text = String::from_utf8(head).unwrap();
            let mut lines = text.lines();
            let mut first = lines.next()?.split(' ');
            let headers = lines.filter_map(|line| line.split_once(": "));
            return Some(Ask {
                method: first.next()?.into(),
                path: first.next()?.into(),
                headers: headers
                    .map(|(name, value)| (name.to_lowercase(), value.into()))
                    .collect(),
            });
        }
        if stream.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}

async fn send(
    stream: &mut TcpStream,
    reply: &Reply,
    head_only: bool,
    seen: &Seen,
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} x\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if reply.then == Then::EndlessHead {
        stream.write_all(head.as_bytes()).await?;
        loop {
            stream
                .write_all(b"X-More: and more and more and more\r\n")
                .await?;
        }
    }
    head += "\r\n";
    stream.write_all(head.as_bytes()).await?;
    if head_only {
        return Ok(());
    }
    for piece in reply.body.chunks(16 << 10) {
        stream.write_all(piece).await?;
        seen.body_bytes
            .fetch_add(piece.len() as u64, Ordering::SeqCst);
    }
    match reply.then {
        Then::Next | Then::Close | Then::EndlessHead => Ok(()),
        Then::Silence => std::future::pending().await,
        Then::Endless => loop {
            stream.write_all(&[0; 4096]).await?;
        },
        Then::Trickle => loop {
            stream.write_all(&[0]).await?;
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        },
    }
}

/// Objects by path, as an appliance or an origin holds them.
#[derive(Default, Clone)]
pub struct Shelf(Arc<Mutex<HashMap<String, Vec<u8>>>>);

impl Shelf {
    pub fn of<const N: usize>(objects: [(&str, &[u8]); N]) -> Self {
        let shelf = Self::default();
        for (path, bytes) in objects {
            shelf.put(path, bytes);
        }
        shelf
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        self.0.lock().unwrap().insert(path.into(), bytes.into());
    }

    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(path).cloned()
    }

    /// As an appliance's data plane answers.
    pub fn as_appliance(&self, ask: &Ask) -> Reply {
        match self.get(&ask.path) {
            Some(object) => Reply::range(ask, &object).with("ETag", &appliance_tag(&object)),
            None => Reply::status(404),
        }
    }

    /// As the control endpoint answers: bytes and chunk trees by root.
    pub fn as_control(&self, ask: &Ask) -> Reply {
        let shelf = self.0.lock().unwrap();
        let of_root = |root: &str| {
            shelf
                .values()
                .find(|object| ChunkTree::of(object).object().to_string() == root)
        };
        let found = if let Some(root) = ask.path.strip_prefix("/v1/bytes/") {
            of_root(root)
                .map(|object| Reply::range(ask, object).with("ETag", &format!("\"{root}\"")))
        } else if let Some(root) = ask.path.strip_prefix("/v1/trees/") {
            of_root(root).map(|object| Reply::whole(&ChunkTree::of(object).groups().concat()))
        } else {
            None
        };
        found.unwrap_or_else(|| Reply::status(404))
    }
}

/// The entity tag of an object on every appliance.
pub fn appliance_tag(object: &[u8]) -> String {
    let id: ObjectId = ChunkTree::of(object).object();
    id.etag().to_string()
}
