//! Asks the control endpoint: sealed documents by conditional GET, with the appliance's token, within bounds of bytes and time.
//!
//! What comes is bytes; whether they may be believed is decided in [`crate::manifest`] and [`crate::takedown`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use protocol::config::Config;
use protocol::control::{MANIFEST_HEADER, Problem};
use protocol::limits::{ANSWER_MAX_BYTES, MANIFEST_MAX_PACKED_BYTES, SEAL_MAX_BYTES};
use protocol::manifest::Serial;
use protocol::manifest::keys::PublicKey;
use reqwest::header::IF_NONE_MATCH;
use reqwest::{Response, StatusCode, redirect};
use rustls::ClientConfig;
use tokio::time::timeout;
use trust::Fault;
use url::Url;

use crate::limits::{CONNECT_WAIT, CONTROL_SILENCE, DOCUMENT_WAIT, KEY_MAX_BYTES};
use crate::tls::{Side, Tls};

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    /// It does not answer, or not to the end.
    #[error("the control endpoint {url} cannot be reached: {cause}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the network says.
        cause: String,
    },
    /// The two sides do not believe each other, or do not understand each other's TLS.
    #[error("the control endpoint {url} cannot be asked over TLS: {what}")]
    Tls {
        /// What was asked.
        url: String,
        /// What happened, and what to do.
        what: String,
    },
    /// It says no.
    #[error("the control endpoint {url} answers {status}: {said}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: StatusCode,
        /// Its words, or what the status means here.
        said: String,
    },
    /// More than is read.
    #[error(
        "what the control endpoint {url} sends is larger than {limit} bytes; the rest was not read"
    )]
    TooLarge {
        /// What was asked.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// It sends slowly, and without end.
    #[error("what the control endpoint {url} sends had not ended after {} s", DOCUMENT_WAIT.as_secs())]
    Endless {
        /// What was asked.
        url: String,
    },
    /// The token cannot be read.
    #[error("control.token_file {}: {cause}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
}

/// What an endpoint has that is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// What the appliance shall hold.
    Manifest,
    /// What it must not hold.
    Tombstones,
}

/// An answer to a conditional GET.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing newer.
    Unchanged,
    /// Nothing at all yet.
    None,
    /// The document, sealed.
    Sealed(Vec<u8>),
}

/// An answer, and what is said beside it.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched {
    /// To the question.
    pub answer: Answer,
    /// The newest manifest for this appliance, if that was said.
    pub newest_manifest: Option<Serial>,
}

/// The control endpoint of this appliance.
#[derive(Debug, Clone)]
pub struct ControlEndpoint {
    client: Arc<Mutex<Option<Made>>>,
    tls: Tls,
    url: String,
    appliance: String,
    token_file: Option<PathBuf>,
    /// Keys that may sign.
    pub keys: Vec<PublicKey>,
}

/// A client, and the certificates that it was made with.
#[derive(Debug)]
struct Made {
    config: Option<Arc<ClientConfig>>,
    client: reqwest::Client,
}

impl ControlEndpoint {
    /// As configured; reads the keys. `None` without `[control]`.
    ///
    /// # Errors
    /// A key that is none, in words for the operator.
    pub fn of(config: &Config, tls: &Tls) -> Result<Option<Self>, String> {
        let Some(control) = &config.control else {
            return Ok(None);
        };
        Ok(Some(Self {
            client: Arc::default(),
            tls: tls.clone(),
            url: control.url.trim_end_matches('/').to_owned(),
            appliance: config.appliance.id.clone(),
            token_file: control.token_file.clone(),
            keys: control.keys.iter().map(key).collect::<Result<_, _>>()?,
        }))
    }

    /// `appliance.id`.
    #[must_use]
    pub fn appliance(&self) -> &str {
        &self.appliance
    }

    /// Base URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The newest document, unless it is the one of `known`.
    ///
    /// # Errors
    /// [`ContactError`].
    pub async fn fetch(
        &self,
        document: Document,
        known: Option<Serial>,
    ) -> Result<Fetched, ContactError> {
        let name = match document {
            Document::Manifest => "manifest",
            Document::Tombstones => "tombstones",
        };
        let url = format!("{}/v1/appliances/{}/{name}", self.url, self.appliance);
        let fetching = self.fetch_url(&url, known);
        timeout(DOCUMENT_WAIT, fetching)
            .await
            .unwrap_or(Err(ContactError::Endless { url: url.clone() }))
    }

    async fn fetch_url(&self, url: &str, known: Option<Serial>) -> Result<Fetched, ContactError> {
        let mut request = self.client(url).await?.get(url);
        let token = self.token().await?;
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(serial) = known {
            request = request.header(IF_NONE_MATCH, format!("\"{serial}\""));
        }
        let sent = request.send().await;
        let response = sent.map_err(|error| self.not_answered(url, &error))?;
        let newest_manifest = newest_manifest(&response);
        let answer = match response.status() {
            StatusCode::OK => {
                let limit = MANIFEST_MAX_PACKED_BYTES + SEAL_MAX_BYTES as u64;
                Answer::Sealed(read(response, url, limit).await?)
            }
            StatusCode::NOT_MODIFIED => Answer::Unchanged,
            StatusCode::NOT_FOUND => Answer::None,
            status => return Err(refused(response, url, status).await),
        };
        Ok(Fetched {
            answer,
            newest_manifest,
        })
    }

    /// The one that was made last, as long as the files of its certificates are the same.
    async fn client(&self, url: &str) -> Result<reqwest::Client, ContactError> {
        let failed = |cause: String| ContactError::Unreachable {
            url: url.to_owned(),
            cause,
        };
        let config = match url.starts_with("https:") {
            true => {
                let config = self.tls.config(Side::Control).await;
                Some(config.map_err(|error| failed(error.to_string()))?)
            }
            false => None,
        };
        let mut made = self
            .client
            .lock()
            .expect("nothing panics while it holds this");
        if let Some(made) = &*made
            && made.config.as_ref().map(Arc::as_ptr) == config.as_ref().map(Arc::as_ptr)
        {
            return Ok(made.client.clone());
        }
        let client = client(config.as_deref())
            .map_err(|error| failed(format!("no HTTP client can be made: {}", chain(&error))))?;
        *made = Some(Made {
            config,
            client: client.clone(),
        });
        Ok(client)
    }

    fn not_answered(&self, url: &str, error: &reqwest::Error) -> ContactError {
        let Some((fault, said)) = Fault::find(error) else {
            return unreachable(url, error);
        };
        let name = Url::parse(url).ok();
        let name = name.as_ref().and_then(Url::host_str).unwrap_or_default();
        ContactError::Tls {
            url: url.to_owned(),
            what: self.tls.failed(Side::Control, name, fault, &said),
        }
    }

    /// The appliance's token, empty if there is none. The file is read each time, so that a new token needs no word to the agent.
    ///
    /// # Errors
    /// [`ContactError::Token`].
    pub async fn token(&self) -> Result<String, ContactError> {
        let Some(path) = self.token_file.clone() else {
            return Ok(String::new());
        };
        let failed = |cause| ContactError::Token {
            path: path.clone(),
            cause,
        };
        let reading = path.clone();
        let text = tokio::task::spawn_blocking(move || read_small(&reading))
            .await
            .map_err(|panicked| failed(panicked.to_string()))?
            .map_err(failed)?;
        let token = text.trim();
        match token.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(token.to_owned()),
            false => Err(failed("is not one line of visible characters".to_owned())),
        }
    }
}

fn client(tls: Option<&ClientConfig>) -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_WAIT)
        .read_timeout(CONTROL_SILENCE)
        .user_agent(concat!("oca-fill-agent/", env!("CARGO_PKG_VERSION")));
    let tls = tls.cloned().unwrap_or_else(trust::believing_nobody);
    builder.tls_backend_preconfigured(tls).build()
}

fn key(path: &PathBuf) -> Result<PublicKey, String> {
    let failed = |cause: String| format!("control.keys {}: {cause}", path.display());
    let text = read_small(path).map_err(failed)?;
    PublicKey::from_pem(&text).map_err(|bad| failed(bad.to_string()))
}

/// A file that an operator has put there: a key, a token.
fn read_small(path: &PathBuf) -> Result<String, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    file.take(KEY_MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot be read: {error}"))?;
    Ok(text)
}

/// One that cannot be read says nothing: the manifest is asked for in its own time.
fn newest_manifest(response: &Response) -> Option<Serial> {
    let said = response.headers().get(MANIFEST_HEADER)?;
    said.to_str().ok()?.parse().ok()
}

async fn read(mut response: Response, url: &str, limit: u64) -> Result<Vec<u8>, ContactError> {
    let mut bytes = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| unreachable(url, &error))?
    {
        if (bytes.len() + piece.len()) as u64 > limit {
            return Err(ContactError::TooLarge {
                url: url.to_owned(),
                limit,
            });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

async fn refused(response: Response, url: &str, status: StatusCode) -> ContactError {
    let way_out = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "the token of control.token_file is not accepted"
        }
        status if status.is_redirection() => {
            "redirects are not followed; put the right address into control.url"
        }
        _ => "see the log of the control endpoint",
    };
    let body = read(response, url, ANSWER_MAX_BYTES as u64)
        .await
        .unwrap_or_default();
    let problem = serde_json::from_slice::<Problem>(&body).map(|problem| problem.error);
    ContactError::Status {
        url: url.to_owned(),
        status,
        said: problem.unwrap_or_else(|_| way_out.to_owned()),
    }
}

fn unreachable(url: &str, error: &reqwest::Error) -> ContactError {
    ContactError::Unreachable {
        url: url.to_owned(),
        cause: chain(error),
    }
}

/// The last cause says most: "connection refused" rather than "error sending request".
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
