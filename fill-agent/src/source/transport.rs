//! HTTP/1.1 as a fill speaks it: bounded heads, small reads, deadlines, few redirects, kept connections.
//!
//! hyper is used below a client of its own because the bounds are the point: a connection reads little ahead of what the
//! rate allowed ([`READ_BYTES`](limits::READ_BYTES)), and a head is as short. Nothing here knows of objects.

mod connect;
mod incoming;
mod pool;
mod redirect;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::Empty;
use hyper::client::conn::http1::SendRequest;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use trust::Fault;
use url::Url;

use super::error::{Lie, SourceError};
use crate::limits;
use crate::tls::{Side, Tls};

pub(super) use incoming::Incoming;
use pool::{Place, Pool};

/// The head of an answer, with the body to come.
pub(super) type Answer = Response<Incoming>;

type Sender = SendRequest<Empty<Bytes>>;

/// How long a source is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to one address, TLS included.
    pub connect: Duration,
    /// From the request to the end of the answer's head.
    pub head: Duration,
    /// Without any byte of the body.
    pub idle: Duration,
    /// Over this much waiting for the source...
    pub speed_window: Duration,
    /// ...it must give as many bytes a second.
    pub speed_bytes_per_s: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: limits::CONNECT_TIMEOUT,
            head: limits::HEAD_TIMEOUT,
            idle: limits::IDLE_TIMEOUT,
            speed_window: limits::SPEED_WINDOW,
            speed_bytes_per_s: limits::SPEED_MIN_BYTES_PER_S,
        }
    }
}

/// Asks HTTP servers.
pub struct Transport {
    timeouts: Timeouts,
    pool: Pool,
    tls: Tls,
}

/// What is asked.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// Whether redirects are followed.
    pub(super) follow: bool,
    /// Who is asked: says who is believed over https.
    pub(super) side: Side,
    /// What the certificate must be for; `None`: the host of the URL.
    pub(super) name: Option<ServerName<'static>>,
}

impl Request {
    pub(super) fn new(method: Method, url: Url, side: Side) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            follow: true,
            side,
            name: None,
        }
    }

    /// Sets a header; a value that is none cannot come from here.
    pub(super) fn set(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }
}

impl Transport {
    /// Without connections yet.
    pub fn new(timeouts: Timeouts, tls: Tls) -> Self {
        Self {
            timeouts,
            pool: Pool::default(),
            tls,
        }
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Sends a request and follows redirects.
    pub(super) async fn send(&self, mut request: Request) -> Result<Answer, SourceError> {
        let mut seen = vec![request.url.clone()];
        loop {
            let answer = self.exchange(&request).await?;
            let Some(next) = redirect::next(&request, &answer, &seen)? else {
                return Ok(answer);
            };
            if next.origin() != request.url.origin() {
                // What the first one is told in confidence is not the other's to know, nor is who asks.
                request.headers.remove(http::header::AUTHORIZATION);
                request.side = Side::Origin;
            }
            seen.push(next.clone());
            request.url = next;
        }
    }

    /// One request, on a kept connection if there is one. That one may have been closed in the meantime, so it is not the last word.
    async fn exchange(&self, request: &Request) -> Result<Answer, SourceError> {
        if let Some(kept) = self.pool.take(&request.place())
            && let Ok(answer) = self.exchange_on(kept, request).await
        {
            return Ok(answer);
        }
        let fresh = connect::connect(request, &self.tls, self.timeouts.connect).await?;
        self.exchange_on(fresh, request).await
    }

    async fn exchange_on(
        &self,
        mut sender: Sender,
        request: &Request,
    ) -> Result<Answer, SourceError> {
        let head = async {
            sender.ready().await?;
            sender.send_request(request.head()).await
        };
        let answer = timeout(self.timeouts.head, head)
            .await
            .map_err(|_| {
                let seconds = self.timeouts.head.as_secs_f32();
                SourceError::Slow(format!("no answer within {seconds} s"))
            })?
            .map_err(|error| self.bad_head(request, &error))?;
        let lease = self.pool.lease(request.place(), sender);
        Ok(answer.map(|body| Incoming::new(body, lease)))
    }

    /// A server of TLS 1.3 says only after the handshake, in place of an answer, that it does not like the client's certificate.
    fn bad_head(&self, request: &Request, error: &hyper::Error) -> SourceError {
        let text = chain(error);
        match Fault::find(error) {
            Some((fault, said)) => connect::no_tls(request, &self.tls, fault, &said),
            None if error.is_parse() || error.is_parse_too_large() => {
                SourceError::Lied(Lie::Head(text))
            }
            None => SourceError::Unreachable(text),
        }
    }
}

impl Request {
    fn place(&self) -> Place {
        let is_tls = self.url.scheme() == "https";
        Place {
            origin: self.url.origin(),
            believed: is_tls.then(|| (self.side, self.name.clone())),
        }
    }

    fn head(&self) -> http::Request<Empty<Bytes>> {
        let mut request = http::Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        let place = &self.url[url::Position::BeforePath..url::Position::AfterQuery];
        // A parsed URL holds nothing that a request line does not.
        *request.uri_mut() = place.parse().unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        let host = &self.url[url::Position::BeforeHost..url::Position::AfterPort];
        if let Ok(host) = HeaderValue::from_str(host) {
            request.headers_mut().insert(http::header::HOST, host);
        }
        request
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
