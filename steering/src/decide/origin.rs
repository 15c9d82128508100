//! How many viewers the origin takes. Nobody measures what it sends to them: every viewer that is sent there counts with the rate
//! of one for as long as the answer may be used.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::UnixTime;

/// What the origin may be asked for.
#[derive(Debug, Clone)]
pub struct OriginBudget {
    viewers_max: usize,
    /// When each of those that were let in is no viewer any more, in order. Cost: 8 bytes each.
    until: VecDeque<UnixTime>,
    stay: Duration,
}

impl OriginBudget {
    /// For `capacity` bits per second, viewers of `rate` each, that stay as long as an answer may be used.
    #[must_use]
    pub fn new(capacity: u64, rate: u64, stay: Duration) -> Self {
        Self {
            viewers_max: usize::try_from(capacity / rate.max(1)).unwrap_or(usize::MAX),
            until: VecDeque::new(),
            stay,
        }
    }

    /// Whether it takes one more viewer; if it does, he counts.
    pub fn grant(&mut self, now: UnixTime) -> bool {
        let is_room = self.viewers(now) < self.viewers_max;
        if is_room {
            self.until.push_back(now + self.stay);
        }
        is_room
    }

    /// Viewers that were sent there and may still be there.
    pub fn viewers(&mut self, now: UnixTime) -> usize {
        while self.until.front().is_some_and(|until| *until <= now) {
            self.until.pop_front();
        }
        self.until.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_as_many_as_it_can_send_to_and_others_when_they_have_gone() {
        let at = UnixTime::from_seconds;
        let mut origin = OriginBudget::new(10_000_000, 5_000_000, Duration::from_secs(360));
        assert!(origin.grant(at(0)) && origin.grant(at(10)));
        assert!(!origin.grant(at(10)) && !origin.grant(at(359)));
        assert!(origin.grant(at(360)) && !origin.grant(at(360)));
        assert_eq!(origin.viewers(at(360)), 2);
        assert!(!OriginBudget::new(0, 1, Duration::from_secs(1)).grant(at(0)));
    }
}
