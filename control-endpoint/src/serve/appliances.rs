//! What is known of every appliance.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use protocol::manifest::Serial;
use protocol::status;
use serde::Serialize;

use super::Shared;
use super::refusal::Refusal;
use crate::building::is_alive;
use crate::database::now;
use crate::database::reports::Kept;

/// One appliance, as registered and as reported.
#[derive(Debug, Serialize)]
pub(super) struct Known {
    id: String,
    site: String,
    cluster: String,
    /// Whether its cluster counts upon it.
    alive: bool,
    /// When the last report came; nothing was reported if `None`.
    reported_at: Option<u64>,
    software: Option<String>,
    state: Option<status::State>,
    causes: Vec<status::Cause>,
    serves_at: Vec<String>,
    /// Objects held and complete.
    objects_held: u64,
    /// What its agent says.
    fill: Option<protocol::fill::Facts>,
    /// The newest manifest built for it.
    manifest: Option<Serial>,
}

pub(super) async fn list(
    State(app): Shared,
    headers: HeaderMap,
) -> Result<Json<Vec<Known>>, Refusal> {
    app.require_operator(&headers)?;
    let mut reports = app.database.reports().await?;
    let held = app.database.held().await?;
    let mut list = Vec::new();
    for appliance in app.database.appliances().await? {
        let kept = reports.remove(&appliance.id);
        let alive = kept.as_ref().is_some_and(|kept| is_alive(kept, now()));
        let (reported_at, report) = kept
            .map(|Kept { received, report }| (received, report))
            .unzip();
        list.push(Known {
            alive,
            reported_at,
            software: report.as_ref().map(|report| report.software.clone()),
            state: report.as_ref().map(|report| report.state),
            objects_held: held.get(&appliance.id).copied().unwrap_or(0),
            manifest: app
                .database
                .manifest_in_force(&appliance.id)
                .await?
                .map(|built| built.serial),
            causes: report
                .as_ref()
                .map(|report| report.causes.clone())
                .unwrap_or_default(),
            serves_at: report
                .as_ref()
                .map(|report| report.serves_at.clone())
                .unwrap_or_default(),
            fill: report.and_then(|report| report.fill),
            id: appliance.id,
            site: appliance.site,
            cluster: appliance.cluster,
        });
    }
    Ok(Json(list))
}
