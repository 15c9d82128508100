//! Where bytes come from: peers, upstream appliances, the control endpoint, HTTP servers, S3-compatible storage.
//!
//! ```text
//! (Source, Wanted, range) --target--> Request --transport--> head --answer--> Body -> pieces of at most 64 KiB
//! ```
//!
//! All sources are asked through one [`Transport`] with the same bounds, and an answer is believed only where it is exactly what
//! was asked for: the range, the size, the entity tag. That the bytes are the object's is checked behind this module, group by
//! group. What an error means for the object and the source is decided in [`crate::fetch`].

mod answer;
mod body;
mod counts;
mod error;
mod health;
mod set;
mod target;
mod transport;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use content_store::ObjectId;
use http::header::{ACCEPT_ENCODING, IF_MATCH, RANGE};
use http::{HeaderValue, Method};
use protocol::control::FILL_HEADER;
use protocol::fill::SourceStatus;
use protocol::manifest::{Source as Listed, SourceKind};
use protocol::root::Root;

use crate::rate::Limiter;

pub use answer::Pin;
pub use body::Body;
pub use counts::Counts;
pub(crate) use counts::Meter;
pub use error::{Lie, SourceError};
pub(crate) use health::Health;
pub use set::{Credentials, Settings, Sources};
pub use transport::{Timeouts, Transport};

use answer::Expected;
use target::Target;
use transport::Request;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The object.
    pub root: Root,
    /// Its size in bytes.
    pub size: u64,
    /// URL path, percent-decoded, beginning with `/`.
    pub path: Box<str>,
}

/// One place where bytes come from.
pub struct Source {
    listed: Listed,
    appliance: HeaderValue,
    /// Its addresses, the best first; or why it cannot be asked.
    targets: Result<Vec<Target>, SourceError>,
    /// The one of `targets` that answered last.
    current: AtomicUsize,
    transport: Arc<Transport>,
    limiter: Arc<Limiter>,
    counts: Counts,
    pub(crate) health: Health,
}

impl Source {
    /// Its name in status and metrics.
    pub fn name(&self) -> &str {
        self.listed.name()
    }

    /// What it is.
    pub fn kind(&self) -> SourceKind {
        self.listed.kind()
    }

    /// Waits until so many bytes may be read or written under the rate that all sources share.
    pub(crate) async fn pace(&self, bytes: u64) {
        self.limiter.take(bytes).await;
    }

    /// What came from it since it was made.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What status says of it. `now_unix` is the same moment in seconds since 1970.
    pub fn status(&self, now: Instant, now_unix: u64) -> SourceStatus {
        let blocked = self.health.blocked(now);
        let (retry_at, state) = match blocked {
            Some((until, problem)) => (
                Some(now_unix + until.duration_since(now).as_secs()),
                problem,
            ),
            None => (None, "ok".into()),
        };
        SourceStatus {
            name: self.name().into(),
            kind: self.kind(),
            state,
            retry_at,
            rate: self.counts.rate(),
            bytes: self.counts.bytes(),
            errors: self.counts.errors().map(|(_, count)| count).sum(),
        }
    }

    /// Whether it names objects by their root, so that an answer can be checked before its bytes come.
    fn knows_roots(&self) -> bool {
        matches!(
            self.listed,
            Listed::Peer { .. } | Listed::Upstream { .. } | Listed::Control
        )
    }

    /// Asks for a range of an object; the answer's head is checked when this returns. `pin` is what an earlier answer of this
    /// source said of the object: whatever differs from it is [`SourceError::Changed`].
    pub async fn open(
        self: &Arc<Self>,
        wanted: &Wanted,
        range: Range<u64>,
        pin: Option<&Pin>,
    ) -> Result<Body, SourceError> {
        let expected = Expected {
            size: wanted.size,
            range: range.clone(),
            etag: self.etag(wanted),
            pin,
        };
        let answer = self
            .ask(Method::GET, wanted, |request| {
                let last = range.end.saturating_sub(1);
                let value = format!("bytes={}-{last}", range.start);
                request.set(RANGE, &value);
                if let Some(tag) = expected.precondition() {
                    request.set(IF_MATCH, tag);
                }
            })
            .await?;
        let pin = expected.check(&answer)?;
        Ok(Body::new(self.clone(), answer, range, pin))
    }

    /// Asks whether it holds an object, without its bytes.
    pub async fn holds(&self, wanted: &Wanted) -> Result<(), SourceError> {
        let mut answer = self.ask(Method::HEAD, wanted, |_| ()).await?;
        answer.body_mut().release();
        answer::check_held(&answer, wanted.size, self.etag(wanted).as_deref())
    }

    /// Notes what it did wrong. `random` is uniform in [0, 1).
    pub(crate) fn failed(&self, error: &SourceError, random: f64) {
        self.counts.add_error(error);
        self.health.bad(Instant::now(), error, random);
    }

    /// The chunk tree of an object, of exactly `length` bytes, from the control endpoint.
    pub(crate) async fn tree_bytes(
        self: &Arc<Self>,
        wanted: &Wanted,
        length: u64,
    ) -> Result<Vec<u8>, SourceError> {
        let targets = self.targets.as_ref().map_err(Clone::clone)?;
        let target = targets.first().ok_or_else(no_address)?;
        let answer = self.transport.send(target.tree_request(wanted)?).await?;
        answer::check_whole(&answer, length)?;
        let mut body = Body::new(self.clone(), answer, 0..length, Pin::None);
        let mut bytes = Vec::with_capacity(length as usize);
        while let Some(piece) = body.next(length).await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The entity tag that it must give the object.
    fn etag(&self, wanted: &Wanted) -> Option<String> {
        match self.listed {
            Listed::Peer { .. } | Listed::Upstream { .. } => {
                Some(ObjectId(wanted.root.0).etag().to_string())
            }
            Listed::Control => Some(format!("\"{}\"", wanted.root)),
            Listed::Http { .. } | Listed::S3 { .. } => None,
        }
    }

    /// Asks at the address that answered last, and at the others if it cannot be reached.
    async fn ask(
        &self,
        method: Method,
        wanted: &Wanted,
        add: impl Fn(&mut Request),
    ) -> Result<transport::Answer, SourceError> {
        let first = self.current.load(Ordering::Relaxed);
        let targets = self.targets.as_ref().map_err(Clone::clone)?;
        let mut problem = no_address();
        for turn in 0..targets.len() {
            let index = (first + turn) % targets.len();
            let mut request = targets[index].request(method.clone(), wanted).await?;
            request
                .headers
                .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            if self.knows_roots() {
                request.headers.insert(
                    http::HeaderName::from_static(FILL_HEADER_LOWER),
                    self.appliance.clone(),
                );
            }
            add(&mut request);
            match self.transport.send(request).await {
                Err(error @ SourceError::Unreachable(_)) => problem = error,
                other => {
                    self.current.store(index, Ordering::Relaxed);
                    return other;
                }
            }
        }
        Err(problem)
    }
}

fn no_address() -> SourceError {
    SourceError::Setup("it has no address".into())
}

const FILL_HEADER_LOWER: &str = "oca-fill";
const _: () = assert!(FILL_HEADER.eq_ignore_ascii_case(FILL_HEADER_LOWER));
