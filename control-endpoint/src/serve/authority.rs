//! Who asks: an appliance by its token, or the operator by the token in a file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::App;
use super::refusal::Refusal;

/// The hash of the operator's token.
pub(super) fn operator(file: Option<&Path>) -> Result<Option<[u8; 32]>> {
    let Some(file) = file else {
        return Ok(None);
    };
    let cannot = || format!("operator_token_file: cannot read {}", file.display());
    let token = fs::read_to_string(file).with_context(cannot)?;
    let token = token.trim();
    ensure!(
        token.len() >= 16,
        "operator_token_file: {} has fewer than 16 characters; `openssl rand -hex 32` makes a good token",
        file.display()
    );
    Ok(Some(*blake3::hash(token.as_bytes()).as_bytes()))
}

impl App {
    /// Only the appliance itself.
    pub(super) async fn require_appliance(
        &self,
        headers: &HeaderMap,
        id: &str,
    ) -> Result<(), Refusal> {
        let holder = self.any_appliance(headers).await?;
        if holder == id {
            return Ok(());
        }
        self.metrics.refused("forbidden");
        Err(Refusal::forbidden(format!(
            "this is the token of {holder}, not of {id}"
        )))
    }

    /// Any registered appliance.
    pub(super) async fn any_appliance(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let holder = match bearer(headers) {
            Some(token) => self.database.holder(token).await?,
            None => None,
        };
        holder.ok_or_else(|| {
            self.metrics.refused("unauthorized");
            Refusal::unauthorized(
                "no token of a registered appliance; `oca-control appliance add` and `appliance token` print one",
            )
        })
    }

    /// Only the operator.
    pub(super) fn require_operator(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(operator) = self.operator else {
            return Err(Refusal::forbidden(
                "operator_token_file is not configured: nobody may do this over HTTP",
            ));
        };
        // Hashes are compared, so the time tells nothing of the token.
        let given = bearer(headers).map(|token| *blake3::hash(token.as_bytes()).as_bytes());
        if given == Some(operator) {
            return Ok(());
        }
        self.metrics.refused("unauthorized");
        Err(Refusal::unauthorized("not the operator's token"))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
