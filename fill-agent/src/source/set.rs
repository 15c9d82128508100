//! The sources of a manifest, made ready to be asked.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use http::HeaderValue;
use object_store::aws::AmazonS3Builder;
use protocol::manifest::{Source as Listed, SourceKind};
use rustls::pki_types::ServerName;
use url::Url;

use super::Source;
use super::counts::Counts;
use super::error::SourceError;
use super::health::Health;
use super::target::Target;
use super::transport::Transport;
use crate::rate::Limiter;

/// What this appliance is to its sources.
#[derive(Clone)]
pub struct Settings {
    /// `appliance.id`, told to peers, upstream appliances and the control endpoint.
    pub appliance: String,
    /// `control.url`.
    pub control_url: String,
    /// The token of the control endpoint.
    pub token: String,
    /// For S3.
    pub credentials: Option<Credentials>,
}

/// The appliance's own key for S3-compatible storage.
#[derive(Clone)]
pub struct Credentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret: String,
}

impl Credentials {
    /// From the environment.
    pub fn from_env() -> Option<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Some(Self {
            key_id: variable("AWS_ACCESS_KEY_ID")?,
            secret: variable("AWS_SECRET_ACCESS_KEY")?,
        })
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.key_id)
    }
}

/// The sources of a manifest in its order, and the control endpoint, which has the chunk trees whether it is listed or not.
#[derive(Clone)]
pub struct Sources {
    listed: Vec<Arc<Source>>,
    control: Arc<Source>,
}

impl Sources {
    /// Makes the sources ready. Those that are defined as in `before` are taken over with all that is known of them.
    /// One that cannot be asked is listed as well, and says so when it is asked.
    pub fn new(
        listed: &[Listed],
        settings: &Settings,
        transport: &Arc<Transport>,
        limiter: &Arc<Limiter>,
        before: Option<&Self>,
    ) -> Self {
        let make = |listed: &Listed| {
            let known = before.and_then(|before| before.all().find(|one| one.listed == *listed));
            let fresh = || Arc::new(Source::new(listed, settings, transport, limiter));
            known.cloned().unwrap_or_else(fresh)
        };
        let control = make(&Listed::Control);
        let make = |one: &Listed| match one {
            Listed::Control => control.clone(),
            other => make(other),
        };
        Self {
            listed: listed.iter().map(make).collect(),
            control: control.clone(),
        }
    }

    /// The control endpoint.
    pub fn control(&self) -> &Arc<Source> {
        &self.control
    }

    /// The source at an index of the manifest's list.
    pub fn get(&self, index: u16) -> Option<&Arc<Source>> {
        self.listed.get(usize::from(index))
    }

    /// All sources, each once.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Source>> {
        let listed = |one: &&Arc<Source>| !Arc::ptr_eq(one, &self.control);
        self.listed.iter().filter(listed).chain([&self.control])
    }

    /// The sources to ask for an object, in this order: the peer that holds it for the cluster, upstream appliances, origins.
    pub fn order(&self, via: Option<u16>) -> Vec<Arc<Source>> {
        let of = |kind| self.listed.iter().filter(move |one| one.kind() == kind);
        let via = via.and_then(|via| self.get(via));
        let far = of(SourceKind::Upstream).chain(of(SourceKind::Origin));
        via.into_iter().chain(far).cloned().collect()
    }
}

impl Source {
    fn new(
        listed: &Listed,
        settings: &Settings,
        transport: &Arc<Transport>,
        limiter: &Arc<Limiter>,
    ) -> Self {
        let appliance = header(&settings.appliance);
        let (appliance, targets) = match (appliance, targets(listed, settings)) {
            (Ok(appliance), targets) => (appliance, targets),
            (Err(problem), _) => (HeaderValue::from_static(""), Err(problem)),
        };
        Self {
            listed: listed.clone(),
            appliance,
            targets,
            current: AtomicUsize::new(0),
            transport: transport.clone(),
            limiter: limiter.clone(),
            counts: Counts::default(),
            health: Health::default(),
        }
    }
}

fn targets(listed: &Listed, settings: &Settings) -> Result<Vec<Target>, SourceError> {
    match listed {
        Listed::Peer { appliance, urls } | Listed::Upstream { appliance, urls } => {
            let name = ServerName::try_from(appliance.clone())
                .map_err(|error| SourceError::Setup(format!("{appliance:?}: {error}")))?;
            let of = |base| Target::Appliance {
                base,
                name: name.clone(),
            };
            urls.iter().map(|url| parse(url).map(of)).collect()
        }
        Listed::Http { url, .. } => Ok(vec![Target::Origin { base: parse(url)? }]),
        Listed::Control => Ok(vec![Target::Control {
            base: parse(&settings.control_url)?,
            token: header(&format!("Bearer {}", settings.token))?,
        }]),
        Listed::S3 { .. } => Ok(vec![s3(listed, settings.credentials.as_ref())?]),
    }
}

fn header(value: &str) -> Result<HeaderValue, SourceError> {
    HeaderValue::from_str(value).map_err(|_| {
        SourceError::Setup("the id or token of the appliance is no value of a header".into())
    })
}

fn parse(url: &str) -> Result<Url, SourceError> {
    let bad = |why: String| SourceError::Setup(format!("{url:?} is no address of a source: {why}"));
    let parsed = Url::parse(url).map_err(|error| bad(error.to_string()))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        other => Err(bad(format!(
            "its scheme is {other}, allowed are http and https"
        ))),
    }
}

fn s3(listed: &Listed, credentials: Option<&Credentials>) -> Result<Target, SourceError> {
    let Listed::S3 {
        endpoint,
        region,
        bucket,
        prefix,
        ..
    } = listed
    else {
        return Err(SourceError::Setup("it is not S3".into()));
    };
    // object_store makes an HTTP client also for signing alone, and that asks for the process's provider. One is enough.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let builder = AmazonS3Builder::new()
        .with_endpoint(parse(endpoint)?.as_str().trim_end_matches('/'))
        .with_region(region)
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(false)
        .with_allow_http(endpoint.starts_with("http:"));
    let missing = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the agent's environment";
    let credentials = credentials.ok_or_else(|| SourceError::Setup(missing.into()))?;
    let bucket = builder
        .with_access_key_id(&credentials.key_id)
        .with_secret_access_key(&credentials.secret)
        .build()
        .map_err(|error| SourceError::Setup(error.to_string()))?;
    Ok(Target::S3 {
        bucket: Box::new(bucket),
        prefix: prefix.clone(),
    })
}
