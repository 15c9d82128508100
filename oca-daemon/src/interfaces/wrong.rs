//! What is wrong with one interface, by what was seen of it before. Pure.
//!
//! Nothing that is said changes with every look: it would be news each time.

use std::collections::VecDeque;
use std::time::Instant;

use platform::interface::Interface;
use protocol::units::BitRate;

use crate::limits::{INTERFACE_ERROR_SHARE, INTERFACE_ERRORS, INTERFACE_WINDOW};

/// What is remembered of one.
#[derive(Debug, Default)]
pub(super) struct Memory {
    was_here: bool,
    /// Readings of the counters, over [`INTERFACE_WINDOW`].
    counters: VecDeque<Counters>,
    /// Bits per second; the most that it has had.
    best_speed: u64,
    /// All links that were ever a part of it.
    members: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Counters {
    at: Instant,
    packets: u64,
    errors: u64,
}

impl Memory {
    /// Notes what was seen, and says what is wrong. `None`: it is not there.
    pub(super) fn judge(&mut self, now: Instant, seen: Option<&Interface>) -> Option<String> {
        let Some(seen) = seen else {
            return Some(if self.was_here {
                "is not there any more".to_owned()
            } else {
                "is not there: see steering.interfaces".to_owned()
            });
        };
        self.was_here = true;
        self.note(now, seen);
        if !seen.has_link {
            return Some("has no link".to_owned());
        }
        let found = [self.lost(seen), self.slower(seen), self.erring(seen)];
        let said: Vec<String> = found.into_iter().flatten().collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    fn note(&mut self, now: Instant, seen: &Interface) {
        self.best_speed = self.best_speed.max(seen.speed.unwrap_or(0));
        for member in &seen.members {
            if !self.members.contains(&member.name) {
                self.members.push(member.name.clone());
            }
        }
        // A driver that was loaded anew counts from 0 again.
        if self
            .counters
            .back()
            .is_some_and(|last| last.errors > seen.errors)
        {
            self.counters.clear();
        }
        self.counters.push_back(Counters {
            at: now,
            packets: seen.packets,
            errors: seen.errors,
        });
        let is_old = |it: &Counters| now.saturating_duration_since(it.at) >= INTERFACE_WINDOW;
        while self.counters.get(1).is_some_and(is_old) {
            self.counters.pop_front();
        }
    }

    fn lost(&self, seen: &Interface) -> Option<String> {
        let carries = |name: &&String| {
            let mut members = seen.members.iter();
            members.any(|member| member.name == **name && member.carries)
        };
        let lost: Vec<&str> = self
            .members
            .iter()
            .filter(|name| !carries(name))
            .map(String::as_str)
            .collect();
        let all = self.members.len();
        (!lost.is_empty()).then(|| {
            format!(
                "{} of its {all} links carry nothing: {}",
                lost.len(),
                lost.join(", ")
            )
        })
    }

    /// A bond is slower by the links that it lost, which was said.
    fn slower(&self, seen: &Interface) -> Option<String> {
        let speed = seen.speed.filter(|_| self.members.is_empty())?;
        let shown = BitRate::from_bits_per_second;
        (speed < self.best_speed).then(|| {
            format!(
                "its link is at {}, it was at {}",
                shown(speed),
                shown(self.best_speed)
            )
        })
    }

    fn erring(&self, seen: &Interface) -> Option<String> {
        let (first, last) = (self.counters.front()?, self.counters.back()?);
        let errors = last.errors.saturating_sub(first.errors);
        let packets = last.packets.saturating_sub(first.packets);
        let many = errors >= INTERFACE_ERRORS
            && errors.saturating_mul(INTERFACE_ERROR_SHARE) > packets.saturating_add(errors);
        many.then(|| {
            format!(
                "more than 1 of {INTERFACE_ERROR_SHARE} packets had an error in the last {} s: look at cable and optics, \
                 `ip -s link show {}`",
                INTERFACE_WINDOW.as_secs(),
                seen.name
            )
        })
    }
}
