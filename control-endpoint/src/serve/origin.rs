//! The origin: bytes of objects by root, and their chunk trees.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use anyhow::Context;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::GetAll;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use command_line::said::in_full;
use protocol::root::Root;

use super::refusal::Refusal;
use super::{App, Shared};
use crate::database::objects::Stored;
use crate::stream;

pub(super) async fn tree(
    State(app): Shared,
    Path(root): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    app.any_appliance(&headers).await?;
    let root = parse(&root)?;
    let tree = app
        .database
        .tree(root)
        .await?
        .ok_or_else(|| unknown(root))?;
    app.metrics.sent("tree", tree.len() as u64);
    Ok((
        [
            (CONTENT_TYPE, "application/octet-stream"),
            (ETAG, &*format!("\"{root}\"")),
        ],
        tree,
    )
        .into_response())
}

pub(super) async fn bytes(
    State(app): Shared,
    Path(root): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    app.any_appliance(&headers).await?;
    let root = parse(&root)?;
    let object = app
        .database
        .object(root)
        .await?
        .ok_or_else(|| unknown(root))?;
    let etag = root.to_string();
    if headers.contains_key(IF_MATCH) && !names_one_of(headers.get_all(IF_MATCH), &etag) {
        return Err(Refusal::new(
            StatusCode::PRECONDITION_FAILED,
            "the object under this root is the root's; If-Match names another",
        ));
    }
    if names_one_of(headers.get_all(IF_NONE_MATCH), &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, format!("\"{etag}\""))]).into_response());
    }
    let part = wanted(&headers, &etag, object.size, &method)?;
    let Ok(permit) = app.fills.clone().try_acquire_owned() else {
        app.metrics.refused("busy");
        return Err(Refusal::busy());
    };
    let file = app.open(&object).await?;
    let (from, to) = part.unwrap_or((0, object.size));
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let (app, object) = (app.clone(), object.clone());
        let counter = app.metrics.sent.with_label_values(&["bytes"]);
        let still = move |file: &File| {
            let result = still_the_same(file, &object);
            if let Err(error) = &result {
                app.clone().mark_broken(object.clone(), error.to_string());
            }
            result
        };
        let pieces = stream::stretch(file, from, to, still, permit);
        Body::from_stream(futures_util::StreamExt::inspect(pieces, move |piece| {
            counter.inc_by(piece.as_ref().map_or(0, |piece| piece.len() as u64));
        }))
    };
    Ok(answer(part, object.size, &etag, body))
}

fn answer(part: Option<(u64, u64)>, size: u64, etag: &str, body: Body) -> Response {
    let (from, to) = part.unwrap_or((0, size));
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, (to - from).to_string()),
        (ETAG, format!("\"{etag}\"")),
        (ACCEPT_RANGES, "bytes".to_owned()),
    ];
    match part {
        None => (headers, body).into_response(),
        Some(_) => {
            let range = format!("bytes {from}-{}/{size}", to - 1);
            (
                StatusCode::PARTIAL_CONTENT,
                headers,
                [(CONTENT_RANGE, range)],
                body,
            )
                .into_response()
        }
    }
}

fn parse(text: &str) -> Result<Root, Refusal> {
    text.parse()
        .map_err(|error| Refusal::bad(format!("{text:.80}: {error}")))
}

fn unknown(root: Root) -> Refusal {
    Refusal::not_found(format!("no object {root} is registered here"))
}

/// The part to send; `None`: all. As RFC 9110 section 14.2: a range that is not understood, or more than one, is ignored.
fn wanted(
    headers: &HeaderMap,
    etag: &str,
    size: u64,
    method: &Method,
) -> Result<Option<(u64, u64)>, Refusal> {
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return Ok(None);
    };
    let same = headers
        .get(IF_RANGE)
        .is_none_or(|tag| tag.as_bytes() == format!("\"{etag}\"").as_bytes());
    if !same || method != Method::GET {
        return Ok(None);
    }
    match range.to_str().ok().and_then(single_range) {
        None => Ok(None),
        Some(range) => range
            .within(size)
            .map(Some)
            .ok_or_else(|| Refusal::range(size)),
    }
}

/// One byte range as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    From { first: u64, last: Option<u64> },
    Last(u64),
}

/// `None`: no range of bytes, not just one, or not well-formed.
fn single_range(text: &str) -> Option<Asked> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !unit.eq_ignore_ascii_case("bytes") || !digits(first) || !digits(last) {
        return None;
    }
    // Digits too many for 64 bits are beyond any end.
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Asked::Last(number(last))),
        (false, true) => Some(Asked::From {
            first: number(first),
            last: None,
        }),
        (false, false) => {
            let (first, last) = (number(first), number(last));
            (first <= last).then_some(Asked::From {
                first,
                last: Some(last),
            })
        }
    }
}

impl Asked {
    /// First byte and the one behind the last; `None`: not satisfiable.
    fn within(self, size: u64) -> Option<(u64, u64)> {
        let (from, to) = match self {
            Self::From { first, last } => (
                first,
                last.map_or(size, |last| last.saturating_add(1).min(size)),
            ),
            Self::Last(length) => (size.saturating_sub(length), size),
        };
        (from < to).then_some((from, to))
    }
}

/// Whether a list of entity tags has this strong one, or `*`.
pub(super) fn names_one_of(values: GetAll<'_, HeaderValue>, etag: &str) -> bool {
    let quoted = format!("\"{etag}\"");
    let tags = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    tags.map(str::trim).any(|tag| tag == "*" || tag == quoted)
}

impl App {
    async fn open(self: &Arc<Self>, object: &Stored) -> Result<File, Refusal> {
        if let Some(why) = &object.broken {
            return Err(gone(object, why));
        }
        let wanted = object.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let file = File::open(&wanted.file)?;
            still_the_same(&file, &wanted)?;
            io::Result::Ok(file)
        });
        match opened.await.context("opening a file")? {
            Ok(file) => Ok(file),
            Err(error) => {
                self.clone().mark_broken(object.clone(), error.to_string());
                Err(gone(object, &error.to_string()))
            }
        }
    }

    /// So that operators see it, and the next ingest takes it anew.
    fn mark_broken(self: Arc<Self>, object: Stored, why: String) {
        tracing::warn!(
            "{} of {}: {why}; ingest it again",
            object.file.display(),
            object.root
        );
        self.metrics.refused("changed");
        tokio::spawn(async move {
            if let Err(error) = self.database.mark_broken(&object, &why).await {
                tracing::error!("{}", in_full(error.as_ref()));
            }
        });
    }
}

fn gone(object: &Stored, why: &str) -> Refusal {
    Refusal::new(
        StatusCode::GONE,
        format!(
            "the file of {} is not what was registered: {why}",
            object.root
        ),
    )
}

fn still_the_same(file: &File, object: &Stored) -> io::Result<()> {
    let metadata = file.metadata()?;
    let mtime_ns = content_store::intake::mtime_ns(&metadata);
    if metadata.is_file() && metadata.size() == object.size && mtime_ns == object.mtime_ns {
        return Ok(());
    }
    Err(io::Error::other("it has changed since it was ingested"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, size, part) in [
            ("bytes=0-", 10, Some(Some((0, 10)))),
            ("bytes=2-3", 10, Some(Some((2, 4)))),
            ("bytes=2-300", 10, Some(Some((2, 10)))),
            ("bytes=-3", 10, Some(Some((7, 10)))),
            ("bytes=-300", 10, Some(Some((0, 10)))),
            ("bytes=10-", 10, Some(None)),
            ("bytes=-0", 10, Some(None)),
            ("bytes=0-", 0, Some(None)),
            ("bytes=99999999999999999999999-", 10, Some(None)),
            ("bytes=3-2", 10, None),
            ("bytes=-", 10, None),
            ("bytes=0-1,3-4", 10, None),
            ("bytes=+1-2", 10, None),
            ("items=0-1", 10, None),
            ("bytes", 10, None),
        ] {
            assert_eq!(
                single_range(text).map(|asked| asked.within(size)),
                part,
                "{text} of {size}"
            );
        }
    }
}
