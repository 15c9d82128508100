//! The sections that mean what is typed, each with its defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::tls::Certificate;
use super::value::{Auto, OnMiss, Prefix};
use crate::units::{BitRate, ByteSize, Interval, Percent};

/// `[listen]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Where viewers are served in clear. Default: none.
    pub http: Vec<SocketAddr>,
    /// Where viewers are served with TLS; needs `[tls]`. Default: none.
    pub https: Vec<SocketAddr>,
    /// `/metrics /healthz /readyz /status /steering`; changes nothing. Default: `127.0.0.1:9580`.
    pub admin: SocketAddr,
    /// Further addresses that answer only `/metrics /healthz /readyz`. Default: none.
    pub metrics: Vec<SocketAddr>,
    /// Who may ask at `metrics`. Default: nobody.
    pub metrics_allow: Vec<Prefix>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            http: Vec::new(),
            https: Vec::new(),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 9580)),
            metrics: Vec::new(),
            metrics_allow: Vec::new(),
        }
    }
}

/// `[workers]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workers {
    /// Threads that serve; `auto`: one per core.
    pub count: Auto<u16>,
    /// Memory tier: content locked in memory. `"0 B"` turns it off; `auto`: a share of what may be locked.
    pub memory: Auto<ByteSize>,
    /// Bytes read from devices and not yet sent, over all devices. `auto`: 1/8 of memory.
    pub in_flight: Auto<ByteSize>,
    /// How the kernel is asked for sockets' news; `auto`: `uring` where it works, else `epoll`; `kqueue` on FreeBSD.
    pub backend: Auto<Backend>,
}

/// `workers.backend`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// `io_uring` (Linux).
    Uring,
    /// epoll (Linux).
    Epoll,
    /// kqueue (FreeBSD).
    Kqueue,
}

impl Backend {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::Kqueue => "kqueue",
        }
    }
}

/// `role` of a `[[tier]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TierRole {
    /// Fast devices for what is watched most.
    Hot,
    /// Large devices for the rest.
    Capacity,
}

impl TierRole {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Capacity => "capacity",
        }
    }
}

/// `[serve]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Serve {
    /// What a viewer is told about a path that is not here. Default: 404.
    pub on_miss: OnMiss,
    /// How long a stop may take to finish running transfers. Default: 30 s.
    pub stop_bound: Interval,
    /// Connections over all workers; `auto`: what descriptors and memory allow.
    pub max_connections: Auto<u32>,
    /// Connections from one IPv4 address or IPv6 /64; `auto`: a quarter of all, at least 1024. Viewers behind one carrier-grade NAT
    /// share an address.
    pub max_connections_per_address: Auto<u32>,
    /// From the first byte of a request to the end of its head, else 408. Default: 10 s.
    pub head_timeout: Interval,
    /// How long a connection may rest between requests. Default: 60 s.
    pub idle_timeout: Interval,
    /// How long a viewer may take no byte of a response. Default: 30 s.
    pub send_timeout: Interval,
    /// A viewer that takes less of a response over `min_rate_window` is let go. Default: 64 kbit/s; 0 bit/s: no bound.
    pub min_rate: BitRate,
    /// Default: 60 s. A paused viewer takes what its kernel holds, and then comes under `send_timeout`.
    pub min_rate_window: Interval,
    /// Transfers to other appliances that fill from this one at once; beyond it they are answered 429. Default: 64.
    pub max_fills: u32,
    /// How fast a viewer is sent to.
    pub pacing: Pacing,
}

/// `serve.pacing`: the rate of a connection to a viewer. Other appliances that fill are never paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pacing {
    /// The most that a connection gets. It should be well above the highest bitrate that is served. Default: no bound.
    pub rate: Option<BitRate>,
    /// Whether a player's wish for less is heard: `rtp` of its CMCD, but at least one and a half times the bitrate `br` that it
    /// says it plays. Default: false.
    pub cmcd: bool,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            on_miss: OnMiss::NotFound,
            stop_bound: Interval::from_seconds(30),
            max_connections: Auto::Auto,
            max_connections_per_address: Auto::Auto,
            head_timeout: Interval::from_seconds(10),
            idle_timeout: Interval::from_seconds(60),
            send_timeout: Interval::from_seconds(30),
            min_rate: BitRate::from_bits_per_second(64_000),
            min_rate_window: Interval::from_seconds(60),
            max_fills: 64,
            pacing: Pacing::default(),
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A line for each request of a viewer. Default: none is written.
    pub access: Option<AccessLog>,
}

/// `log.access`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// The file, in a folder that is there and that the daemon may write to.
    pub path: PathBuf,
    /// The share of connections whose requests are written; all requests of such a connection are. Default: 100 %.
    #[serde(default = "hundred_percent")]
    pub sample: Percent,
    /// How much of a viewer's address is written. Default: truncated.
    #[serde(default)]
    pub addresses: Addresses,
    /// The file is put aside when it would become longer; `"0 B"`: never, somebody else does it. Default: 256 MiB.
    #[serde(default = "quarter_gib")]
    pub rotate: ByteSize,
    /// Files that were put aside and are kept, as `PATH.1` (the youngest) and so on. Default: 8.
    #[serde(default = "eight")]
    pub keep: u16,
}

/// `log.access.addresses`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Addresses {
    /// The first 24 bits of an IPv4 address and the first 48 of an IPv6 address; the others are 0.
    #[default]
    Truncated,
    /// The whole address.
    Full,
}

fn hundred_percent() -> Percent {
    Percent::of(100)
}

fn quarter_gib() -> ByteSize {
    ByteSize::from_bytes(256 << 20)
}

/// `[control]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Base URL of the control endpoint.
    pub url: String,
    /// PEM file with the authorities that are believed over https: of the control endpoint, peers and upstream appliances.
    /// Default: those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate that this appliance shows to those three if they ask for one. Default: none.
    pub client: Option<Certificate>,
    /// Files with the Ed25519 keys that may sign manifests; at least one.
    pub keys: Vec<PathBuf>,
    /// File with the token that this appliance shows.
    pub token_file: Option<PathBuf>,
    /// How often the daemon reports, unless the control endpoint asks otherwise. Default: 5 s.
    #[serde(default = "five_seconds")]
    pub report_interval: Interval,
    /// When no report has been answered for so long, the box is `down`: its routes are withdrawn, and nobody is sent to it. Default: never; it
    /// keeps serving, and is offered.
    pub strict: Option<Interval>,
}

fn five_seconds() -> Interval {
    Interval::from_seconds(5)
}

/// `[fill]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// Civil time, as in `02:00-14:00`; may cross midnight.
    pub window: String,
    /// Name in the time zone database, as in `Europe/Berlin`. Default: `UTC`.
    #[serde(default = "utc")]
    pub timezone: String,
    /// The most that is fetched at once. No default: without it nothing is fetched.
    pub rate: Option<BitRate>,
    /// The most that is fetched for urgent objects outside the window. Default: a tenth of `rate`.
    pub urgent_rate: Option<BitRate>,
    /// Bytes of urgent objects a day outside the window. Default: 100 GiB.
    #[serde(default = "hundred_gib")]
    pub urgent_per_day: ByteSize,
    /// The share of the held bytes that one manifest, and one day, may evict; beyond it the manifest is held. Default: 10 %.
    #[serde(default = "ten_percent")]
    pub max_evict_per_day: Percent,
    /// A tier is filled up to this share of its space. Default: 95 %.
    #[serde(default = "high_watermark")]
    pub high_watermark: Percent,
    /// Making room goes on until this share of the tier's space, so that it is not done for every object. Default: 92 %.
    #[serde(default = "low_watermark")]
    pub low_watermark: Percent,
    /// Objects that are fetched at once. Default: 8.
    #[serde(default = "eight")]
    pub parallel: u16,
    /// How long an object waits for the peer that fetches it for the cluster, before this box asks upstream itself. Default: 30 min.
    #[serde(default = "half_an_hour")]
    pub peer_patience: Interval,
    /// How often the control endpoint is asked for a manifest inside the window. Default: 10 min.
    #[serde(default = "ten_minutes")]
    pub manifest_interval: Interval,
    /// How often it is asked what was taken down, at any hour. Default: 20 s.
    #[serde(default = "twenty_seconds")]
    pub takedown_interval: Interval,
    /// Whether lost and bad columns are written anew outside the window too, at `urgent_rate`. Default: false.
    #[serde(default)]
    pub repair_outside_window: bool,
    /// PEM file with the authorities that are believed of origins that a manifest names. Default: those of the system.
    pub origin_ca: Option<PathBuf>,
    /// Where the agent answers `/metrics`. Default: `127.0.0.1:9581`.
    #[serde(default = "agent_metrics")]
    pub metrics: SocketAddr,
    /// Whether nothing is fetched, evicted or expired while the system does not say that its clock is synchronised. Default: true.
    #[serde(default = "yes")]
    pub require_synchronised_clock: bool,
}

/// `[scrub]`: what is stored is read back and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scrub {
    /// The most that is read of one device. Default: 200 Mbit/s, 2.1 TB a day.
    pub rate: BitRate,
    /// From the begin of one pass over a device to that of the next; a pass that takes longer is followed by the next at once.
    /// Default: 30 d.
    pub every: Interval,
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            rate: BitRate::from_bits_per_second(200_000_000),
            every: Interval::from_seconds(30 * 86_400),
        }
    }
}

fn hundred_gib() -> ByteSize {
    ByteSize::from_bytes(100 << 30)
}

fn ten_percent() -> Percent {
    Percent::of(10)
}

fn high_watermark() -> Percent {
    Percent::of(95)
}

fn low_watermark() -> Percent {
    Percent::of(92)
}

fn eight() -> u16 {
    8
}

fn half_an_hour() -> Interval {
    Interval::from_seconds(30 * 60)
}

fn ten_minutes() -> Interval {
    Interval::from_seconds(600)
}

fn twenty_seconds() -> Interval {
    Interval::from_seconds(20)
}

fn agent_metrics() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 9581))
}

fn yes() -> bool {
    true
}

fn utc() -> String {
    "UTC".to_owned()
}

/// `[steering]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Steering {
    /// Addresses that viewers are sent to; at most 16. Default: none, so nobody is sent here.
    pub service_addresses: Vec<IpAddr>,
    /// Interfaces that carry what viewers are sent. Default: those that hold the service addresses; where these lie on loopback, all with
    /// hardware behind them that have had a link.
    pub interfaces: Vec<String>,
    /// What this box can send; `auto`: 85 % of the speed of those interfaces. Never more than those of them carry that have a link.
    pub capacity: Auto<BitRate>,
    /// How long a hint may be used. A drain waits this long before it refuses new viewers. Default: 60 s.
    pub hint_lifetime: Interval,
    /// How long a drain waits for running transfers before it cuts them. Default: 2 h.
    pub drain_bound: Interval,
}

impl Default for Steering {
    fn default() -> Self {
        Self {
            service_addresses: Vec::new(),
            interfaces: Vec::new(),
            capacity: Auto::Auto,
            hint_lifetime: Interval::from_seconds(60),
            drain_bound: Interval::from_seconds(2 * 3600),
        }
    }
}
