//! Where an answer sends the asker, if anywhere.

use http::header::LOCATION;
use url::Url;

use super::{Answer, Request};
use crate::limits::REDIRECTS_MAX;
use crate::source::SourceError;

/// The address to ask next. `seen` holds all that were asked.
pub(super) fn next(
    request: &Request,
    answer: &Answer,
    seen: &[Url],
) -> Result<Option<Url>, SourceError> {
    if !request.follow || !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let refused = |why: String| Err(SourceError::Redirects(why));
    let location = answer.headers().get(LOCATION);
    let location = location
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let Ok(next) = request.url.join(location) else {
        return refused("to what is no address".into());
    };
    let host = next.host_str().unwrap_or_default().to_owned();
    match (request.url.scheme(), next.scheme()) {
        ("http", "http" | "https") | ("https", "https") => {}
        (_, other) => return refused(format!("from {} to {other}", request.url.scheme())),
    }
    if location.is_empty() {
        return refused("without an address".into());
    }
    if seen.contains(&next) {
        return refused(format!("in a loop, back to {host}"));
    }
    if seen.len() > REDIRECTS_MAX {
        return refused(format!("more than {REDIRECTS_MAX} times, lastly to {host}"));
    }
    Ok(Some(next))
}
