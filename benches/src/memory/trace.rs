//! What viewers ask for: sessions on titles whose popularity follows Zipf's law and changes from day to day. The same for the same seed.

use crate::load::Random;

/// How a trace is made.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Shape {
    pub(crate) titles: u32,
    pub(crate) title_bytes: u64,
    /// Bytes of one request; the title is a multiple of it.
    pub(crate) request_bytes: u64,
    /// The title of rank r is chosen with a probability in proportion to r^-exponent.
    pub(crate) exponent: f64,
    pub(crate) days: u32,
    pub(crate) requests_per_day: u64,
    /// Share of the titles that exchange their ranks with each other from one day to the next.
    pub(crate) drift: f64,
    pub(crate) seed: u64,
}

/// Sessions that run at the same time.
const SESSIONS: u64 = 64;

/// `request_bytes` of a title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) title: u32,
    /// In requests from the title's start.
    pub(crate) block: u32,
}

impl Shape {
    pub(crate) fn library_bytes(&self) -> u64 {
        u64::from(self.titles) * self.title_bytes
    }

    fn blocks(&self) -> u64 {
        self.title_bytes / self.request_bytes
    }

    pub(crate) fn trace(&self) -> Vec<Request> {
        let mut random = Random::new(self.seed.max(1));
        let mut ranking = Ranking::new(self, &mut random);
        let mut sessions: Vec<Session> = (0..SESSIONS)
            .map(|_| self.session(&ranking, &mut random))
            .collect();
        let mut trace = Vec::new();
        for day in 0..self.days {
            if day > 0 {
                ranking.drift(self.drift, &mut random);
            }
            for _ in 0..self.requests_per_day {
                let session = &mut sessions[random.below(SESSIONS) as usize];
                trace.push(session.next);
                session.next.block += 1;
                if u64::from(session.next.block) == session.end {
                    *session = self.session(&ranking, &mut random);
                }
            }
        }
        trace
    }

    /// Every second viewer stays to the end; the others leave somewhere before.
    fn session(&self, ranking: &Ranking, random: &mut Random) -> Session {
        let stays = random.below(2) == 0;
        Session {
            next: Request {
                title: ranking.choose(random),
                block: 0,
            },
            end: if stays {
                self.blocks()
            } else {
                1 + random.below(self.blocks())
            },
        }
    }
}

struct Session {
    next: Request,
    end: u64,
}

/// Titles by rank.
struct Ranking {
    titles: Vec<u32>,
    /// Sums of the weights of all ranks up to each.
    sums: Vec<f64>,
}

impl Ranking {
    fn new(shape: &Shape, random: &mut Random) -> Self {
        let mut sum = 0.0;
        let weight = |rank: u32| f64::from(rank).powf(-shape.exponent);
        let sums = (1..=shape.titles).map(|rank| {
            sum += weight(rank);
            sum
        });
        let sums = sums.collect();
        let mut titles: Vec<u32> = (0..shape.titles).collect();
        shuffle(&mut titles, random);
        Self { titles, sums }
    }

    fn choose(&self, random: &mut Random) -> u32 {
        let all = self.sums.last().copied().unwrap_or_default();
        // 53 bits: all that a double holds.
        let at = (random.next() >> 11) as f64 / (1u64 << 53) as f64 * all;
        let rank = self.sums.partition_point(|sum| *sum <= at);
        self.titles[rank.min(self.titles.len() - 1)]
    }

    fn drift(&mut self, share: f64, random: &mut Random) {
        let mut ranks: Vec<u32> = (0..self.titles.len() as u32).collect();
        shuffle(&mut ranks, random);
        ranks.truncate((self.titles.len() as f64 * share) as usize);
        for pair in ranks.windows(2) {
            self.titles.swap(pair[0] as usize, pair[1] as usize);
        }
    }
}

/// Fisher and Yates.
fn shuffle(values: &mut [u32], random: &mut Random) {
    for last in (1..values.len()).rev() {
        values.swap(last, random.below(last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_trace_and_the_first_ranks_are_wanted_most() {
        let shape = Shape {
            titles: 1000,
            title_bytes: 8 << 20,
            request_bytes: 1 << 20,
            exponent: 1.0,
            days: 2,
            requests_per_day: 50_000,
            drift: 0.1,
            seed: 7,
        };
        let trace = shape.trace();
        assert!(trace == shape.trace() && trace != Shape { seed: 8, ..shape }.trace());
        assert_eq!(trace.len(), 100_000);
        assert!(
            trace
                .iter()
                .all(|request| request.title < 1000 && request.block < 8)
        );
        let mut counts = [0u64; 1000];
        trace[..50_000]
            .iter()
            .for_each(|request| counts[request.title as usize] += 1);
        counts.sort_unstable();
        let top: u64 = counts[900..].iter().sum();
        // Of Zipf with exponent 1 over 1000 ranks, the first 100 have 69 %.
        assert!((0.66..0.73).contains(&(top as f64 / 50_000.0)), "{top}");
    }
}
