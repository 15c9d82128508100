//! Latencies of one run, kept whole: percentiles are exact.

use std::time::Duration;

/// One entry per request; 4 bytes each.
#[derive(Default)]
pub(crate) struct Latencies {
    microseconds: Vec<u32>,
}

impl Latencies {
    pub(crate) fn record(&mut self, took: Duration) {
        self.microseconds
            .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn count(&self) -> u64 {
        self.microseconds.len() as u64
    }

    pub(crate) fn summary(mut self) -> Summary {
        self.microseconds.sort_unstable();
        Summary {
            p50_us: self.at(0.50),
            p99_us: self.at(0.99),
            max_us: self.at(1.0),
        }
    }

    /// The smallest latency that at least `share` of the requests did not exceed; 0 if there were none.
    fn at(&self, share: f64) -> u32 {
        let rank = (share * self.microseconds.len() as f64).ceil() as usize;
        self.microseconds
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or(0)
    }
}

/// From the first byte of the request written to the last of the response read, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Summary {
    pub(crate) p50_us: u32,
    pub(crate) p99_us: u32,
    pub(crate) max_us: u32,
}

/// The middle one; of an even number, the lower of the two. `values` must not be empty.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_whole() {
        let mut latencies = Latencies::default();
        for number in (1..=200).rev() {
            latencies.record(Duration::from_micros(number));
        }
        let expected = Summary {
            p50_us: 100,
            p99_us: 198,
            max_us: 200,
        };
        assert_eq!(latencies.summary(), expected);
    }

    #[test]
    fn median_ignores_order_and_outliers() {
        assert_eq!(median([900.0, 1.0, 2.0, 3.0, 0.0]), 2.0);
        assert_eq!(median([2.0, 1.0]), 1.0);
    }
}
