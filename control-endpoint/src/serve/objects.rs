//! What an operator publishes and takes down over HTTP.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use protocol::limits::OBJECT_MAX_BYTES;
use protocol::manifest::check_path;
use protocol::units::ByteSize;
use serde::Deserialize;

use super::Shared;
use super::refusal::Refusal;
use crate::database::now;
use crate::database::objects::{Published, Registration};
use crate::ingest::{self, Expectation};
use crate::limits::{LIST_MAX, STALL_TIME};
use crate::own_copy::OwnCopy;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    #[serde(default)]
    after: String,
    #[serde(default = "list_max")]
    limit: u32,
}

fn list_max() -> u32 {
    LIST_MAX
}

pub(super) async fn list(
    State(app): Shared,
    Query(part): Query<Part>,
    headers: HeaderMap,
) -> Result<Json<Vec<Published>>, Refusal> {
    app.require_operator(&headers)?;
    Ok(Json(
        app.database
            .published(&part.after, part.limit.min(LIST_MAX))
            .await?,
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    demand: Option<ByteSize>,
    #[serde(default)]
    urgent: bool,
    #[serde(default)]
    lift_takedown: bool,
}

pub(super) async fn publish(
    State(app): Shared,
    Path(path): Path<String>,
    Query(options): Query<Options>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Published>), Refusal> {
    app.require_operator(&headers)?;
    let path = checked(&path)?;
    let copy = receive(OwnCopy::begin(app.database.state_dir())?, body).await?;
    let expectation = Expectation {
        demand: options.demand.map(ByteSize::bytes),
        urgent: options.urgent,
    };
    let new: Registration = tokio::task::block_in_place(|| {
        let stored = copy.finish()?;
        anyhow::Ok(ingest::registration(path, stored, now(), &expectation))
    })?;
    let taken_down_at = app.database.taken_down_at(&new.path, new.root).await?;
    if taken_down_at.is_some() && !options.lift_takedown {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "this object was taken down from this path; lift_takedown=true publishes it again",
        ));
    }
    app.database.register(std::slice::from_ref(&new)).await?;
    tracing::info!("published {} ({} bytes, {})", new.path, new.size, new.root);
    Ok((
        StatusCode::CREATED,
        Json(Published {
            path: new.path,
            root: new.root,
            size: new.size,
            content_type: new.content_type,
            demand: new.demand,
            published: new.published,
            broken: None,
        }),
    ))
}

async fn receive(mut copy: OwnCopy, mut body: Body) -> Result<OwnCopy, Refusal> {
    loop {
        let frame = tokio::time::timeout(STALL_TIME, body.frame());
        let frame = frame.await.map_err(|_| {
            Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("no byte came for {} s", STALL_TIME.as_secs()),
            )
        })?;
        let Some(frame) = frame else {
            return Ok(copy);
        };
        let frame = frame.map_err(|error| Refusal::bad(format!("the body broke off: {error}")))?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if copy.size() + piece.len() as u64 > OBJECT_MAX_BYTES {
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("an object has at most {OBJECT_MAX_BYTES} bytes"),
            ));
        }
        tokio::task::block_in_place(|| copy.write(&piece))?;
    }
}

pub(super) async fn take_down(
    State(app): Shared,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    app.require_operator(&headers)?;
    let path = checked(&path)?;
    if !app.database.take_down(&path).await? {
        return Err(Refusal::not_found(format!(
            "nothing is published at {path}"
        )));
    }
    tracing::info!("taken down {path}");
    Ok(StatusCode::NO_CONTENT)
}

fn checked(path: &str) -> Result<String, Refusal> {
    let path = format!("/{path}");
    check_path(&path).map_err(|error| Refusal::bad(error.to_string()))?;
    Ok(path)
}
