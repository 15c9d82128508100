//! What appliances and the control endpoint say to each other: HTTP/1.1, JSON, `Authorization: Bearer <token>`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/appliances/{id}/manifest` (`If-None-Match`) | a sealed [`Manifest`](crate::manifest::Manifest), ETag `"<serial>"`; 304; 404 before the first build |
//! | `GET /v1/appliances/{id}/tombstones` (`If-None-Match`) | sealed [`Tombstones`](crate::manifest::Tombstones), ETag `"<serial>"`; 304 |
//! | `POST /v1/appliances/{id}/report` | a [`Report`] there, an [`Answer`] back |
//! | `GET /v1/bytes/{root}` (`Range`) | the object; ETag `"<root>"`; 429 with `Retry-After` beyond the admitted fills |
//! | `GET /v1/trees/{root}` | 32 bytes per group of 1 MiB |
//!
//! A reader ignores fields that it does not know.

use serde::{Deserialize, Serialize};

use crate::fill::Facts;
use crate::manifest::Serial;
use crate::root::Root;
use crate::status::{Cause, Device, State};
use crate::steer::{Neighbour, Reached, RoutesHeard};

/// The version of [`Report`] and [`Answer`].
pub const REPORT_VERSION: u32 = 1;

/// `Content-Type` of sealed documents.
pub const SEALED_TYPE: &str = "application/vnd.oca.sealed";

/// Header of an answer to a question for tombstones: the serial of the newest manifest for that appliance. So whoever asks for takedowns
/// each minute knows at once of something urgent. It is not signed: it makes an appliance ask, and nothing else.
pub const MANIFEST_HEADER: &str = "oca-manifest";

/// The header by which an appliance says that it fetches to fill, with its `appliance.id`: the sender counts it against the fills
/// that it admits.
pub const FILL_HEADER: &str = "Oca-Fill";

/// What an appliance says of itself every few seconds. Sent by the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// `appliance.id`.
    pub appliance: String,
    /// `appliance.site`.
    pub site: String,
    /// Program and version.
    pub software: String,
    /// When the daemon started: together with `sequence` it orders reports.
    pub started: u64,
    /// From 1 since the start.
    pub sequence: u64,
    /// When this was written, by the appliance's clock.
    pub sent_at: u64,
    /// What steering is told.
    pub state: State,
    /// Why it is not `ok`.
    pub causes: Vec<Cause>,
    /// The document of `/steering`.
    pub steering: serde_json::Value,
    /// Base URLs at which peers fetch, as in `http://192.0.2.1:80`.
    pub serves_at: Vec<String>,
    /// Devices with their space.
    pub devices: Vec<Device>,
    /// What the agent said last; `None` if it has been silent for 30 s.
    pub fill: Option<Facts>,
    /// What is held.
    pub inventory: Inventory,
    /// Served since the last report that was answered; at most 10 000 entries, the largest first.
    pub served: Vec<Served>,
    /// Paths that were asked for and are not here, since the last report that was answered; the most asked first, at most 100.
    pub misses: Vec<Miss>,
    /// What routers tell; `None`: no router is listened to.
    #[serde(default)]
    pub routes: Option<RoutesHeard>,
    /// Whether site-mates answer.
    #[serde(default)]
    pub reached: Vec<Reached>,
}

/// Objects that are held and complete, as changes since an earlier state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Number of the state that this leads to: the daemon's own, from 1 since its start.
    pub revision: u64,
    /// The state that this builds on, which must be the last one that was answered; `None`: on nothing, all is listed.
    pub since: Option<u64>,
    /// Objects that came.
    pub added: Vec<Root>,
    /// Objects that went.
    pub removed: Vec<Root>,
}

/// Bytes of one object that viewers got. Bytes sent to fills of other appliances do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The object.
    pub root: Root,
    /// Bytes sent.
    pub bytes: u64,
    /// Its size: bytes divided by size is the popularity.
    pub size: u64,
}

/// A path that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// The path.
    pub path: String,
    /// Requests.
    pub requests: u64,
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// [`Report::started`] and [`Inventory::revision`] of the state that is known here; if it is not the one that was just sent,
    /// the next report lists all.
    pub known: Option<(u64, u64)>,
    /// When the next report is wanted, in seconds.
    pub next_s: u32,
    /// The newest manifest for this appliance.
    pub manifest: Option<Serial>,
    /// The table of the routes in the report is not known here: it is to be sent.
    #[serde(default)]
    pub routes_wanted: bool,
    /// Site-mates to be tried.
    #[serde(default)]
    pub neighbours: Vec<Neighbour>,
}

/// An error of the control endpoint: every answer of 400 and above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong and what to do.
    pub error: String,
}
