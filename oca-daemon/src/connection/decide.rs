//! What a request is answered with.

use std::slice;

use super::Context;
use super::answer::Answer;
use crate::lookup;
use crate::precondition::{Outcome, evaluate};
use crate::range::ByteRange;
use crate::request::{self, Method, Request, decode_path};
use crate::response::{After, Plain, PlainBody};

/// Whether the error that answers `input` has a body.
pub(super) fn error_body(input: &[u8]) -> PlainBody {
    if request::asks_for_head(input) {
        PlainBody::LeftOut
    } else {
        PlainBody::Sent
    }
}

/// Decides what a request is answered with. `turned_away`: its connection is one too many.
pub(super) fn answer(request: &Request<'_>, turned_away: bool, cx: &mut Context<'_>) -> Answer {
    let after = after(request, cx.closing || cx.parting || turned_away);
    let body = if request.method == Method::Head {
        PlainBody::LeftOut
    } else {
        PlainBody::Sent
    };
    let now = cx.now;
    let error = |status| Answer::plain(Plain::Error(status), after, body, now);
    if turned_away {
        return error(503);
    }
    if request.method == Method::Options {
        return Answer::plain(Plain::Options, after, body, now);
    }
    let Some(path) = decode_path(request.path, cx.path) else {
        return error(400);
    };
    let Some(entry) = cx.index.lookup(path) else {
        // An appliance that fills asks for what may come yet: only what viewers miss is told.
        if let Some(demand) = cx.demand.filter(|_| !request.fill) {
            demand.missed(path);
        }
        return error(404);
    };
    let etag = entry.object().etag();
    let outcome = evaluate(
        request,
        &lookup::representation(&entry, &etag),
        &mut cx.shelf.set,
    );
    let whole = [ByteRange {
        start: 0,
        end: entry.object().size(),
    }];
    let ranges = match &outcome {
        Outcome::Whole => &whole,
        Outcome::Part(range) => slice::from_ref(range),
        Outcome::Parts => cx.shelf.set.ranges(),
        Outcome::NotModified | Outcome::PreconditionFailed | Outcome::RangeNotSatisfiable => &[],
    };
    let is_available = |range: &ByteRange| lookup::is_available(&entry, *range, cx.devices);
    if !ranges.iter().all(is_available) {
        return error(503);
    }
    let range = ranges.first().copied();
    let range = range.filter(|range| request.method == Method::Get && range.length() > 0);
    let answer = match outcome {
        Outcome::Parts => Answer::multipart(entry, after, cx),
        _ => Answer::object(entry, outcome, range, after, now),
    };
    match (request.fill && range.is_some()).then(|| cx.fills.admit()) {
        None => answer,
        Some(Some(place)) => answer.for_fill(place),
        Some(None) => error(429),
    }
}

fn after(request: &Request<'_>, closing: bool) -> After {
    match (request.keep_alive && !closing, request.http_1_0) {
        (false, _) => After::Close,
        (true, false) => After::KeepAlive,
        (true, true) => After::KeepAliveSaid,
    }
}
