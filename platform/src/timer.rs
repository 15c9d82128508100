//! Timeouts of many connections: a wheel of 100 ms ticks. Pure; `now` is an argument.
//!
//! **Lazy**: a deadline that moves (bytes came, so the idle timeout starts afresh) is not touched in the
//! wheel. The owner keeps the real deadline; when the wheel names the key, the owner looks, and inserts it
//! again if it is not due. So a busy connection costs the wheel one insertion per timeout, not one per request.
//!
//! A key is named at its deadline or up to a tick later, never before. There is no removal: keys of
//! connections that are gone are named too, so they must be recognisable (a token is).

use std::time::{Duration, Instant};

/// The wheel's resolution.
pub const TICK: Duration = Duration::from_millis(100);
/// Slots of the wheel: 51.2 s a round. Entries further ahead stay for several rounds.
const SLOTS: usize = 512;
const WORDS: usize = SLOTS / 64;
const NONE: u32 = u32::MAX;
const TICK_NANOS: u32 = TICK.subsec_nanos();
const TICKS_PER_SECOND: u64 = 1_000_000_000 / TICK_NANOS as u64;

const _: () = assert!(TICK.as_secs() == 0 && 1_000_000_000 % TICK_NANOS == 0);
const _: () = assert!(SLOTS.is_power_of_two() && SLOTS.is_multiple_of(64));

/// See the module. An entry costs the key and 16 bytes; memory grows to the most entries ever held at once.
#[derive(Debug)]
pub struct TimerWheel<K> {
    start: Instant,
    /// Ticks up to and including this one have been expired.
    expired: u64,
    /// First entry of each slot, in the list that goes through `Entry::next`.
    heads: [u32; SLOTS],
    /// Which slots have entries.
    occupied: [u64; WORDS],
    entries: Vec<Entry<K>>,
    /// First entry that is free.
    free: u32,
    length: usize,
}

#[derive(Debug)]
struct Entry<K> {
    key: K,
    tick: u64,
    next: u32,
}

impl<K: Copy> TimerWheel<K> {
    /// An empty wheel, with room for `capacity` entries before it has to grow.
    pub fn new(now: Instant, capacity: usize) -> Self {
        Self {
            start: now,
            expired: 0,
            heads: [NONE; SLOTS],
            occupied: [0; WORDS],
            entries: Vec::with_capacity(capacity),
            free: NONE,
            length: 0,
        }
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Names `key` once `deadline` is reached; at the next tick if it is past. Constant time.
    pub fn insert(&mut self, key: K, deadline: Instant) {
        let tick = self.tick_of(deadline).max(self.expired + 1);
        let entry = Entry {
            key,
            tick,
            next: NONE,
        };
        let number = self.place(entry);
        self.link(number);
        self.length += 1;
    }

    /// Calls `due` with every key whose deadline is reached at `now`. Keys of one tick come in no order.
    pub fn expire(&mut self, now: Instant, mut due: impl FnMut(K)) {
        self.expire_or_renew(now, |key| {
            due(key);
            None
        });
    }

    /// Like [`TimerWheel::expire`], for owners who know the real deadline: where `due` answers with one, the
    /// key is inserted again.
    pub fn expire_or_renew(&mut self, now: Instant, mut due: impl FnMut(K) -> Option<Instant>) {
        let until = self.ticks_passed(now);
        // After a round every slot has been seen, however long the time since the last call.
        let first = self.expired + 1;
        let last = until.min(self.expired + SLOTS as u64);
        self.expired = self.expired.max(until);
        for tick in first..=last {
            self.expire_slot(slot_of(tick), until, &mut due);
        }
    }

    /// How long nothing can be due, from `now`; `None` if the wheel is empty. May be too short by whole rounds
    /// for entries far ahead, never too long.
    pub fn next(&self, now: Instant) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        let ahead = self.slots_to_next();
        let due = self.start + TICK * u32::try_from(self.expired + ahead).unwrap_or(u32::MAX);
        Some(due.saturating_duration_since(now))
    }

    /// The first tick at or after `deadline`.
    fn tick_of(&self, deadline: Instant) -> u64 {
        let since = deadline.saturating_duration_since(self.start);
        since.as_secs() * TICKS_PER_SECOND + u64::from(since.subsec_nanos().div_ceil(TICK_NANOS))
    }

    fn ticks_passed(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start);
        since.as_secs() * TICKS_PER_SECOND + u64::from(since.subsec_nanos() / TICK_NANOS)
    }

    fn place(&mut self, entry: Entry<K>) -> u32 {
        if self.free == NONE {
            let number = u32::try_from(self.entries.len()).expect("fewer than 2^32 - 1 timers");
            self.entries.push(entry);
            return number;
        }
        let number = self.free;
        let place = &mut self.entries[number as usize];
        self.free = place.next;
        *place = entry;
        number
    }

    fn link(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        let slot = slot_of(entry.tick);
        entry.next = self.heads[slot];
        self.heads[slot] = number;
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    fn expire_slot(&mut self, slot: usize, until: u64, due: &mut impl FnMut(K) -> Option<Instant>) {
        let mut number = self.heads[slot];
        self.heads[slot] = NONE;
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        while number != NONE {
            let entry = &self.entries[number as usize];
            let (key, tick, next) = (entry.key, entry.tick, entry.next);
            if tick > until {
                self.link(number);
            } else {
                self.unplace(number);
                if let Some(deadline) = due(key) {
                    self.insert(key, deadline);
                }
            }
            number = next;
        }
    }

    fn unplace(&mut self, number: u32) {
        self.entries[number as usize].next = self.free;
        self.free = number;
        self.length -= 1;
    }

    /// Ticks from the last expired one to the first that has entries: 1 to `SLOTS`. One look per 64 slots, as
    /// it is asked in every turn.
    fn slots_to_next(&self) -> u64 {
        let start = slot_of(self.expired + 1);
        let (word, bit) = (start / 64, start % 64);
        let first = self.occupied[word] >> bit;
        if first != 0 {
            return 1 + u64::from(first.trailing_zeros());
        }
        let mut ahead = 1 + (64 - bit) as u64;
        for step in 1..=WORDS {
            let bits = self.occupied[(word + step) % WORDS];
            if bits != 0 {
                return ahead + u64::from(bits.trailing_zeros());
            }
            ahead += 64;
        }
        SLOTS as u64
    }
}

fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn due(wheel: &mut TimerWheel<u32>, now: Instant) -> Vec<u32> {
        let mut keys = Vec::new();
        wheel.expire(now, |key| keys.push(key));
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_key_comes_once_at_its_tick() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start, 4);
        wheel.insert(1, start + MS * 250);
        assert_eq!(wheel.next(start), Some(MS * 300));
        assert_eq!(due(&mut wheel, start + MS * 299), []);
        assert_eq!(due(&mut wheel, start + MS * 300), [1]);
        assert_eq!(due(&mut wheel, start + MS * 9000), []);
        assert_eq!(wheel.next(start), None);
    }

    #[test]
    fn a_deadline_of_the_past_comes_at_the_next_tick() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start, 0);
        assert_eq!(due(&mut wheel, start + MS * 1000), []);
        wheel.insert(1, start);
        assert_eq!(wheel.next(start + MS * 1000), Some(MS * 100));
        assert_eq!(due(&mut wheel, start + MS * 1100), [1]);
    }

    #[test]
    fn within_a_round_the_next_tick_is_known_exactly() {
        let start = Instant::now();
        for first in 0..SLOTS as u32 {
            for ahead in [1, 2, 63, 64, 65, 300, SLOTS as u32] {
                let mut wheel = TimerWheel::new(start, 1);
                wheel.expire(start + TICK * first, |_: u32| {});
                wheel.insert(1, start + TICK * (first + ahead));
                assert_eq!(wheel.next(start + TICK * first), Some(TICK * ahead));
            }
        }
    }

    #[test]
    fn a_far_deadline_waits_for_its_round() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start, 0);
        let far = TICK * (3 * SLOTS as u32 + 7);
        wheel.insert(1, start + far);
        let mut now = start;
        while now < start + far {
            assert_eq!(due(&mut wheel, now), []);
            now += wheel.next(now).unwrap().max(MS);
        }
        assert_eq!(due(&mut wheel, now), [1]);
    }

    #[test]
    fn a_renewed_key_stays_without_being_seen_twice_in_one_call() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start, 0);
        wheel.insert(1, start + TICK);
        let mut seen = 0;
        let later = start + TICK * 600;
        wheel.expire_or_renew(later, |_| {
            seen += 1;
            Some(later)
        });
        assert_eq!((seen, wheel.len()), (1, 1));
        assert_eq!(due(&mut wheel, later + TICK), [1]);
    }

    proptest! {
        #[test]
        fn never_early_and_at_most_a_tick_late(
            deadlines in prop::collection::vec(0_u64..200_000, 1..50),
            steps in prop::collection::vec(0_u64..90_000, 1..20),
        ) {
            let start = Instant::now();
            let mut wheel = TimerWheel::new(start, 0);
            for (key, deadline) in deadlines.iter().enumerate() {
                wheel.insert(key, start + MS * *deadline as u32);
            }
            let mut waiting: Vec<usize> = (0..deadlines.len()).collect();
            let mut now = 0;
            for step in steps {
                now += step;
                let mut keys = Vec::new();
                wheel.expire(start + MS * now as u32, |key| keys.push(key));
                for key in keys {
                    prop_assert!(deadlines[key] <= now);
                    let place = waiting.iter().position(|&other| other == key);
                    waiting.remove(place.expect("each key comes once"));
                }
                prop_assert!(waiting.iter().all(|&key| deadlines[key] + 100 > now));
                prop_assert_eq!(waiting.len(), wheel.len());
                let soonest = waiting.iter().map(|&key| deadlines[key]).min();
                let next = wheel.next(start + MS * now as u32);
                prop_assert_eq!(soonest.is_some(), next.is_some());
                if let (Some(soonest), Some(next)) = (soonest, next) {
                    // Sleeping that long misses nothing.
                    prop_assert!(next <= MS * (soonest + 100).saturating_sub(now) as u32);
                }
            }
        }
    }
}
