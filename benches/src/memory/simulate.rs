//! A trace against the policy of the memory tier, the code that the daemon runs, and against others.

use oca_daemon::memory_tier::policy::{Decision, Policy, Wanted};
use platform::stored_file::PIECE_BYTES;

use super::caches::{Cache, Future, Lru, TwoQueues};
use super::trace::{Request, Shape};

/// Who decides what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Who {
    MemoryTier,
    Lru,
    TwoQueues,
    Future,
}

impl Who {
    pub(crate) const ALL: [Self; 4] = [Self::MemoryTier, Self::Lru, Self::TwoQueues, Self::Future];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MemoryTier => "memory tier",
            Self::Lru => "LRU",
            Self::TwoQueues => "2Q",
            Self::Future => "who knows the future",
        }
    }
}

/// What came of a trace. The first day fills the memory and is left out.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Outcome {
    pub(crate) who: Who,
    /// Of the library.
    pub(crate) memory_share: f64,
    /// Bytes sent from memory, of all bytes sent.
    pub(crate) hit_ratio: f64,
    /// Bytes read from devices, also to bring pieces into memory, of all bytes sent.
    pub(crate) device_ratio: f64,
}

/// Replays `trace` with a memory of `share` of the library.
pub(crate) fn run(shape: &Shape, trace: &[Request], share: f64, who: Who) -> Outcome {
    let memory = (shape.library_bytes() as f64 * share) as u64;
    let room = (memory / shape.request_bytes) as usize;
    let first_day = shape.requests_per_day as usize;
    let (hits, loaded) = match who {
        Who::MemoryTier => through_policy(shape, trace, Policy::new(memory, shape.seed)),
        Who::Lru => through(Lru::new(room), trace, first_day),
        Who::TwoQueues => through(TwoQueues::new(room), trace, first_day),
        Who::Future => through(Future::new(room, trace), trace, first_day),
    };
    let all = (trace.len() - first_day) as f64;
    let hit_ratio = hits as f64 / all;
    Outcome {
        who,
        memory_share: share,
        hit_ratio,
        device_ratio: 1.0 - hit_ratio + loaded as f64 / (all * shape.request_bytes as f64),
    }
}

/// Hits after the first day; a cache of blocks keeps what it read anyway.
fn through(mut cache: impl Cache, trace: &[Request], first_day: usize) -> (u64, u64) {
    let asked = trace.iter().enumerate();
    let hits = asked.filter(|(at, block)| cache.ask(**block) && *at >= first_day);
    (hits.count() as u64, 0)
}

/// Hits, and bytes loaded into memory, after the first day.
fn through_policy(shape: &Shape, trace: &[Request], mut policy: Policy<(u32, u64)>) -> (u64, u64) {
    let (mut hits, mut loaded) = (0, 0);
    for (at, request) in trace.iter().enumerate() {
        let offset = u64::from(request.block) * shape.request_bytes;
        let piece = (request.title, offset / PIECE_BYTES);
        let piece_bytes = PIECE_BYTES.min(shape.title_bytes - piece.1 * PIECE_BYTES);
        let counts = u64::from(at >= shape.requests_per_day as usize);
        if policy.holds(&piece) {
            policy.used(&piece, piece_bytes, shape.request_bytes);
            hits += counts;
            continue;
        }
        let decision = policy.wanted(&Wanted {
            piece,
            piece_bytes,
            read_bytes: shape.request_bytes,
            expected_share: 0.0,
        });
        if let Decision::Admit { .. } = decision {
            policy.loaded(&piece);
            loaded += counts * piece_bytes;
        }
    }
    (hits, loaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_tier_is_better_than_lru_and_not_better_than_the_future() {
        let shape = Shape {
            titles: 400,
            title_bytes: 8 << 20,
            request_bytes: 1 << 20,
            exponent: 0.9,
            days: 3,
            requests_per_day: 10_000,
            drift: 0.1,
            seed: 1,
        };
        let trace = shape.trace();
        let ratio = |who| run(&shape, &trace, 0.05, who).hit_ratio;
        let [ours, lru, _, future] = Who::ALL.map(ratio);
        assert!(ours > lru + 0.05 && ours < future, "{ours} {lru} {future}");
    }
}
