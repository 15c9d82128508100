//! What ours is compared with: blocks of one request, kept by LRU, by 2Q, and by somebody who knows the future.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::trace::Request;

/// A cache of so many blocks.
pub(crate) trait Cache {
    /// Whether the block is here. It may be kept afterwards.
    fn ask(&mut self, block: Request) -> bool;
}

/// The one that was used least recently goes.
#[derive(Default)]
pub(crate) struct Lru {
    room: usize,
    now: u64,
    used: HashMap<Request, u64>,
    order: BTreeMap<u64, Request>,
}

impl Lru {
    pub(crate) fn new(room: usize) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    fn remove(&mut self, block: Request) -> bool {
        self.used
            .remove(&block)
            .is_some_and(|used| self.order.remove(&used).is_some())
    }

    /// Puts it in; the block that went for it.
    fn put(&mut self, block: Request) -> Option<Request> {
        self.now += 1;
        self.used.insert(block, self.now);
        self.order.insert(self.now, block);
        if self.used.len() <= self.room {
            return None;
        }
        let (_, oldest) = self.order.pop_first()?;
        self.used.remove(&oldest);
        Some(oldest)
    }
}

impl Cache for Lru {
    fn ask(&mut self, block: Request) -> bool {
        let here = self.remove(block);
        self.put(block);
        here
    }
}

/// 2Q (Johnson, Shasha 1994) with their proportions: what comes the first time passes through a quarter of the room, its name is
/// remembered for half of the room's number of blocks, and who comes again within that time is kept by LRU.
pub(crate) struct TwoQueues {
    first: Lru,
    names: Lru,
    main: Lru,
}

impl TwoQueues {
    pub(crate) fn new(room: usize) -> Self {
        Self {
            first: Lru::new(room / 4),
            names: Lru::new(room / 2),
            main: Lru::new(room - room / 4),
        }
    }
}

impl Cache for TwoQueues {
    fn ask(&mut self, block: Request) -> bool {
        if self.main.used.contains_key(&block) {
            return self.main.ask(block);
        }
        // First in, first out: a second use while it is here changes nothing.
        if self.first.used.contains_key(&block) {
            return true;
        }
        if self.names.remove(block) {
            self.main.put(block);
        } else if let Some(gone) = self.first.put(block) {
            self.names.put(gone);
        }
        false
    }
}

/// Who knows the future: of all blocks here and the one that comes, that whose next use is the farthest goes (Belady 1966, with the
/// choice not to keep).
pub(crate) struct Future {
    room: usize,
    /// For each request of the trace, when the same block is asked for next.
    next: Vec<usize>,
    now: usize,
    kept: HashMap<Request, usize>,
    order: BTreeSet<(usize, u32, u32)>,
}

impl Future {
    pub(crate) fn new(room: usize, trace: &[Request]) -> Self {
        let mut seen = HashMap::new();
        let mut next = vec![usize::MAX; trace.len()];
        for (at, block) in trace.iter().enumerate().rev() {
            if let Some(later) = seen.insert(*block, at) {
                next[at] = later;
            }
        }
        Self {
            room,
            next,
            now: 0,
            kept: HashMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl Cache for Future {
    fn ask(&mut self, block: Request) -> bool {
        let next = self.next[self.now];
        self.now += 1;
        let place = |next| (next, block.title, block.block);
        let here = self.kept.insert(block, next);
        if let Some(before) = here {
            self.order.remove(&place(before));
        }
        self.order.insert(place(next));
        if self.kept.len() > self.room
            && let Some((_, title, block)) = self.order.pop_last()
        {
            self.kept.remove(&Request { title, block });
        }
        here.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(mut cache: impl Cache, titles: &[u32]) -> Vec<usize> {
        let asked = titles.iter().enumerate();
        asked
            .filter(|(_, title)| {
                cache.ask(Request {
                    title: **title,
                    block: 0,
                })
            })
            .map(|(at, _)| at)
            .collect()
    }

    #[test]
    fn each_keeps_what_its_rule_says() {
        let asked = [1, 2, 3, 1, 4, 1, 2, 3];
        assert_eq!(hits(Lru::new(2), &asked), [5]);
        assert_eq!(hits(Lru::new(3), &asked), [3, 5]);
        let blocks: Vec<_> = asked.map(|title| Request { title, block: 0 }).into();
        assert_eq!(hits(Future::new(2, &blocks), &asked), [3, 5, 6]);
        // 1 comes again while its name is known, and outlives the others.
        let asked = [1, 2, 3, 1, 4, 5, 6, 7, 1];
        assert_eq!(hits(TwoQueues::new(4), &asked), [8]);
    }
}
