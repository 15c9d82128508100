//! A control endpoint that says what a test wants: sealed documents, bytes with ranges, chunk trees.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use content_store::chunk_tree::ChunkTree;
use protocol::config::TierRole;
use protocol::control::MANIFEST_HEADER;
use protocol::manifest::keys::PrivateKey;
use protocol::manifest::{
    MANIFEST_VERSION, Manifest, Serial, Source, Tombstone, Tombstones, Wanted, seal,
};
use protocol::root::Root;

pub(crate) const APPLIANCE: &str = "c001.fra001.example";

#[derive(Default)]
struct Shelf {
    manifest: Option<Bytes>,
    tombstones: Option<Bytes>,
    objects: HashMap<String, Vec<u8>>,
    sent_bytes: u64,
    is_down: bool,
    is_held_back: bool,
    are_tombstones_held_back: bool,
}

/// What is sent as a document.
#[derive(Clone)]
enum Bytes {
    Whole { etag: String, bytes: Vec<u8> },
    Endless,
}

/// The server, on a thread of its own until the process ends.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
}

pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

impl Endpoint {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = Self {
            address: listener.local_addr().unwrap(),
            shelf: Arc::default(),
        };
        let router = Router::new()
            .route("/v1/appliances/{id}/{document}", get(document))
            .route("/v1/bytes/{root}", get(bytes))
            .route("/v1/trees/{root}", get(tree))
            .with_state(endpoint.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        endpoint
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap()
    }

    /// Takes an object in, and gives the entry that wants it.
    pub(crate) fn object(&self, path: &str, bytes: Vec<u8>) -> Wanted {
        let root = Root(*blake3::hash(&bytes).as_bytes());
        let size = bytes.len() as u64;
        self.shelf().objects.insert(root.to_string(), bytes);
        Wanted {
            path: path.into(),
            root,
            size,
            content_type: "video/mp4".into(),
            cache_control: None,
            modified: 1_700_000_000,
            tier: TierRole::Hot,
            demand: 1000,
            copies: 1,
            urgent: false,
            via: None,
        }
    }

    pub(crate) fn offer(&self, manifest: &Manifest) {
        let sealed = seal::seal(manifest, &[&key(7)]).unwrap();
        self.offer_bytes(&manifest.serial.to_string(), sealed);
    }

    pub(crate) fn offer_bytes(&self, etag: &str, bytes: Vec<u8>) {
        let etag = format!("\"{etag}\"");
        self.shelf().manifest = Some(Bytes::Whole { etag, bytes });
    }

    pub(crate) fn offer_endless(&self) {
        self.shelf().manifest = Some(Bytes::Endless);
    }

    pub(crate) fn take_down(&self, number: u64, of: &[&Wanted]) {
        let list = Tombstones {
            version: MANIFEST_VERSION,
            appliance: APPLIANCE.to_owned(),
            serial: Serial { epoch: 1, number },
            built_at: 1,
            tombstones: of
                .iter()
                .map(|wanted| Tombstone {
                    path: wanted.path.clone(),
                    root: wanted.root,
                    at: 1,
                })
                .collect(),
        };
        let bytes = seal::seal(&list, &[&key(7)]).unwrap();
        let etag = format!("\"{}\"", list.serial);
        self.shelf().tombstones = Some(Bytes::Whole { etag, bytes });
    }

    /// Answers 500 to everything, or not any more.
    pub(crate) fn be_down(&self, is_down: bool) {
        self.shelf().is_down = is_down;
    }

    /// Holds all bytes of objects back, or not any more.
    pub(crate) fn hold_back(&self, is_held_back: bool) {
        self.shelf().is_held_back = is_held_back;
    }

    /// Holds the answers for tombstones back, or not any more.
    pub(crate) fn hold_tombstones_back(&self, are_held_back: bool) {
        self.shelf().are_tombstones_held_back = are_held_back;
    }

    /// Gives these bytes for that object.
    pub(crate) fn lie(&self, about: &Wanted, bytes: Vec<u8>) {
        self.shelf().objects.insert(about.root.to_string(), bytes);
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.shelf().sent_bytes
    }
}

pub(crate) fn manifest(number: u64, objects: Vec<Wanted>) -> Manifest {
    Manifest {
        version: MANIFEST_VERSION,
        appliance: APPLIANCE.to_owned(),
        serial: Serial { epoch: 1, number },
        built_at: 1_700_000_000,
        not_after: 4_000_000_000,
        site_offset_s: Some(0),
        site_rate: None,
        sources: vec![Source::Control],
        objects,
        tombstones: Vec::new(),
    }
}

async fn document(
    State(endpoint): State<Endpoint>,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    while name == "tombstones" && endpoint.shelf().are_tombstones_held_back {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let shelf = endpoint.shelf();
    if headers
        .get(header::AUTHORIZATION)
        .is_none_or(|token| token != "Bearer open-sesame")
    {
        return (StatusCode::UNAUTHORIZED, "{\"error\":\"who are you?\"}").into_response();
    }
    let document = if name == "manifest" {
        &shelf.manifest
    } else {
        &shelf.tombstones
    };
    match document {
        _ if shelf.is_down => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Bytes::Endless) => {
            let piece = axum::body::Bytes::from(vec![b'x'; 1 << 20]);
            let pieces = std::iter::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
            let pieces = futures_util::stream::iter(pieces);
            Body::from_stream(pieces).into_response()
        }
        Some(Bytes::Whole { etag, bytes }) => {
            let newest = match &shelf.manifest {
                Some(Bytes::Whole { etag, .. }) => etag.trim_matches('"').to_owned(),
                _ => String::new(),
            };
            let newest = [(MANIFEST_HEADER, newest)];
            if headers
                .get(header::IF_NONE_MATCH)
                .is_some_and(|known| known == etag.as_str())
            {
                return (StatusCode::NOT_MODIFIED, newest).into_response();
            }
            let etag = [(header::ETAG, etag.clone())];
            (newest, etag, bytes.clone()).into_response()
        }
    }
}

async fn bytes(
    State(endpoint): State<Endpoint>,
    Path(root): Path<String>,
    headers: HeaderMap,
) -> Response {
    while endpoint.shelf().is_held_back {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let mut shelf = endpoint.shelf();
    if shelf.is_down {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let Some(object) = shelf.objects.get(&root) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let range = headers[header::RANGE]
        .to_str()
        .unwrap()
        .trim_start_matches("bytes=")
        .to_owned();
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let Some(piece) = object.get(first..=last).map(<[u8]>::to_vec) else {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    };
    let content_range = format!("bytes {first}-{last}/{}", object.len());
    shelf.sent_bytes += piece.len() as u64;
    let head = [
        (header::CONTENT_RANGE, content_range),
        (header::ETAG, format!("\"{root}\"")),
    ];
    (StatusCode::PARTIAL_CONTENT, head, piece).into_response()
}

async fn tree(State(endpoint): State<Endpoint>, Path(root): Path<String>) -> Response {
    match endpoint.shelf().objects.get(&root) {
        Some(object) => ChunkTree::of(object).groups().concat().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
