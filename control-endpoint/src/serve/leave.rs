//! An appliance wants to leave, is back, or tells which routes it hears.

use anyhow::Context;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use protocol::steer::{DrainLease, DrainWish, RouteTable};
use steering::decide::limits::LEASE;

use super::Shared;
use super::refusal::Refusal;
use super::report::{decoded, packed};
use crate::limits::{DRAIN_WISH_BYTES, REPORT_TIME, ROUTES_MAX_BYTES};

/// Grants a drain: nobody is sent there from now on.
pub(super) async fn drain(
    State(app): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<DrainLease>, Refusal> {
    app.require_appliance(&headers, &id).await?;
    let body = read(body, DRAIN_WISH_BYTES).await?;
    let wish: DrainWish = decoded(&body, false, ("a wish to drain", DRAIN_WISH_BYTES))?;
    let granted = app
        .steering
        .let_leave(&app.database, &id, wish.force)
        .await?;
    if let Err((too_few, least)) = granted {
        app.metrics.refused("too_few");
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            format!(
                "{} would have {} appliances left in service, and min_serving is {least}: wait until others are back, or use \
                 `ocactl drain --force`",
                too_few.site, too_few.left
            ),
        ));
    }
    tracing::info!(
        "{id} is leaving: {} ({})",
        wish.reason.as_deref().unwrap_or("no reason given"),
        wish.by
    );
    Ok(Json(DrainLease {
        lease_s: LEASE.as_secs(),
        answers_expire_s: app.steering.ttl_longest().as_secs(),
    }))
}

/// The drain is over: what the appliance reports counts again.
pub(super) async fn undrain(
    State(app): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    app.require_appliance(&headers, &id).await?;
    app.steering.come_back(&app.database, &id).await?;
    tracing::info!("{id} is back");
    Ok(StatusCode::NO_CONTENT)
}

/// Takes the routes that an appliance hears.
pub(super) async fn routes(
    State(app): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    app.require_appliance(&headers, &id).await?;
    let is_packed = packed(&headers)?;
    let _place = app
        .large_reports
        .acquire()
        .await
        .context("the semaphore is never closed")?;
    let body = read(body, ROUTES_MAX_BYTES).await?;
    let decode = move || decoded(&body, is_packed, ("a table of routes", ROUTES_MAX_BYTES));
    let decoding = tokio::task::spawn_blocking(decode);
    let table: RouteTable = decoding.await.context("reading a table of routes")??;
    let taken = app.steering.take_table(table, &app.database).await?;
    taken.map_err(|bad| Refusal::bad(bad.to_string()))?;
    app.steering.refresh(&app.database).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn read(body: Body, most: usize) -> Result<Vec<u8>, Refusal> {
    let read = tokio::time::timeout(REPORT_TIME, to_bytes(body, most)).await;
    let read = read.map_err(|_| {
        Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body took longer than {} s", REPORT_TIME.as_secs()),
        )
    })?;
    let read = read.map_err(|error| {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body broke off, or has more than {most} bytes: {error}"),
        )
    })?;
    Ok(read.into())
}
