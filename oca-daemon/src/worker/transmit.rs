//! How a connection over TLS sends: what is sealed goes at once, and what its socket does not take goes before anything else.

use std::io;
use std::time::Instant;

use content_store::Index;
use platform::reactor::{More, Token};
use rustls::AlertDescription;

use super::drive::{Counted, Then, more_if};
use super::sealing::Sealing;
use super::secure::{Heard, Opening, State};
use super::{Worker, slot};
use crate::access_log::End;
use crate::tls::seal::Exhausted;
use crate::tls::session::Session;
use crate::transfer::Source;

/// What was sealed of one step.
pub(super) struct Sealed {
    head: usize,
    body: usize,
    /// Of the records.
    length: usize,
    counted: Counted,
    more: More,
}

/// Why a step could not be sealed.
pub(super) enum Unsealed {
    Exhausted,
    /// The file behind the bytes was cut short.
    Lost,
}

impl From<Exhausted> for Unsealed {
    fn from(_: Exhausted) -> Self {
        Self::Exhausted
    }
}

/// Seals `head`, which gets a record of its own (cheaper than a copy of the body), and as much of `body` as there is room for.
pub(super) fn seal_step(
    session: &mut Session,
    sealing: &mut Sealing,
    head: &[u8],
    body: Option<&Source<'_>>,
    more: bool,
) -> Result<Sealed, Unsealed> {
    let room = sealing.room();
    let offered = body.map_or(0, Source::length);
    let bytes = match body {
        Some(Source::Memory {
            piece,
            offset,
            length,
            ..
        }) => {
            let range = *offset..*offset + (*length).min(room as u64);
            piece.bytes(range).ok_or(Unsealed::Lost)?
        }
        Some(Source::Buffer { bytes, .. }) => &bytes[..bytes.len().min(room)],
        _ => &[],
    };
    let out = sealing.buffer();
    let before = session.seal(head, out)?;
    let behind = session.seal(bytes, &mut out[before..])?;
    if let Some(Source::Memory { piece, .. }) = body
        && !piece.is_intact()
    {
        return Err(Unsealed::Lost);
    }
    Ok(Sealed {
        head: head.len(),
        body: bytes.len(),
        length: before + behind,
        counted: Counted::of(body, bytes.len() as u64),
        more: more_if(more || offered > bytes.len() as u64),
    })
}

impl Worker {
    /// What goes before the next step of a connection over TLS; `None` if nothing does.
    pub(super) fn before_step(&mut self, token: Token, index: &Index) -> Option<Then> {
        let slot = slot(&mut self.connections, token)?;
        let secure = slot.secure.as_deref_mut()?;
        if slot.connection.is_over() {
            return None;
        }
        if let Some(unsent) = &secure.unsent {
            let sent = self.reactor.send(token, unsent.rest(), More::No);
            return Some(self.flushed(token, index, sent));
        }
        if !secure.alerts.is_empty() {
            return Some(self.send_alerts(token, index));
        }
        if std::mem::take(&mut secure.ends) {
            self.reactor.shutdown_write(token);
            self.reactor.receive(token);
            return Some(Then::Wait);
        }
        match &mut secure.state {
            State::Handshake(_) | State::Away(_) => Some(Then::Wait),
            State::Open(session) if session.is_handed_over() => {
                self.before_kernel_step(token, index)
            }
            State::Open(session) if session.is_key_due() => {
                let sealed = session.update_key(self.sealing.buffer());
                self.thought.counters.tls.key_updates.add(1);
                Some(match sealed {
                    Ok(length) => self.send_sealed(token, index, length, More::No),
                    Err(Exhausted) => Then::Close,
                })
            }
            State::Open(_) | State::Over => None,
        }
    }

    /// Some of what waited was sent.
    fn flushed(&mut self, token: Token, index: &Index, sent: io::Result<usize>) -> Then {
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return self.await_room(token, index);
            }
            Err(_) => return Then::Close,
        };
        self.thought.now = Instant::now();
        let Some(slot) = slot(&mut self.connections, token) else {
            return Then::Wait;
        };
        let Some(secure) = slot.secure.as_deref_mut() else {
            return Then::Wait;
        };
        let left = secure.unsent.as_mut().map_or(0, |unsent| {
            unsent.sent(sent);
            unsent.rest().len()
        });
        if left == 0
            && let Some(unsent) = secure.unsent.take()
        {
            self.sealing.give_back(unsent);
        }
        let cx = self.thought.context(index);
        slot.connection.taken(sent, left, &cx);
        if left > 0 {
            return self.await_room(token, index);
        }
        Then::Again
    }

    /// A step was sealed: it is sent.
    pub(super) fn sealed(
        &mut self,
        token: Token,
        index: &Index,
        sealed: Result<Sealed, Unsealed>,
        quantum: &mut u64,
    ) -> Then {
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(Unsealed::Exhausted) => return Then::Close,
            Err(Unsealed::Lost) => {
                self.end(token, End::Device);
                return Then::Wait;
            }
        };
        self.thought.now = Instant::now();
        self.count(sealed.counted, sealed.body as u64);
        if let Some(slot) = slot(&mut self.connections, token) {
            let cx = self.thought.context(index);
            slot.connection.sealed(sealed.head, sealed.body, &cx);
        }
        *quantum = quantum.saturating_sub(sealed.body as u64);
        self.send_sealed(token, index, sealed.length, sealed.more)
    }

    /// Sends `length` bytes of what lies sealed; what the socket does not take waits with the connection.
    fn send_sealed(&mut self, token: Token, index: &Index, length: usize, more: More) -> Then {
        let sent = match self.reactor.send(token, self.sealing.sealed(length), more) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Then::Close,
        };
        let Some(slot) = slot(&mut self.connections, token) else {
            return Then::Wait;
        };
        let left = length - sent;
        let cx = self.thought.context(index);
        slot.connection.taken(sent, left, &cx);
        if left == 0 {
            return Then::Again;
        }
        if let Some(secure) = slot.secure.as_deref_mut() {
            secure.unsent = Some(self.sealing.take(sent, length));
        }
        self.await_room(token, index)
    }

    /// Says that no more will come. What the socket does not take at once is sent before it is closed for writing, or not at all.
    pub(super) fn say_goodbye(&mut self, token: Token, index: &Index) -> Then {
        let Some(slot) = slot(&mut self.connections, token) else {
            return Then::Again;
        };
        let Some(secure) = slot.secure.as_deref_mut() else {
            return Then::Again;
        };
        let (State::Open(session), None) = (&mut secure.state, &secure.unsent) else {
            return Then::Again;
        };
        if session.is_handed_over() {
            secure.alerts.push(AlertDescription::CloseNotify);
            return self.send_alerts(token, index);
        }
        let sealed = session.alert(AlertDescription::CloseNotify, self.sealing.buffer());
        let Ok(length) = sealed else {
            return Then::Close;
        };
        let then = self.send_sealed(token, index, length, More::No);
        self.note_end(token);
        then
    }

    /// What of the last words is unsent is the end.
    fn note_end(&mut self, token: Token) {
        let slot = slot(&mut self.connections, token);
        if let Some(secure) = slot.and_then(|slot| slot.secure.as_deref_mut()) {
            secure.ends = secure.unsent.is_some();
        }
    }

    /// Nothing to do until the peer sends, unless something was kept; whether there was.
    pub(super) fn hear_kept(&mut self, token: Token, index: &Index) -> Then {
        let Self {
            connections,
            plain,
            spares,
            thought,
            ..
        } = self;
        let Some(slot) = slot(connections, token) else {
            return Then::Wait;
        };
        let heard = slot.hear(
            &[],
            &mut Opening {
                plain,
                spares,
                thought,
                index,
            },
        );
        if let Heard::Fault(fault) = heard {
            self.fault(token, fault, index);
            return Then::Wait;
        }
        let is_busy = slot.connection.is_answering() || slot.connection.is_over();
        if is_busy { Then::Again } else { Then::Wait }
    }
}
