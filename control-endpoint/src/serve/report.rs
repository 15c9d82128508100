//! Reports of appliances.

use std::io::Read;

use anyhow::Context;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use protocol::control::{Answer, REPORT_VERSION, Report};
use protocol::limits::REPORT_MAX_BYTES;
use serde::de::DeserializeOwned;
use tokio::sync::SemaphorePermit;

use super::refusal::Refusal;
use super::{App, Shared};
use crate::limits::{REPORT_INTERVAL_S, REPORT_TIME, SMALL_REPORT_BYTES};

/// In refusals.
const A_REPORT: &str = "a report";

pub(super) async fn take(
    State(app): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Answer>, Refusal> {
    app.require_appliance(&headers, &id).await?;
    let is_packed = packed(&headers)?;
    let within = tokio::time::timeout(REPORT_TIME, read(&app, body));
    let (body, _place) = within.await.map_err(|_| too_slow())??;
    let report = tokio::task::spawn_blocking(move || decode(&body, is_packed));
    let report = report.await.context("reading a report")??;
    if report.appliance != id {
        return Err(Refusal::bad(format!(
            "the report is of {:.80}, and was sent as one of {id}",
            report.appliance
        )));
    }
    app.metrics.report();
    let routes_wanted = app.steering.take(&report);
    let taken = app.database.take_report(report).await?;
    if let Some(epoch) = taken.raised {
        tracing::error!(
            "{id} has accepted a serial that was never given here: this database is older than the fleet knows it. \
             The epoch is now {epoch}, and all manifests are built anew. Use `oca-control restore`, not a copy of the file"
        );
        app.metrics.epoch_raised();
    }
    let newest = app.database.manifest_in_force(&id).await?;
    Ok(Json(Answer {
        version: REPORT_VERSION,
        known: taken.known,
        next_s: REPORT_INTERVAL_S,
        manifest: newest.map(|built| built.serial),
        routes_wanted,
        neighbours: app.steering.neighbours(&id),
    }))
}

pub(super) fn packed(headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(false),
        Some(b"zstd") => Ok(true),
        Some(_) => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Encoding: allowed are zstd and identity",
        )),
    }
}

fn too_large(what: &str, most: usize) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("{what} has at most {most} bytes"),
    )
}

fn too_slow() -> Refusal {
    let limit = REPORT_TIME.as_secs();
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        format!("the report took longer than {limit} s"),
    )
}

/// With a place among the large ones, if it is large.
async fn read(app: &App, mut body: Body) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Refusal> {
    let mut read = Vec::new();
    let mut place = None;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Refusal::bad(format!("the report broke off: {error}")))?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if read.len() + piece.len() > REPORT_MAX_BYTES {
            return Err(too_large(A_REPORT, REPORT_MAX_BYTES));
        }
        if read.len() + piece.len() > SMALL_REPORT_BYTES && place.is_none() {
            let free = app.large_reports.acquire().await;
            place = Some(free.context("the semaphore of reports is never closed")?);
        }
        read.extend_from_slice(&piece);
    }
    Ok((read.into(), place))
}

fn decode(body: &[u8], is_packed: bool) -> Result<Report, Refusal> {
    let report: Report = decoded(body, is_packed, (A_REPORT, REPORT_MAX_BYTES))?;
    if report.version != REPORT_VERSION {
        return Err(Refusal::bad(format!(
            "a report of version {}; this program reads version {REPORT_VERSION}",
            report.version
        )));
    }
    Ok(report)
}

/// What a body says; `what` is its name, and it has at most `most` bytes when it is unpacked.
pub(super) fn decoded<T: DeserializeOwned>(
    body: &[u8],
    is_packed: bool,
    (what, most): (&str, usize),
) -> Result<T, Refusal> {
    let mut unpacked = Vec::new();
    let json = if is_packed {
        let malformed = |error: std::io::Error| Refusal::bad(format!("not zstd: {error}"));
        let decoder = zstd::Decoder::with_buffer(body).map_err(malformed)?;
        // One byte more than allowed tells what is too large from what fits exactly.
        decoder
            .take(most as u64 + 1)
            .read_to_end(&mut unpacked)
            .map_err(malformed)?;
        &unpacked
    } else {
        body
    };
    if json.len() > most {
        return Err(too_large(what, most));
    }
    serde_json::from_slice(json).map_err(|error| Refusal::bad(format!("not {what}: {error}")))
}
