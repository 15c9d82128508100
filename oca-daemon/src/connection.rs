//! One HTTP/1.1 connection, without a socket and without a clock: bytes, completions and `now` in, one [`Step`] after
//! another out. The worker carries the steps out; a test can do the same by hand.
//!
//! ```text
//!            bytes                    head complete                     last byte sent
//!  (accept) ───────► AwaitingHead ─────────────────► Answering ─────────────────────────► AwaitingHead
//!                        │ peer gone, idle              │ `Connection: close`, error, stop
//!                        ▼                              ▼
//!                      closed ◄── peer gone, 2 s ── Lingering
//! ```

use std::sync::Arc;
use std::time::Instant;

use content_store::Index;
use platform::device::{DeviceService, FilledBuffer, ReadError};

use crate::access_log::{End, Records, Viewer};
use crate::counters::WorkerCounters;
use crate::demand::Demand;
use crate::fills::Fills;
use crate::limits::{BUFFER_HOLD, HEAD_BYTES, LINGER, LINGER_BYTES, PIPELINED_BYTES};
use crate::multipart::Shelf;
use crate::pacing::{Pacing, Rate};
use crate::request::{self, Parsed};
use crate::response::{After, DateText, Head, Plain, PlainBody};
use crate::tls::Agreed;
use crate::transfer::{ReadId, Source, Transfer, Wanted};

mod answer;
mod beside;
mod decide;
mod patience;

use answer::Answer;
use beside::Beside;
use decide::{answer, error_body};
pub use patience::Patience;
use patience::Window;

/// What a connection may look at while it thinks. Belongs to the worker, lives for one turn.
pub struct Context<'a> {
    /// The time of this turn.
    pub now: Instant,
    /// The same as HTTP writes it.
    pub date: &'a DateText,
    /// What is published.
    pub index: &'a Index,
    /// The devices, in the order of the configuration.
    pub devices: &'a [Arc<DeviceService>],
    /// Where to count.
    pub counters: &'a WorkerCounters,
    /// Where to note what viewers want, if anybody is told.
    pub demand: Option<&'a Demand>,
    /// The places for transfers that fill other appliances.
    pub fills: &'a Arc<Fills>,
    /// Where lines of the access log come from, if there is one.
    pub log: Option<&'a Records>,
    /// How fast viewers are sent to.
    pub pacing: Pacing,
    /// Set when connections should end after their present answer (drain, stop).
    pub closing: bool,
    /// As `closing` for requests from now on; nothing that is open is closed before it was told so.
    pub parting: bool,
    /// How long connections may take.
    pub patience: Patience,
    /// Where heads are rendered.
    pub head: &'a mut Head,
    /// Where paths are decoded.
    pub path: &'a mut [u8; HEAD_BYTES],
    /// What answers with several ranges need.
    pub shelf: &'a mut Shelf,
}

/// Where the end of an answer is noted.
#[derive(Clone, Copy)]
pub struct Ending<'a> {
    /// The time.
    pub now: Instant,
    /// Where to count.
    pub counters: &'a WorkerCounters,
    /// Where to note what viewers want, if anybody is told.
    pub demand: Option<&'a Demand>,
    /// Where the line goes, if there is an access log.
    pub log: Option<&'a Records>,
    /// Why it ends, if it is not complete.
    pub why: End,
}

impl Context<'_> {
    fn ending(&self, why: End) -> Ending<'_> {
        Ending {
            now: self.now,
            counters: self.counters,
            demand: self.demand,
            log: self.log,
            why,
        }
    }
}

/// What the worker should do next for a connection.
pub enum Step<'a> {
    /// From now on, send at most so fast; `None`: as fast as the path takes it.
    Pace(Option<Rate>),
    /// Submit this device read and tell [`Connection::submitted`] or [`Connection::refused`].
    Read(Wanted),
    /// Send `head`, then the source's bytes, and tell [`Connection::sent`].
    Send {
        /// Bytes that go before the body; may be empty.
        head: &'a [u8],
        /// The body's next bytes; `None` if the head is all.
        body: Option<Source<'a>>,
        /// Whether more will follow at once.
        more: bool,
    },
    /// Nothing to do until a device read comes back.
    AwaitRead,
    /// Nothing to do until the peer sends.
    Receive,
    /// Close for writing and receive (and throw away) until the peer closes.
    Linger,
    /// Close.
    Close,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    phase: Phase,
    /// The beginning of a head, or pipelined requests. Empty (and without capacity) most of the time.
    pending: Vec<u8>,
    /// When the present phase gets impatient.
    deadline: Instant,
    /// What the peer took lately.
    window: Window,
    /// Bytes that were sealed and that the kernel has not taken.
    unsent: usize,
    peer_closed: bool,
    /// Whose requests are logged; `None`: they are not.
    viewer: Option<Viewer>,
    /// The rate that the kernel was told.
    pace: Option<Rate>,
    /// Whether all that it gets is 503: there are too many.
    turned_away: bool,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "boxing the answer would allocate for every request"
)]
enum Phase {
    AwaitingHead,
    Answering(Answer),
    Lingering { left: u64, announced: bool },
    Closed,
}

/// What a deadline did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// Nothing is late yet.
    Patient,
    /// There is something to do: call [`Connection::step`].
    Act,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(now: Instant, patience: &Patience) -> Self {
        Self {
            phase: Phase::AwaitingHead,
            pending: Vec::new(),
            deadline: now + patience.idle,
            window: Window::new(now, patience),
            unsent: 0,
            peer_closed: false,
            viewer: None,
            pace: None,
            turned_away: false,
        }
    }

    /// A connection beyond what is allowed: its first request is answered 503, so that the client knows, and may go elsewhere.
    pub fn turned_away(now: Instant, patience: &Patience) -> Self {
        Self {
            deadline: now + patience.head,
            turned_away: true,
            ..Self::new(now, patience)
        }
    }

    /// Its requests are logged as those of `viewer`.
    pub fn log_as(&mut self, viewer: Viewer) {
        self.viewer = Some(viewer);
    }

    /// Its handshake is done: from now on it is awaited what it asks for.
    pub fn secured(&mut self, agreed: Agreed, cx: &Context<'_>) {
        self.deadline = cx.now
            + if self.turned_away {
                cx.patience.head
            } else {
                cx.patience.idle
            };
        if let Some(viewer) = &mut self.viewer {
            viewer.tls = Some(agreed);
        }
    }

    /// What comes from the peer cannot be understood any more: what was sealed for it is still sent, and nothing else.
    pub fn hang_up(&mut self, cx: &Context<'_>) {
        self.enter(lingering(), &cx.ending(End::Peer));
        self.deadline = cx.now + LINGER;
        self.pending = Vec::new();
    }

    /// It ends when the present answer is complete, or at once if there is none; whether that is new.
    pub fn end_soon(&mut self, cx: &Context<'_>) -> bool {
        match &mut self.phase {
            Phase::AwaitingHead => self.hang_up(cx),
            Phase::Answering(answer) if answer.after != After::Close => answer.after = After::Close,
            Phase::Answering(_) | Phase::Lingering { .. } | Phase::Closed => return false,
        }
        true
    }

    /// Takes bytes that the peer sent. `spare` gives a buffer when bytes must be kept. Returns whether to go on receiving.
    pub fn received(
        &mut self,
        bytes: &[u8],
        cx: &mut Context<'_>,
        spare: impl FnOnce() -> Vec<u8>,
    ) -> bool {
        if matches!(self.phase, Phase::AwaitingHead) {
            self.window = Window::new(cx.now, &cx.patience);
        }
        match &mut self.phase {
            Phase::AwaitingHead if self.pending.is_empty() => self.first_bytes(bytes, cx, spare),
            Phase::AwaitingHead => {
                self.pending.extend_from_slice(bytes);
                self.parse_pending(cx);
            }
            Phase::Answering(_) => self.keep(bytes, spare),
            Phase::Lingering { left, .. } => *left = left.saturating_sub(bytes.len() as u64),
            Phase::Closed => {}
        }
        self.pending.len() < PIPELINED_BYTES
    }

    fn keep(&mut self, bytes: &[u8], spare: impl FnOnce() -> Vec<u8>) {
        if self.pending.capacity() == 0 && !bytes.is_empty() {
            self.pending = spare();
        }
        self.pending.extend_from_slice(bytes);
    }

    /// The usual case: a whole head in one receive buffer, parsed where it lies.
    fn first_bytes(&mut self, bytes: &[u8], cx: &mut Context<'_>, spare: impl FnOnce() -> Vec<u8>) {
        match request::parse(bytes) {
            Parsed::Complete(request, length) => {
                let mut answer = answer(&request, self.turned_away, cx);
                answer.beside = self.beside(&request, &answer, cx);
                self.begin(answer, cx);
                self.keep(&bytes[length..], spare);
            }
            Parsed::Partial => {
                self.keep(bytes, spare);
                self.deadline = cx.now + cx.patience.head;
            }
            Parsed::Rejected(reject) => {
                let beside = self.beside_input(bytes, cx);
                self.fail(reject.status(), error_body(bytes), beside, cx);
            }
        }
    }

    fn parse_pending(&mut self, cx: &mut Context<'_>) {
        match request::parse(&self.pending) {
            Parsed::Complete(request, length) => {
                let mut answer = answer(&request, self.turned_away, cx);
                answer.beside = self.beside(&request, &answer, cx);
                self.begin(answer, cx);
                self.pending.drain(..length);
            }
            Parsed::Partial => {}
            Parsed::Rejected(reject) => {
                let beside = self.beside_input(&self.pending, cx);
                let body = error_body(&self.pending);
                self.fail(reject.status(), body, beside, cx);
            }
        }
    }

    fn fail(&mut self, status: u16, body: PlainBody, beside: Beside, cx: &Context<'_>) {
        self.pending.clear();
        let error = Plain::Error(status);
        let mut answer = Answer::plain(error, After::Close, body, cx.now);
        answer.beside = beside;
        self.begin(answer, cx);
    }

    fn begin(&mut self, answer: Answer, cx: &Context<'_>) {
        self.enter(Phase::Answering(answer), &cx.ending(End::Peer));
        self.deadline = cx.now + cx.patience.send;
    }

    /// Every change of phase goes through here, so that the transfers that run, and what they sent, are counted right.
    fn enter(&mut self, phase: Phase, ending: &Ending<'_>) {
        match (&mut self.phase, matches!(phase, Phase::Answering(_))) {
            (Phase::Answering(answer), false) => {
                ending.counters.transfers.subtract(1);
                answer.note(ending, self.unsent == 0);
            }
            (Phase::Answering(_), true) | (_, false) => {}
            (_, true) => ending.counters.transfers.add(1),
        }
        self.phase = phase;
    }

    /// The connection is over, whatever it was doing.
    pub fn end(&mut self, ending: &Ending<'_>) {
        self.enter(Phase::Closed, ending);
    }

    /// The peer will send no more. A half-closed peer still gets its answer.
    pub fn peer_closed(&mut self) {
        self.peer_closed = true;
        if !self.is_answering() {
            self.phase = Phase::Closed;
        }
    }

    /// The service of `device` took the read as `id`.
    pub fn submitted(&mut self, wanted: &Wanted, device: usize, id: ReadId) {
        if let Some(transfer) = self.transfer() {
            transfer.submitted(wanted, device, id);
        }
    }

    /// The device service refused the read.
    pub fn refused(&mut self, wanted: &Wanted) {
        if let Some(transfer) = self.transfer() {
            transfer.refused(wanted);
        }
    }

    /// A read came back.
    pub fn arrived(&mut self, id: ReadId, result: Result<FilledBuffer, ReadError>, now: Instant) {
        if let Some(transfer) = self.transfer()
            && transfer.arrived(id, result, now)
        {
            self.deadline = now + BUFFER_HOLD;
        }
    }

    fn transfer(&mut self) -> Option<&mut Transfer> {
        match &mut self.phase {
            Phase::Answering(answer) => answer.body.as_mut(),
            Phase::AwaitingHead | Phase::Lingering { .. } | Phase::Closed => None,
        }
    }

    /// The kernel took `head` bytes of the head and `body` bytes of the body of the last [`Step::Send`].
    pub fn sent(&mut self, head: usize, body: usize, cx: &Context<'_>) {
        self.sealed(head, body, cx);
        self.taken(head + body, 0, cx);
    }

    /// The same, but they were sealed, to be sent: [`Connection::taken`] tells when the kernel took them. Until it took all, no
    /// [`Connection::step`] is to be asked for.
    pub fn sealed(&mut self, head: usize, body: usize, cx: &Context<'_>) {
        if let Phase::Answering(answer) = &mut self.phase {
            answer.sent(head, body as u64, cx);
        }
    }

    /// The kernel took `bytes`; `unsent` ones that were sealed are left.
    pub fn taken(&mut self, bytes: usize, unsent: usize, cx: &Context<'_>) {
        self.unsent = unsent;
        let Phase::Answering(answer) = &mut self.phase else {
            return;
        };
        self.window.taken += bytes as u64;
        self.deadline = cx.now
            + if answer.holds_buffer() {
                BUFFER_HOLD
            } else {
                cx.patience.send
            };
    }

    /// The socket has no room: a slow peer does not keep a buffer from others meanwhile.
    pub fn blocked(&mut self, cx: &Context<'_>) {
        if let Phase::Answering(answer) = &mut self.phase
            && answer.give_way(cx)
        {
            self.deadline = cx.now + cx.patience.send.saturating_sub(BUFFER_HOLD);
        }
    }

    /// What to do next.
    pub fn step<'a>(&'a mut self, cx: &'a mut Context<'_>) -> Step<'a> {
        if let Phase::Answering(answer) = &mut self.phase
            && answer.is_done()
        {
            let after = answer.after;
            cx.counters
                .request
                .record(cx.now.saturating_duration_since(answer.started));
            answer.tidy(cx.shelf);
            self.finish(after, cx);
        }
        if let Some(pace) = self.changed_pace() {
            return Step::Pace(pace);
        }
        match &mut self.phase {
            Phase::AwaitingHead => Step::Receive,
            Phase::Answering(answer) => answer.step(cx),
            Phase::Lingering { left: 0, .. } | Phase::Closed => Step::Close,
            Phase::Lingering { announced, .. } if *announced => Step::Receive,
            Phase::Lingering { announced, .. } => {
                *announced = true;
                Step::Linger
            }
        }
    }

    /// An answer is complete: the next pipelined request, or the next phase.
    fn finish(&mut self, after: After, cx: &mut Context<'_>) {
        if after == After::Close || cx.closing {
            let next = if self.peer_closed {
                Phase::Closed
            } else {
                lingering()
            };
            self.enter(next, &cx.ending(End::Complete));
            self.deadline = cx.now + LINGER;
            self.pending = Vec::new();
            return;
        }
        self.enter(Phase::AwaitingHead, &cx.ending(End::Complete));
        self.deadline = cx.now
            + if self.pending.is_empty() {
                cx.patience.idle
            } else {
                cx.patience.head
            };
        if !self.pending.is_empty() {
            self.parse_pending(cx);
        }
        if self.peer_closed && matches!(self.phase, Phase::AwaitingHead) {
            self.phase = Phase::Closed;
        }
    }

    /// An empty buffer that is no longer needed, for another connection to use.
    pub fn take_spare(&mut self) -> Option<Vec<u8>> {
        (self.pending.is_empty() && self.pending.capacity() > 0)
            .then(|| std::mem::take(&mut self.pending))
    }

    /// Whether an answer is under way.
    pub fn is_answering(&self) -> bool {
        matches!(self.phase, Phase::Answering(_))
    }

    /// Whether a device buffer is kept for it.
    pub fn holds_buffer(&self) -> bool {
        matches!(&self.phase, Phase::Answering(answer) if answer.holds_buffer())
    }

    /// Whether nothing can be done until a device read comes back.
    pub fn awaits_read(&self) -> bool {
        matches!(&self.phase, Phase::Answering(answer) if answer.awaits_device())
    }

    /// Whether a body is cut if the connection ends now.
    pub fn is_cut_short(&self) -> bool {
        matches!(&self.phase, Phase::Answering(answer) if !answer.is_done() || self.unsent > 0)
    }

    /// Whether there is nothing left but to close it.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }
}

fn lingering() -> Phase {
    Phase::Lingering {
        left: LINGER_BYTES,
        announced: false,
    }
}
