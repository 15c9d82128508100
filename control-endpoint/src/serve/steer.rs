//! Where viewers are sent: to whoever asks for them, to their players, and by redirection.

use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::extract::{ConnectInfo, Path, Query, RawQuery, State};
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::manifest::check_path;
use protocol::steer::{PathwayClone, Steered, SteeringManifest, UriReplacement};
use serde::Deserialize;
use steering::bgp::{Family, Prefix};

use super::refusal::Refusal;
use super::{App, Peer, Shared};
use crate::steer::{Unused, Viewer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    path: String,
    client: Option<IpAddr>,
}

/// For programs that send viewers themselves.
pub(super) async fn steer(
    State(app): Shared,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let client = asked.client.unwrap_or_else(|| app.client(peer, &headers));
    let steered = app.decide(client, &asked.path).await?;
    Ok(fresh(Json(steered)))
}

/// Players add what they know of their pathway and throughput; it is not asked for.
#[derive(Deserialize)]
pub(super) struct PlayerAsked {
    path: String,
    /// The pathway of the playlist: of HLS without PATHWAY-ID it is ".".
    #[serde(default = "first_pathway")]
    base: String,
}

fn first_pathway() -> String {
    ".".to_owned()
}

/// For players.
pub(super) async fn manifest(
    State(app): Shared,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    Query(asked): Query<PlayerAsked>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let steered = app.decide(app.client(peer, &headers), &asked.path).await?;
    if steered.choices.is_empty() {
        return Err(Refusal::nowhere(steered.why));
    }
    let priority: Vec<String> = steered
        .choices
        .iter()
        .map(|choice| choice.id.clone())
        .collect();
    let clone = |choice: &protocol::steer::Choice| PathwayClone {
        base_id: asked.base.clone(),
        id: choice.id.clone(),
        uri_replacement: UriReplacement {
            host: host(&choice.url).to_owned(),
        },
    };
    Ok(for_players(Json(SteeringManifest {
        version: 1,
        ttl: steered.ttl_s,
        pathway_clones: steered.choices.iter().map(clone).collect(),
        service_location_priority: priority.clone(),
        pathway_priority: priority,
    })))
}

/// For players without content steering: their playlist, from the first choice. What it leads to is asked there as well.
pub(super) async fn play(
    State(app): Shared,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let path = format!("/{path}");
    if ![".m3u8", ".mpd"].iter().any(|kind| path.ends_with(kind)) {
        return Err(Refusal::bad(
            "only playlists (.m3u8, .mpd) are redirected: what they lead to is asked of where they came from",
        ));
    }
    let steered = app.decide(app.client(peer, &headers), &path).await?;
    let Some(first) = steered.choices.first() else {
        return Err(Refusal::nowhere(steered.why));
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = for_players(StatusCode::TEMPORARY_REDIRECT);
    let to = HeaderValue::try_from(format!("{}{query}", first.url));
    let to = to.map_err(|_| Refusal::bad("the query cannot stand in a Location"))?;
    response.headers_mut().insert(LOCATION, to);
    Ok(response)
}

/// Routes that are told and not used.
pub(super) async fn unused(
    State(app): Shared,
    headers: HeaderMap,
) -> Result<Json<Vec<Unused>>, Refusal> {
    app.require_operator(&headers)?;
    Ok(Json(app.steering.unused()))
}

/// Appliances that do not hear what others of their cluster do.
pub(super) async fn gaps(State(app): Shared, headers: HeaderMap) -> Result<Response, Refusal> {
    app.require_operator(&headers)?;
    Ok(Json(&*app.steering.gaps()).into_response())
}

fn fresh(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

/// A player in a browser asks from another origin.
fn for_players(answer: impl IntoResponse) -> Response {
    let mut response = fresh(answer);
    let anybody = HeaderValue::from_static("*");
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, anybody);
    response
}

/// The host alone: players put it into the playlist's address, whose port stays. hls.js and shaka-player take none that has a port
/// (the setter of `hostname`, URL Standard section 6.1), and stay where they are.
fn host(url: &str) -> &str {
    let behind = url.split_once("//").map_or(url, |(_, behind)| behind);
    let authority = behind.split('/').next().unwrap_or(behind);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

impl App {
    async fn decide(&self, client: IpAddr, path: &str) -> Result<Steered, Refusal> {
        check_path(path).map_err(|error| Refusal::bad(error.to_string()))?;
        let Some(found) = self.steering.find(&self.database, path).await? else {
            self.metrics.steered("unknown");
            return Err(Refusal::not_found(format!(
                "nothing is published at {path}"
            )));
        };
        let client = client.to_canonical();
        let steered = self.steering.answer(Viewer { client, path }, &found);
        self.metrics.steered(match steered.choices.first() {
            None => "nowhere",
            Some(first) if first.rank.is_none() => "origin",
            Some(_) => "appliance",
        });
        Ok(steered)
    }

    /// Who asks: the other end of the connection, or whom a proxy that is trusted names last.
    fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.ip().to_canonical();
        let named = headers.get_all("x-forwarded-for").iter().rev();
        let named = named
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.rsplit(','));
        for text in named {
            let Some(host) = Prefix::of(client, Family::of(client).bits()) else {
                break;
            };
            if !self.steering.trusts(host) {
                break;
            }
            match text.trim().parse::<IpAddr>() {
                Ok(before) => client = before.to_canonical(),
                Err(_) => break,
            }
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn players_are_told_hosts_without_ports() {
        for (url, expected) in [
            ("https://c1.x/a/b.m3u8", "c1.x"),
            ("https://c1.x:8443/a/b:1.m3u8", "c1.x"),
            ("http://192.0.2.1:80/", "192.0.2.1"),
            ("https://[2001:db8::1]:443/a", "[2001:db8::1]"),
            ("https://[2001:db8::1]/a", "[2001:db8::1]"),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }
}
