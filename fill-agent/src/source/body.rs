//! The bytes of an answer: paced, timed, and cut at the end of the range.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};

use super::Source;
use super::answer::Pin;
use super::error::{Lie, SourceError};
use super::transport::{Answer, Incoming, Timeouts};

/// An answer whose head was right.
pub struct Body {
    source: Arc<Source>,
    incoming: Incoming,
    length: u64,
    got: u64,
    /// Bytes that came and were not asked for yet.
    held: Bytes,
    /// Bytes that the rate allowed and that have not come yet.
    credit: u64,
    pin: Pin,
    speed: Speed,
}

impl Body {
    pub(super) fn new(source: Arc<Source>, answer: Answer, range: Range<u64>, pin: Pin) -> Self {
        let speed = Speed::new(source.transport.timeouts());
        Self {
            source,
            incoming: answer.into_body(),
            length: range.end - range.start,
            got: 0,
            held: Bytes::new(),
            credit: 0,
            pin,
            speed,
        }
    }

    /// What the answer says of the object.
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// The next piece, of at most `most` bytes; `None` after exactly the range. The socket is read only once the rate allows it, so that
    /// TCP slows the sender.
    pub async fn next(&mut self, most: u64) -> Result<Option<Bytes>, SourceError> {
        let left = self.length - self.got;
        if left == 0 {
            return self.end().await.map(|()| None);
        }
        if self.held.is_empty() {
            self.held = self.paced(left).await?;
        }
        let most = left.min(most).min(self.held.len() as u64);
        self.got += most;
        Ok(Some(self.held.split_to(most as usize)))
    }

    /// After the range nothing may come.
    async fn end(&mut self) -> Result<(), SourceError> {
        if !self.held.is_empty() || self.receive().await?.is_some() {
            return Err(SourceError::Lied(Lie::TooLong));
        }
        self.incoming.release();
        Ok(())
    }

    async fn paced(&mut self, left: u64) -> Result<Bytes, SourceError> {
        if self.credit == 0 {
            self.credit = self.source.limiter.take_piece(left).await;
        }
        let (expected, got) = (self.length, self.got);
        let cut = SourceError::Cut { expected, got };
        let piece = self.receive().await?.ok_or(cut)?;
        let length = piece.len() as u64;
        self.source.counts.add_bytes(length);
        let beyond = length.saturating_sub(self.credit);
        self.credit = self.credit.saturating_sub(length);
        self.source.limiter.take(beyond).await;
        Ok(piece)
    }

    /// The next bytes that are not nothing; `None` at the end.
    async fn receive(&mut self) -> Result<Option<Bytes>, SourceError> {
        loop {
            let begun = Instant::now();
            let idle = self.speed.timeouts.idle;
            let frame = timeout(idle, self.incoming.frame()).await.map_err(|_| {
                SourceError::Slow(format!("nothing came for {} s", idle.as_secs_f32()))
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|_| SourceError::Cut {
                expected: self.length,
                got: self.got,
            })?;
            if let Ok(piece) = frame.into_data()
                && !piece.is_empty()
            {
                self.speed.add(begun.elapsed(), piece.len() as u64)?;
                return Ok(Some(piece));
            }
            self.speed.add(begun.elapsed(), 0)?;
        }
    }
}

/// Whether a source is worth waiting for: time that goes into waiting for our own rate or disks does not count.
struct Speed {
    timeouts: Timeouts,
    waited: Duration,
    bytes: u64,
}

impl Speed {
    fn new(timeouts: Timeouts) -> Self {
        Self {
            timeouts,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    fn add(&mut self, waited: Duration, bytes: u64) -> Result<(), SourceError> {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < self.timeouts.speed_window {
            return Ok(());
        }
        let per_second = self.bytes as f64 / self.waited.as_secs_f64();
        if per_second < self.timeouts.speed_bytes_per_s as f64 {
            return Err(SourceError::Slow(format!("{per_second:.0} bytes a second")));
        }
        *self = Self::new(self.timeouts);
        Ok(())
    }
}
