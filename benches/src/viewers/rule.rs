//! Which rendition a viewer asks for next.

use std::time::Duration;

use super::titles::{BEST, RENDITIONS, relative_rate};

/// How a viewer chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rule {
    /// Always the best.
    Fixed,
    /// By how much is buffered: BOLA-BASIC (Spiteri, Urgaonkar, Sitaraman, "BOLA: Near-Optimal Bitrate Adaptation for Online Videos",
    /// 2016), with its authors' gamma x p = 5.
    Adaptive,
}

const GAMMA_P: f64 = 5.0;

impl Rule {
    pub(super) const ALL: [Self; 2] = [Self::Fixed, Self::Adaptive];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Adaptive => "adaptive",
        }
    }

    /// The rendition for the next segment, with `buffered` of at most `target` at hand.
    pub(super) fn choose(self, buffered: Duration, target: Duration, segment: Duration) -> usize {
        if self == Self::Fixed {
            return BEST;
        }
        let utility = |rendition| (relative_rate(rendition) / relative_rate(0)).ln();
        let segments = |time: Duration| time.as_secs_f64() / segment.as_secs_f64();
        let control = (segments(target) - 1.0) / (utility(BEST) + GAMMA_P);
        let score = |rendition: usize| {
            (control * (utility(rendition) + GAMMA_P) - segments(buffered))
                / relative_rate(rendition)
        };
        (0..RENDITIONS)
            .max_by(|&one, &other| score(one).total_cmp(&score(other)))
            .unwrap_or(BEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuller_the_buffer_the_better_the_rendition() {
        let choose = |seconds| {
            let [buffered, target, segment] = [seconds, 30, 4].map(Duration::from_secs);
            assert_eq!(Rule::Fixed.choose(buffered, target, segment), BEST);
            Rule::Adaptive.choose(buffered, target, segment)
        };
        let chosen: Vec<usize> = (0..=26).map(choose).collect();
        assert!(chosen.is_sorted(), "{chosen:?}");
        assert_eq!((chosen[0], chosen[19], chosen[26]), (0, 1, BEST));
    }
}
