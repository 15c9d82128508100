//! One answer: its head, which leaves together with the first bytes of its body, and its body. An answer with several parts
//! goes through the same again for each of them: what stands before a part is its head.

use std::sync::Arc;
use std::time::Instant;

use content_store::Entry;

use super::beside::Beside;
use super::{Context, Ending, Step};
use crate::access_log::{Answered, End};
use crate::fills::Place;
use crate::lookup;
use crate::multipart::{Parts, Shelf};
use crate::precondition::Outcome;
use crate::range::ByteRange;
use crate::response::{After, Plain, PlainBody, status_of};
use crate::send_plan::DeviceView;
use crate::transfer::{Source, Transfer};

/// An answer that is being sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) started: Instant,
    pub(super) after: After,
    pub(super) body: Option<Transfer>,
    /// The body's bytes that the kernel took.
    body_sent: u64,
    /// Held by an answer that fills another appliance.
    fill: Option<Place>,
    /// Of an answer with several parts: `head` and `body` are those of the present one.
    parts: Option<Box<Parts>>,
    what: What,
    head: HeadProgress,
    /// Whether a device failed after the head had left.
    is_cut: bool,
    pub(super) beside: Beside,
}

#[derive(Debug)]
enum What {
    Plain(Plain, PlainBody),
    Object(Entry, Outcome),
}

/// The head is rendered when its first bytes can leave, and again only if the kernel took no byte of it.
#[derive(Debug)]
enum HeadProgress {
    Unsent,
    /// The kernel took a part: the rest is kept. Rare: it needs a socket buffer without room for a head.
    Rest(Box<[u8]>),
    Sent,
}

impl Answer {
    pub(super) fn plain(plain: Plain, after: After, body: PlainBody, now: Instant) -> Self {
        Self {
            started: now,
            after,
            body: None,
            body_sent: 0,
            fill: None,
            parts: None,
            what: What::Plain(plain, body),
            head: HeadProgress::Unsent,
            is_cut: false,
            beside: Beside::default(),
        }
    }

    pub(super) fn object(
        entry: Entry,
        outcome: Outcome,
        range: Option<ByteRange>,
        after: After,
        now: Instant,
    ) -> Self {
        let body = range.map(|range| Transfer::new(Arc::clone(entry.object()), range));
        Self {
            started: now,
            after,
            body,
            body_sent: 0,
            fill: None,
            parts: None,
            what: What::Object(entry, outcome),
            head: HeadProgress::Unsent,
            is_cut: false,
            beside: Beside::default(),
        }
    }

    /// An answer with the ranges that were collected in `cx.shelf`.
    pub(super) fn multipart(entry: Entry, after: After, cx: &mut Context<'_>) -> Self {
        let etag = entry.object().etag();
        let mut parts = cx.shelf.take();
        let first = parts.range();
        parts.content_length = cx
            .head
            .length_of_parts(&parts, &lookup::representation(&entry, &etag));
        Self {
            parts: Some(parts),
            ..Self::object(entry, Outcome::Parts, first, after, cx.now)
        }
    }

    /// The same for another appliance, which holds `place` until the answer ends.
    pub(super) fn for_fill(self, place: Place) -> Self {
        Self {
            fill: Some(place),
            body: self.body.map(Transfer::for_fill),
            ..self
        }
    }

    /// The answer has ended: notes what a viewer got. `all_taken`: nothing of it is sealed and not sent.
    pub(super) fn note(&mut self, ending: &Ending<'_>, all_taken: bool) {
        if let (Some(demand), None, What::Object(entry, _), 1..) =
            (ending.demand, &self.fill, &self.what, self.body_sent)
        {
            demand.served(entry.object(), self.body_sent);
        }
        let answered = Answered {
            started: self.started,
            duration: ending.now.saturating_duration_since(self.started),
            status: self.status(),
            body_bytes: self.body_sent,
            end: match (self.is_cut, self.is_done() && all_taken) {
                (true, _) => End::Device,
                (false, true) => End::Complete,
                (false, false) => ending.why,
            },
        };
        self.beside.finish(answered, ending.log);
    }

    pub(super) fn is_done(&self) -> bool {
        self.present_is_sent() && self.parts.as_ref().is_none_or(|parts| parts.is_last())
    }

    fn present_is_sent(&self) -> bool {
        matches!(self.head, HeadProgress::Sent)
            && self.body.as_ref().is_none_or(|body| body.remaining() == 0)
    }

    /// Nothing of the answer has left.
    fn is_unsent(&self) -> bool {
        matches!(self.head, HeadProgress::Unsent)
            && self.parts.as_ref().is_none_or(|parts| parts.is_first())
    }

    /// After the last byte of a part comes the next part, or the closing boundary.
    fn next_part(&mut self) {
        let (What::Object(entry, _), Some(parts)) = (&self.what, &mut self.parts) else {
            return;
        };
        parts.advance();
        let transfer = |range| {
            let transfer = Transfer::new(Arc::clone(entry.object()), range);
            if self.fill.is_some() {
                transfer.for_fill()
            } else {
                transfer
            }
        };
        self.body = parts.range().map(transfer);
        self.head = HeadProgress::Unsent;
    }

    /// The answer has ended: gives back what it borrowed.
    pub(super) fn tidy(&mut self, shelf: &mut Shelf) {
        if let Some(parts) = self.parts.take() {
            shelf.put_back(parts);
        }
    }

    pub(super) fn awaits_device(&self) -> bool {
        self.body.as_ref().is_some_and(Transfer::awaits_read)
    }

    /// Gives a device buffer back that a slow peer keeps from others who wait; whether it did.
    pub(super) fn give_way(&mut self, cx: &Context<'_>) -> bool {
        let waiting = |device: usize| {
            let device = cx.devices.get(device);
            device.map_or(0, |device| device.waiting_for_each_buffer())
        };
        let body = self.body.as_mut();
        body.is_some_and(|body| body.give_way(cx.now, waiting))
    }

    pub(super) fn holds_buffer(&self) -> bool {
        self.body.as_ref().is_some_and(Transfer::holds_buffer)
    }

    /// Gives a device buffer back that the peer does not take; whether there was one.
    pub(super) fn give_back(&mut self) -> bool {
        self.body.as_mut().is_some_and(Transfer::give_back)
    }

    pub(super) fn step<'a>(&'a mut self, cx: &'a mut Context<'_>) -> Step<'a> {
        loop {
            if let Some(wanted) = self
                .body
                .as_ref()
                .and_then(|body| body.wanted(|device| DeviceView::of(cx.devices, device)))
            {
                return Step::Read(wanted);
            }
            match self.body.as_ref().map(Transfer::next) {
                Some(Source::Evicted) => {}
                Some(Source::Awaited) => return Step::AwaitRead,
                Some(Source::Failed) if self.is_unsent() => self.become_unavailable(),
                // The head promised bytes that cannot be had: ending the connection is the only honest word left.
                Some(Source::Failed) => {
                    cx.counters.aborted_by_device.add(1);
                    self.cut();
                    return Step::Close;
                }
                None | Some(Source::Memory { .. } | Source::Buffer { .. } | Source::Done) => break,
            }
        }
        self.send(cx)
    }

    fn send<'a>(&'a mut self, cx: &'a mut Context<'_>) -> Step<'a> {
        let head: &[u8] = match &self.head {
            HeadProgress::Unsent => {
                self.render(cx);
                cx.head.bytes()
            }
            HeadProgress::Rest(rest) => rest,
            HeadProgress::Sent => &[],
        };
        let body = self
            .body
            .as_ref()
            .map(Transfer::next)
            .filter(|source| !matches!(source, Source::Done));
        let remaining = self.body.as_ref().map_or(0, Transfer::remaining);
        let offered = body.as_ref().map_or(0, Source::length);
        Step::Send {
            head,
            body,
            more: offered < remaining || self.parts.as_ref().is_some_and(|parts| !parts.is_last()),
        }
    }

    /// A device failed after the head had left: nothing more is sent, and no peer is to blame.
    fn cut(&mut self) {
        self.body = None;
        self.parts = None;
        self.head = HeadProgress::Sent;
        self.is_cut = true;
    }

    /// A device failed before a byte was sent.
    fn become_unavailable(&mut self) {
        self.body = None;
        self.parts = None;
        self.what = What::Plain(Plain::Error(503), PlainBody::Sent);
    }

    pub(super) fn sent(&mut self, head: usize, body: u64, cx: &Context<'_>) {
        if head > 0 {
            self.head_sent(head, cx);
        }
        if let Some(transfer) = self.body.as_mut().filter(|_| body > 0) {
            if !transfer.holds_buffer() {
                self.beside.memory_bytes += body;
            }
            transfer.sent(body, cx.now);
            self.body_sent += body;
            cx.counters.body_bytes.add(body);
            if self.fill.is_some() {
                cx.counters.fill_bytes.add(body);
            }
        }
        if self.present_is_sent() && !self.is_done() {
            self.next_part();
        }
    }

    fn head_sent(&mut self, sent: usize, cx: &Context<'_>) {
        let whole: &[u8] = match &self.head {
            HeadProgress::Unsent => {
                if self.is_unsent() {
                    cx.counters.answered(self.status());
                    let first_byte = cx.now.saturating_duration_since(self.started);
                    cx.counters.first_byte.record(first_byte);
                    self.beside.first_byte = Some(first_byte);
                }
                cx.head.bytes()
            }
            HeadProgress::Rest(rest) => rest,
            HeadProgress::Sent => &[],
        };
        self.head = match whole.get(sent..) {
            Some(rest) if !rest.is_empty() => HeadProgress::Rest(rest.into()),
            _ => HeadProgress::Sent,
        };
    }

    fn render(&self, cx: &mut Context<'_>) {
        let (entry, outcome) = match &self.what {
            What::Plain(plain, body) => return cx.head.plain(*plain, cx.date, self.after, *body),
            What::Object(entry, outcome) => (entry, *outcome),
        };
        let etag = entry.object().etag();
        let object = lookup::representation(entry, &etag);
        match &self.parts {
            None => cx.head.object(outcome, &object, cx.date, self.after),
            Some(parts) => cx.head.of_parts(parts, &object, cx.date, self.after),
        }
    }

    fn status(&self) -> u16 {
        match &self.what {
            What::Plain(Plain::Options, _) => 204,
            What::Plain(Plain::Error(status), _) => *status,
            What::Object(_, outcome) => status_of(*outcome),
        }
    }
}
