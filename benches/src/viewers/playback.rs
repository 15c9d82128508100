//! One viewer's buffer against the clock.
//!
//! ```text
//! waiting for the first segments --START_SEGMENTS are there--> playing --the buffer is empty--> paused
//!                                                                 ^-----one more segment----------+
//! ```
//!
//! Times are since the run began; there is no clock in here.

use std::time::Duration;

/// Segments at hand before the first picture is shown.
pub(super) const START_SEGMENTS: u32 = 2;

pub(super) struct Playback {
    segment: Duration,
    /// No more is asked for than fits.
    target: Duration,
    arrived: Duration,
    fetched: u32,
    started: Option<Started>,
    rebuffers: u32,
    rebuffered: Duration,
}

#[derive(Clone, Copy)]
struct Started {
    at: Duration,
    /// When the buffer is empty unless more comes.
    dry_at: Duration,
}

impl Playback {
    /// Of a viewer who wants to see something at `arrived`.
    pub(super) fn new(arrived: Duration, segment: Duration, target: Duration) -> Self {
        Self {
            segment,
            target,
            arrived,
            fetched: 0,
            started: None,
            rebuffers: 0,
            rebuffered: Duration::ZERO,
        }
    }

    /// One more segment is whole.
    pub(super) fn fetched(&mut self, now: Duration) {
        self.fetched += 1;
        if self.started.is_some() {
            self.pause_until(now);
        } else if self.fetched >= START_SEGMENTS {
            self.started = Some(Started {
                at: now,
                dry_at: now + self.segment * (self.fetched - 1),
            });
        }
        if let Some(started) = &mut self.started {
            started.dry_at += self.segment;
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, now: Duration) {
        self.pause_until(now);
    }

    /// Counts the pause that `now` ends, if there is one.
    fn pause_until(&mut self, now: Duration) {
        let Some(started) = &mut self.started else {
            return;
        };
        if let Some(pause) = now
            .checked_sub(started.dry_at)
            .filter(|pause| !pause.is_zero())
        {
            self.rebuffers += 1;
            self.rebuffered += pause;
            started.dry_at = now;
        }
    }

    pub(super) fn buffered(&self, now: Duration) -> Duration {
        match self.started {
            Some(started) => started.dry_at.saturating_sub(now),
            None => self.segment * self.fetched,
        }
    }

    /// When one more segment fits.
    pub(super) fn wants_at(&self, now: Duration) -> Duration {
        now + (self.buffered(now) + self.segment).saturating_sub(self.target)
    }

    /// From wanting to see something to seeing it.
    pub(super) fn start_time(&self) -> Option<Duration> {
        Some(self.started?.at - self.arrived)
    }

    /// How long the viewer has waited by `now`: for the start, and in pauses.
    pub(super) fn waited(&self, now: Duration) -> Duration {
        self.start_time()
            .unwrap_or(now.saturating_sub(self.arrived))
            + self.rebuffered
    }

    pub(super) fn rebuffers(&self) -> u32 {
        self.rebuffers
    }

    pub(super) fn rebuffered(&self) -> Duration {
        self.rebuffered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Arrives at 10 s; segments of 4 s, at most 12 s of them.
    fn viewer() -> Playback {
        Playback::new(10 * SECOND, 4 * SECOND, 12 * SECOND)
    }

    #[test]
    fn the_first_picture_comes_with_the_second_segment() {
        let mut viewer = viewer();
        viewer.fetched(11 * SECOND);
        assert_eq!(viewer.start_time(), None);
        assert_eq!(viewer.buffered(50 * SECOND), 4 * SECOND);
        viewer.fetched(12 * SECOND);
        assert_eq!(viewer.start_time(), Some(2 * SECOND));
        assert_eq!(viewer.buffered(13 * SECOND), 7 * SECOND);
    }

    #[test]
    fn the_next_segment_is_wanted_when_it_fits() {
        let mut viewer = viewer();
        assert_eq!(viewer.wants_at(10 * SECOND), 10 * SECOND);
        for _ in 0..3 {
            viewer.fetched(10 * SECOND);
        }
        assert_eq!(viewer.wants_at(10 * SECOND), 14 * SECOND);
        assert_eq!(viewer.wants_at(13 * SECOND), 14 * SECOND);
        assert_eq!(viewer.wants_at(15 * SECOND), 15 * SECOND);
    }

    #[test]
    fn an_empty_buffer_is_a_pause_until_the_next_segment() {
        let mut viewer = viewer();
        viewer.fetched(10 * SECOND);
        viewer.fetched(10 * SECOND);
        viewer.fetched(18 * SECOND);
        assert_eq!(viewer.rebuffers(), 0, "it came at the last moment");
        viewer.fetched(25 * SECOND);
        assert_eq!((viewer.rebuffers(), viewer.rebuffered()), (1, 3 * SECOND));
        assert_eq!(viewer.buffered(25 * SECOND), 4 * SECOND);
        viewer.end(28 * SECOND);
        assert_eq!(viewer.rebuffers(), 1);
        viewer.end(31 * SECOND);
        assert_eq!((viewer.rebuffers(), viewer.rebuffered()), (2, 5 * SECOND));
        assert_eq!(viewer.waited(31 * SECOND), 5 * SECOND);
    }

    #[test]
    fn who_never_sees_anything_waits_all_the_time_and_does_not_pause() {
        let mut viewer = viewer();
        viewer.fetched(11 * SECOND);
        viewer.end(40 * SECOND);
        assert_eq!((viewer.rebuffers(), viewer.start_time()), (0, None));
        assert_eq!(viewer.waited(40 * SECOND), 30 * SECOND);
    }
}
