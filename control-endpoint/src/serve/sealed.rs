//! Manifests and tombstones, signed. Both are asked for often and change seldom: the entity tag is the serial.

use std::collections::HashMap;
use std::sync::Mutex;

use anyhow::Context;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use protocol::control::{MANIFEST_HEADER, SEALED_TYPE};
use protocol::manifest::keys::PrivateKey;
use protocol::manifest::{MANIFEST_VERSION, Serial, Tombstones, seal};

use super::refusal::Refusal;
use super::{App, Shared, origin};
use crate::database::{Endpoint, uint};
use crate::stream;

/// The newest sealed tombstones of each appliance that has asked: they are the same list, but each names its reader.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<String, (Serial, Bytes)>>);

pub(super) async fn manifest(
    State(app): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    app.require_appliance(&headers, &id).await?;
    let Some(built) = app.database.manifest_in_force(&id).await? else {
        return Err(Refusal::not_found(
            "no manifest was built for this appliance yet; `oca-control build` builds one",
        ));
    };
    if is_known(&headers, built.serial) {
        return Ok(unchanged(built.serial));
    }
    let file = app.database.manifest_file(&id, built.serial);
    let opened = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(file)?;
        let length = file.metadata()?.len();
        std::io::Result::Ok((file, length))
    });
    let (file, length) = opened
        .await
        .context("reading a manifest")?
        .context("the manifest's file is gone: `oca-control build` makes it again")?;
    app.metrics.sent("manifest", length);
    let body = Body::from_stream(stream::whole(file, length));
    Ok(sealed(built.serial, length, body))
}

pub(super) async fn tombstones(
    State(app): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    app.require_appliance(&headers, &id).await?;
    let endpoint = app.database.endpoint().await?;
    let serial = serial_of(&endpoint);
    let mut response = if is_known(&headers, serial) {
        unchanged(serial)
    } else {
        let bytes = app.sealed_tombstones(&id, &endpoint).await?;
        app.metrics.sent("tombstones", bytes.len() as u64);
        sealed(serial, bytes.len() as u64, Body::from(bytes))
    };
    if let Some(newest) = app.database.manifest_in_force(&id).await? {
        let newest = HeaderValue::try_from(newest.serial.to_string());
        let newest = newest.context("the serial of a manifest")?;
        response.headers_mut().insert(MANIFEST_HEADER, newest);
    }
    Ok(response)
}

fn serial_of(endpoint: &Endpoint) -> Serial {
    Serial {
        epoch: uint(endpoint.epoch),
        number: uint(endpoint.tombstones),
    }
}

impl App {
    async fn sealed_tombstones(&self, id: &str, endpoint: &Endpoint) -> Result<Bytes, Refusal> {
        let serial = serial_of(endpoint);
        if let Some((of, bytes)) = self.tombstones.lock().get(id)
            && *of == serial
        {
            return Ok(bytes.clone());
        }
        let document = Tombstones {
            version: MANIFEST_VERSION,
            appliance: id.to_owned(),
            serial,
            built_at: uint(endpoint.tombstones_at),
            // May be newer than the number: then the next question brings it again.
            tombstones: self.database.tombstones().await?,
        };
        let keys: Vec<&PrivateKey> = self.terms.keys.iter().collect();
        let bytes = tokio::task::block_in_place(|| seal::seal(&document, &keys))
            .context("sealing tombstones")?;
        let bytes = Bytes::from(bytes);
        self.tombstones
            .lock()
            .insert(id.to_owned(), (serial, bytes.clone()));
        Ok(bytes)
    }
}

impl Cache {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Serial, Bytes)>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn is_known(headers: &HeaderMap, serial: Serial) -> bool {
    origin::names_one_of(headers.get_all(IF_NONE_MATCH), &serial.to_string())
}

fn unchanged(serial: Serial) -> Response {
    (StatusCode::NOT_MODIFIED, [(ETAG, format!("\"{serial}\""))]).into_response()
}

fn sealed(serial: Serial, length: u64, body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, SEALED_TYPE.to_owned()),
        (CONTENT_LENGTH, length.to_string()),
        (ETAG, format!("\"{serial}\"")),
    ];
    (headers, body).into_response()
}
