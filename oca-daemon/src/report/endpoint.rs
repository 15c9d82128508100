//! The control endpoint as an HTTP client sees it: a [`Report`](protocol::control::Report) out, an [`Answer`] or a [`Failure`] back, in bounded time and
//! memory whatever the other side does. In the same way a wish to drain, and the routes that are heard.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use platform::file::way_out;
use protocol::config::Control;
use protocol::control::{Answer, Problem, REPORT_VERSION};
use protocol::limits::ANSWER_MAX_BYTES;
use protocol::steer::{DrainLease, DrainWish, RouteTable};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, Url};
use rustls::ClientConfig;
use serde::Serialize;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;
use trust::{Fault, Identity};

use super::Outcome;
use crate::limits::{
    PROBLEM_TEXT_CHARS, REPORT_CONNECT_WAIT, REPORT_PLAIN_BYTES, REPORT_WAIT, TOKEN_BYTES,
};

/// Where reports go.
pub struct Endpoint {
    /// What is said of this appliance is below it.
    url: Result<Url, String>,
    token_file: Option<PathBuf>,
    tls: trust::Client,
    /// Made when it is first needed, so that what keeps it from being made is told like any other failure; and anew when the files of
    /// its certificates have changed.
    client: Option<Made>,
    local: Option<IpAddr>,
}

/// A client, and the certificates that it was made with.
struct Made {
    config: Option<Arc<ClientConfig>>,
    client: Client,
}

/// Why a report was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody answered in time.
    #[error("{0}")]
    Unreachable(String),
    /// One side does not believe the other.
    #[error("{what}")]
    Tls {
        /// In a word.
        fault: Fault,
        /// What happened, and what to do.
        what: String,
    },
    /// The answer is an error.
    #[error("answered {status}: {said}")]
    Refused {
        /// The status.
        status: u16,
        /// What it said.
        said: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The answer is none.
    #[error("{0}")]
    Malformed(String),
}

impl Failure {
    /// What came of the report.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unreachable(_) => Outcome::Unreachable,
            Self::Tls { fault, .. } => Outcome::Tls(*fault),
            Self::Refused { .. } => Outcome::Refused,
            Self::Malformed(_) => Outcome::Malformed,
        }
    }

    /// How long the endpoint wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Unreachable(_) | Self::Tls { .. } | Self::Malformed(_) => None,
        }
    }
}

/// A report as it is sent.
#[derive(Default)]
pub struct Body {
    bytes: Vec<u8>,
    packed: bool,
}

impl Body {
    /// In JSON; a large one packed with zstd while it is written, so that its text is never there as a whole.
    #[must_use]
    pub fn of(report: &impl Serialize) -> Self {
        let mut small = Bounded {
            bytes: Vec::new(),
            most: REPORT_PLAIN_BYTES,
        };
        if serde_json::to_writer(&mut small, report).is_ok() {
            return Self {
                bytes: small.bytes,
                packed: false,
            };
        }
        let bytes =
            packed(report).expect("memory takes every byte, and what is sent has only string keys");
        Self {
            bytes,
            packed: true,
        }
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a report says at least who sends it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

fn packed(report: &impl Serialize) -> io::Result<Vec<u8>> {
    let encoder = zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
    let mut buffered = io::BufWriter::new(encoder);
    serde_json::to_writer(&mut buffered, report)?;
    buffered
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .finish()
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Endpoint {
    /// The endpoint of the configuration, for `appliance`. Nothing is asked yet.
    #[must_use]
    pub fn new(control: &Control, appliance: &str) -> Self {
        Self {
            url: appliance_url(&control.url, appliance),
            token_file: control.token_file.clone(),
            tls: trust::Client::new(control.ca.clone(), identity(control)),
            client: None,
            local: None,
        }
    }

    /// Sends a report and waits for its answer, [`REPORT_WAIT`] at most.
    ///
    /// # Errors
    /// Whatever is no answer.
    pub async fn post(&mut self, body: Body) -> Result<Answer, Failure> {
        understood(&self.send(Method::POST, "report", body).await?)
    }

    /// Asks whether this appliance may leave.
    ///
    /// # Errors
    /// It may not, or whatever is no answer.
    pub async fn ask_to_leave(&mut self, wish: &DrainWish) -> Result<DrainLease, Failure> {
        let text = self.send(Method::POST, "drain", Body::of(wish)).await?;
        serde_json::from_slice(&text).map_err(|error| {
            Failure::Malformed(format!("the answer cannot be understood: {error}"))
        })
    }

    /// Tells that this appliance is back: it may be sent viewers again.
    ///
    /// # Errors
    /// Whatever is no answer.
    pub async fn come_back(&mut self) -> Result<(), Failure> {
        self.send(Method::DELETE, "drain", Body::default())
            .await
            .map(drop)
    }

    /// Tells which routes are heard.
    ///
    /// # Errors
    /// Whatever is no answer.
    pub async fn tell_routes(&mut self, table: &RouteTable) -> Result<(), Failure> {
        let sent = self.send(Method::POST, "routes", Body::of(table)).await;
        sent.map(drop)
    }

    /// The body of a good answer.
    async fn send(&mut self, method: Method, what: &str, body: Body) -> Result<Vec<u8>, Failure> {
        let mut url = self.url.clone().map_err(Failure::Unreachable)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(what);
        }
        let token = self.token().map_err(Failure::Unreachable)?;
        let mut request = self
            .client()?
            .request(method, url)
            .header(CONTENT_TYPE, "application/json");
        if body.packed {
            request = request.header(CONTENT_ENCODING, "zstd");
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let sent = request.body(body.bytes).send().await;
        let response = sent.map_err(|error| self.not_answered(error))?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let text = bounded_text(response).await?;
        if status.is_success() {
            return Ok(text);
        }
        Err(Failure::Refused {
            status: status.as_u16(),
            said: said(&text),
            retry_after,
        })
    }

    /// The one that was made last, as long as the files of its certificates are the same. This thread may wait for their disk.
    fn client(&mut self) -> Result<&Client, Failure> {
        let failed = |why: String| Failure::Unreachable(shortened(&why));
        let config = match &self.url {
            Ok(url) if url.scheme() == "https" => Some(
                self.tls
                    .config()
                    .map_err(|error| failed(error.to_string()))?,
            ),
            _ => None,
        };
        let certificates = |config: &Option<Arc<ClientConfig>>| config.as_ref().map(Arc::as_ptr);
        let is_good = |made: &Made| certificates(&made.config) == certificates(&config);
        let made = match self.client.take().filter(is_good) {
            Some(made) => made,
            None => Made {
                client: client(config.as_deref()).map_err(unreachable)?,
                config,
            },
        };
        Ok(&self.client.insert(made).client)
    }

    fn not_answered(&self, error: reqwest::Error) -> Failure {
        let Some((fault, said)) = Fault::find(&error) else {
            return unreachable(error);
        };
        let url = self.url.as_ref().ok();
        let name = url.and_then(Url::host_str).unwrap_or_default();
        let what = fault.way_out(name, "control.ca", "control.client");
        Failure::Tls {
            fault,
            what: format!("{}; {what}", shortened(&said)),
        }
    }

    /// What keeps every report from being sent, whether or not anybody answers. Reads the files that the configuration names.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let is_secret = matches!(&self.url, Ok(url) if url.scheme() == "https");
        let tls = is_secret.then(|| self.tls.check().err()).flatten();
        let tls = tls.map(|error| format!("[control]: {error}"));
        let url = self.url.as_ref().err().cloned();
        url.into_iter()
            .chain(self.token().err())
            .chain(tls)
            .collect()
    }

    /// Read at each report, so that a new token needs no restart.
    fn token(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(TOKEN_BYTES).read_to_string(&mut text))
            .map_err(|error| {
                let path = path.display();
                format!("control.token_file {path}: {error}; {}", way_out(&error))
            })?;
        Ok(Some(text.trim().to_owned()))
    }

    /// The address from which this box reaches the endpoint, if there is a way.
    pub async fn local_address(&mut self) -> Option<IpAddr> {
        if self.local.is_none() {
            let url = self.url.as_ref().ok()?;
            let port = url.port_or_known_default()?;
            let host = url.host_str()?.trim_matches(['[', ']']);
            self.local = timeout(REPORT_CONNECT_WAIT, address_towards(host, port))
                .await
                .ok()?
                .ok();
        }
        self.local
    }

    /// The address may have changed.
    pub fn forget_local_address(&mut self) {
        self.local = None;
    }
}

fn identity(control: &Control) -> Option<Identity> {
    let files = control.client.clone()?;
    Some(Identity {
        cert: files.cert,
        key: files.key,
    })
}

fn client(tls: Option<&ClientConfig>) -> reqwest::Result<Client> {
    Client::builder()
        .user_agent(concat!("oca-daemon/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(REPORT_CONNECT_WAIT)
        .timeout(REPORT_WAIT)
        // The token is for this endpoint and for no other that it might name.
        .redirect(Policy::none())
        .tls_backend_preconfigured(tls.cloned().unwrap_or_else(trust::believing_nobody))
        .build()
}

fn appliance_url(base: &str, appliance: &str) -> Result<Url, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("control.url \"{base}\": {why}");
    let mut url = Url::parse(base).map_err(|error| wrong(&error))?;
    url.path_segments_mut()
        .map_err(|()| wrong(&"is no base of a path"))?
        .pop_if_empty()
        .extend(["v1", "appliances", appliance]);
    Ok(url)
}

/// Nothing is sent: the kernel chooses the address when a socket is told its peer.
async fn address_towards(host: &str, port: u16) -> io::Result<IpAddr> {
    let peer = lookup_host((host, port)).await?.next();
    let peer = peer.ok_or(io::ErrorKind::NotFound)?;
    let any: SocketAddr = if peer.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(peer).await?;
    Ok(socket.local_addr()?.ip())
}

/// With all that lies behind it: the outermost words only say that sending failed.
fn unreachable(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    Failure::Unreachable(shortened(&told))
}

/// Only whole seconds: a date would need two clocks that agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn bounded_text(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        text.extend_from_slice(&chunk);
        if text.len() > ANSWER_MAX_BYTES {
            return Err(Failure::Malformed(format!(
                "the answer has more than {ANSWER_MAX_BYTES} bytes"
            )));
        }
    }
    Ok(text)
}

fn understood(text: &[u8]) -> Result<Answer, Failure> {
    let answer: Answer = serde_json::from_slice(text)
        .map_err(|error| Failure::Malformed(format!("the answer cannot be understood: {error}")))?;
    if answer.version == REPORT_VERSION {
        return Ok(answer);
    }
    Err(Failure::Malformed(format!(
        "the endpoint speaks version {} of reports, this program {REPORT_VERSION}; install releases that fit",
        answer.version
    )))
}

/// The words of a [`Problem`], or what else came.
fn said(text: &[u8]) -> String {
    let problem = serde_json::from_slice::<Problem>(text).map(|problem| problem.error);
    shortened(&problem.unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned()))
}

fn shortened(text: &str) -> String {
    let printable = text.chars().filter(|character| !character.is_control());
    printable.take(PROBLEM_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_an_appliance() {
        for base in ["https://c.example/", "https://c.example"] {
            let url = appliance_url(base, "c001.fra001.example").unwrap();
            let expected = "https://c.example/v1/appliances/c001.fra001.example";
            assert_eq!(url.as_str(), expected);
        }
        let below = appliance_url("http://c.example:8/oca/", "a/b").unwrap();
        assert_eq!(below.as_str(), "http://c.example:8/oca/v1/appliances/a%2Fb");
        assert!(
            appliance_url("nowhere", "a")
                .unwrap_err()
                .contains("control.url")
        );
    }

    #[test]
    fn what_an_endpoint_says_is_cut() {
        assert_eq!(said(b"{\"error\":\"unknown token\"}"), "unknown token");
        assert_eq!(said(b"<html>\x1b[2J"), "<html>[2J");
        assert_eq!(said(&[b'a'; 10_000]).len(), PROBLEM_TEXT_CHARS);
    }

    #[test]
    fn an_answer_of_another_version_is_none() {
        let answer = |version| {
            format!(
                "{{\"version\":{version},\"known\":null,\"next_s\":5,\"manifest\":null,\"new\":1}}"
            )
        };
        assert!(understood(answer(REPORT_VERSION).as_bytes()).is_ok());
        let other = understood(answer(REPORT_VERSION + 1).as_bytes()).unwrap_err();
        assert!(other.to_string().contains("speaks version"), "{other}");
        assert!(understood(b"[]").is_err());
    }
}
