//! What the control endpoint answers to whoever asks where a viewer is to be sent, and what appliances tell it for that.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/steer?client=IP&path=P` | [`Steered`] |
//! | `GET /v1/content-steering?path=P` | [`SteeringManifest`], for players of HLS and DASH |
//! | `GET /v1/play/P` | 307 to the first choice; playlists only |
//! | `POST /v1/appliances/{id}/drain` | a [`DrainWish`] there, a [`DrainLease`] back; 409 if too few would be left |
//! | `DELETE /v1/appliances/{id}/drain` | the drain is over; 204 |
//! | `POST /v1/appliances/{id}/routes` | a [`RouteTable`] there; 204 |

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::root::Root;

/// Where to send a viewer, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Steered {
    /// The viewer's address.
    pub client: IpAddr,
    /// What he asks for.
    pub path: String,
    /// The object that it leads to.
    pub root: Root,
    /// How long this may be used, in seconds.
    pub ttl_s: u32,
    /// In this order.
    pub choices: Vec<Choice>,
    /// Appliances that hear a prefix of the viewer and are not to be used.
    pub passed_over: Vec<PassedOver>,
    /// So few appliances are well that health is ignored.
    pub panic: bool,
    /// The decision in a sentence.
    pub why: String,
}

/// The id of the origin among [`Choice`]s and pathways. No appliance may be called so.
pub const ORIGIN: &str = "origin";

/// One place that has what the viewer asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// `appliance.id`, or [`ORIGIN`].
    pub id: String,
    /// Where to ask, with the path.
    pub url: String,
    /// By what it was ranked; not for the origin.
    pub rank: Option<Rank>,
    /// Why it is at this place, in a sentence.
    pub why: String,
}

/// By what an appliance was ranked, in the order of what counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// The longest prefix of the viewer that it hears, or that is registered for it.
    pub prefix: String,
    /// AS hops; null: it hears no routes.
    pub hops: Option<u16>,
    /// MULTI_EXIT_DISC; null: it hears no routes.
    pub med: Option<u32>,
    /// In steps of 100 km; null if it is not known where one of them is.
    pub distance_km: Option<u32>,
    /// Its site.
    pub site: String,
    /// The part of its capacity that is in use, in percent.
    pub load_percent: u32,
    /// How it stands: `well`, or `held` if it is silent and what it said last holds.
    pub standing: String,
}

/// An appliance that is not to be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// `appliance.id`.
    pub id: String,
    /// `not-held`, `down`, `leaving`, `silent`, `unreachable`.
    pub why: String,
}

/// A steering manifest of HLS (draft-pantos-hls-rfc8216bis, section 7.1) and of DASH (ETSI TS 103 998): one pathway per appliance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub struct SteeringManifest {
    /// 1.
    pub version: u32,
    /// When to ask again, in seconds.
    pub ttl: u32,
    /// Pathways, the best first.
    pub pathway_priority: Vec<String>,
    /// The same, for players of DASH that know the earlier name of it alone.
    pub service_location_priority: Vec<String>,
    /// How pathways come from the one that the playlist has.
    pub pathway_clones: Vec<PathwayClone>,
}

/// A pathway that is another one with another host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub struct PathwayClone {
    /// The pathway of the playlist.
    pub base_id: String,
    /// The new one.
    pub id: String,
    /// What differs.
    pub uri_replacement: UriReplacement,
}

/// What differs in the addresses of a cloned pathway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub struct UriReplacement {
    /// Without a port.
    pub host: String,
}

/// An appliance wants to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainWish {
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// Although the site would have too few left.
    pub force: bool,
}

/// It may leave; nobody is sent there from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainLease {
    /// This counts for so long; by then reports say that it is draining.
    pub lease_s: u64,
    /// For so long, answers that were given before may still send viewers there.
    pub answers_expire_s: u64,
}

/// The version of [`RouteTable`].
pub const ROUTES_VERSION: u32 = 1;

/// The prefixes that an appliance hears. Sent when the endpoint wants it, once for all that hear the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// [`ROUTES_VERSION`].
    pub version: u32,
    /// Each prefix once, in rising order of its text: prefix, AS hops, MULTI_EXIT_DISC.
    pub routes: Vec<(String, u16, u32)>,
}

impl RouteTable {
    /// What the bytes that are hashed to its digest are: `PREFIX HOPS MED` and a line feed, for each route.
    #[must_use]
    pub fn lines(&self) -> String {
        let line = |(prefix, hops, med): &(String, u16, u32)| format!("{prefix} {hops} {med}\n");
        self.routes.iter().map(line).collect()
    }
}

/// What a report says of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutesHeard {
    /// BLAKE3 of [`RouteTable::lines`]; `None`: it is not known yet, after a start.
    pub digest: Option<Root>,
    /// How many there are.
    pub prefixes: u64,
}

/// A site-mate, whose service address is to be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// `appliance.id`.
    pub id: String,
    /// Base URLs at which viewers are served.
    pub serves_at: Vec<String>,
}

/// Whether a site-mate's service address answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// `appliance.id`.
    pub id: String,
    /// Whether it does; after three tries in a row that say otherwise.
    pub answers: bool,
}
