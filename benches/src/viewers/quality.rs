//! What a viewer thinks of it, as one number.
//!
//! The linear QoE of Yin, Jindal, Sekar, Sinopoli ("A Control-Theoretic Approach for Dynamic Adaptive Video Streaming over HTTP",
//! 2015), per segment and against the best rendition:
//!
//! ```text
//! (sum of r(k) - sum of |r(k+1) - r(k)| - (start time + time in pauses) / 1 s) / K
//! ```
//!
//! r(k) is the rate of the k-th of K segments against the best one's. As with the authors' weights, a second of waiting costs as much as
//! a segment of the best rendition is worth. 1 is perfect; without a pause only the start and worse renditions take from it.

use std::time::Duration;

use super::titles::relative_rate;

#[derive(Default)]
pub(super) struct Quality {
    segments: u32,
    rates: f64,
    changes: f64,
    last: Option<f64>,
}

impl Quality {
    pub(super) fn fetched(&mut self, rendition: usize) {
        let rate = relative_rate(rendition);
        self.segments += 1;
        self.rates += rate;
        self.changes += (rate - self.last.unwrap_or(rate)).abs();
        self.last = Some(rate);
    }

    /// Of a viewer who has waited for so long in all.
    pub(super) fn score(&self, waited: Duration) -> f64 {
        (self.rates - self.changes - waited.as_secs_f64()) / f64::from(self.segments.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_changes_and_worse_renditions_take_from_the_score() {
        let score = |renditions: &[usize], waited| {
            let mut quality = Quality::default();
            renditions
                .iter()
                .for_each(|&rendition| quality.fetched(rendition));
            quality.score(Duration::from_secs(waited))
        };
        assert_eq!(score(&[2, 2, 2, 2], 0), 1.0);
        assert_eq!(score(&[2, 2, 2, 2], 2), 0.5);
        assert_eq!(score(&[1, 1], 0), 0.5);
        assert_eq!(score(&[0, 2], 0), 0.25);
        assert_eq!(score(&[], 7), -7.0);
    }
}
