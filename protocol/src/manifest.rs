//! The manifest: what one appliance shall hold, as the control endpoint signs it.
//!
//! ```text
//! Manifest --seal--> one line of JSON with the signatures, then a zstd frame with the manifest's JSON
//!          <--open-- signature, limits, version, appliance, validity; then [`Manifest::check`]
//! ```
//!
//! Whoever gets bytes from elsewhere goes through [`seal::open`]; a [`Manifest`] in hand was checked. Tombstones travel by
//! themselves as well ([`Tombstones`]), because a takedown must not wait for a manifest of a million objects.

mod check;
pub mod keys;
pub mod seal;

use serde::{Deserialize, Serialize};

use crate::config::TierRole;
use crate::root::Root;

pub use check::{Invalid, check_path, is_usable_url};
pub use seal::BadSeal;

/// The version of the document. A new field leaves it; a changed meaning raises it.
pub const MANIFEST_VERSION: u32 = 1;

/// The number of a manifest: only rising. `epoch` rises when a control endpoint was restored from a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Serial {
    /// Life of the control endpoint's database.
    pub epoch: u64,
    /// Manifest within the epoch, from 1.
    pub number: u64,
}

/// What one appliance shall hold. Times are seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// `appliance.id` of the box that it is for.
    pub appliance: String,
    /// Its number.
    pub serial: Serial,
    /// When it was built.
    pub built_at: u64,
    /// After this it is not acted upon; what is held is served on.
    pub not_after: u64,
    /// Seconds by which the window of this site opens and closes later than configured; `None`: the appliance hashes its site's name.
    pub site_offset_s: Option<u32>,
    /// Bits per second that the fills of the site may use together, and how many appliances share them.
    pub site_rate: Option<SiteRate>,
    /// Where bytes come from. [`Wanted::via`] points into this list.
    pub sources: Vec<Source>,
    /// What shall be held. One entry per path; entries of one root share the bytes.
    pub objects: Vec<Wanted>,
    /// What must not be held. The newest state of [`Tombstones`] when this was built.
    pub tombstones: Vec<Tombstone>,
}

/// A rate that a site shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRate {
    /// Bits per second over all appliances of the site.
    pub bits_per_second: u64,
    /// Appliances that fill at the site, this one included; at least 1.
    pub appliances: u32,
}

/// One path that shall lead to one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// URL path, percent-decoded, beginning with `/`.
    pub path: Box<str>,
    /// The object.
    pub root: Root,
    /// Its size in bytes.
    pub size: u64,
    /// Value of `Content-Type`.
    pub content_type: Box<str>,
    /// Value of `Cache-Control`; `None`: the appliance's rule for the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<Box<str>>,
    /// For `Last-Modified`.
    pub modified: u64,
    /// Where it should lie.
    pub tier: TierRole,
    /// Bytes a day that viewers of this box are expected to ask for. Demand divided by size is the rank.
    pub demand: u64,
    /// Copies wanted, at least 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub copies: u8,
    /// To be fetched outside the window as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
    /// Index of the peer in `sources` that holds it or fetches it for the cluster: it is asked first, and waited for. `None`: this
    /// box fetches it from upstream or the origin for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<u16>,
}

fn one() -> u8 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_one(copies: &u8) -> bool {
    *copies == 1
}

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Source {
    /// An appliance of the same cluster: `GET <url><path>`, ETag = root.
    Peer {
        /// Its `appliance.id`.
        appliance: String,
        /// Base URLs of its data plane, the best first, as in `http://192.0.2.1:80`.
        urls: Vec<String>,
    },
    /// An appliance of an upstream tier, asked like a peer.
    Upstream {
        /// Its `appliance.id`.
        appliance: String,
        /// Base URLs of its data plane.
        urls: Vec<String>,
    },
    /// The control endpoint's own store: `GET <control url>/v1/bytes/<root>`.
    Control,
    /// Any HTTP server: `GET <url><path>`.
    Http {
        /// Name in status and metrics.
        name: String,
        /// Base URL, as in `https://origin.example/media`.
        url: String,
    },
    /// S3-compatible storage; the key is `prefix` + the path without its leading `/`. Credentials are the appliance's own
    /// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` in the agent's environment).
    S3 {
        /// Name in status and metrics.
        name: String,
        /// Endpoint, as in `https://s3.example`.
        endpoint: String,
        /// Region, as in `eu-central-1`.
        region: String,
        /// Bucket.
        bucket: String,
        /// Put before the path; empty or ending with `/`.
        #[serde(default)]
        prefix: String,
    },
}

/// The kinds of [`Source`], in the order in which they are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// Within the cluster.
    Peer,
    /// An appliance nearer to the origin.
    Upstream,
    /// The control endpoint's store, an HTTP server, S3: the long line.
    Origin,
}

impl SourceKind {
    /// All kinds, for metrics.
    pub const ALL: [Self; 3] = [Self::Peer, Self::Upstream, Self::Origin];

    /// The word in JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Upstream => "upstream",
            Self::Origin => "origin",
        }
    }
}

impl Source {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Peer { .. } => SourceKind::Peer,
            Self::Upstream { .. } => SourceKind::Upstream,
            Self::Control | Self::Http { .. } | Self::S3 { .. } => SourceKind::Origin,
        }
    }

    /// Its name in status and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Peer { appliance, .. } | Self::Upstream { appliance, .. } => appliance,
            Self::Control => "control",
            Self::Http { name, .. } | Self::S3 { name, .. } => name,
        }
    }
}

/// A path that must not lead to an object any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The path. If it leads to another object meanwhile, that one stays.
    pub path: Box<str>,
    /// The object.
    pub root: Root,
    /// When it was taken down.
    pub at: u64,
}

/// All tombstones of an appliance, signed and sent by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstones {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// `appliance.id`.
    pub appliance: String,
    /// The number of this list: `epoch` as in manifests, `number` rises with each takedown.
    pub serial: Serial,
    /// When it was written.
    pub built_at: u64,
    /// What must not be held.
    pub tombstones: Vec<Tombstone>,
}

impl std::fmt::Display for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

/// Text that is no serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the serial of a manifest: allowed are two numbers with a dot between them, as in 1.42"
)]
pub struct BadSerial;

impl std::str::FromStr for Serial {
    type Err = BadSerial;

    fn from_str(text: &str) -> Result<Self, BadSerial> {
        let (epoch, number) = text.split_once('.').ok_or(BadSerial)?;
        Ok(Self {
            epoch: epoch.parse().map_err(|_| BadSerial)?,
            number: number.parse().map_err(|_| BadSerial)?,
        })
    }
}
