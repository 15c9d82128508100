//! How much is asked for an object: bytes a day, from what reports say was served, newer ones counting more.
//!
//! Bytes served at time t are stored multiplied by 2^((t - START) / half-life). So sums are only ever added to, whatever their age
//! (forward decay: Cormode et al., "Forward Decay", ICDE 2009); dividing by the same power of now gives what has not faded.

use crate::limits::HALF_LIFE_S;

/// 2026-01-01: powers of two end at 1023, so weights end 19 years later.
const START: u64 = 1_767_225_600;

const DAY_S: f64 = 86_400.0;

#[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
fn half_lives(now: u64) -> f64 {
    now.saturating_sub(START) as f64 / HALF_LIFE_S as f64
}

/// What is added for `bytes` served now.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "15 digits are enough")]
pub fn weight(bytes: u64, now: u64) -> f64 {
    bytes as f64 * half_lives(now).exp2()
}

/// Bytes a day of a sum of weights. Steady traffic of D bytes a day comes to D.
#[must_use]
pub fn bytes_a_day(weights: f64, now: u64) -> f64 {
    let faded = weights / half_lives(now).exp2();
    #[expect(clippy::cast_precision_loss, reason = "a week in seconds")]
    let mean_life_days = HALF_LIFE_S as f64 / DAY_S / std::f64::consts::LN_2;
    faded / mean_life_days
}

/// What is left of an expectation of `bytes` a day.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "15 digits are enough")]
pub fn expected(bytes: u64, published: u64, now: u64) -> f64 {
    bytes as f64 * (half_lives(published) - half_lives(now.max(published))).exp2()
}

/// To the nearest step of an eighth, so that a manifest does not change for a few bytes.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates; nothing here is negative"
)]
pub fn stepped(bytes_a_day: f64) -> u64 {
    let bytes = bytes_a_day.round() as u64;
    let low = (64 - bytes.leading_zeros()).saturating_sub(4);
    let half_step = 1 << low >> 1;
    bytes.saturating_add(half_step) >> low << low
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = START + 400 * 86_400;

    #[test]
    fn steady_traffic_comes_to_itself_and_fades_by_half_in_a_week() {
        let hourly = (0..24 * 365).map(|hour| weight(1_000_000, NOW - hour * 3600));
        let sum: f64 = hourly.sum();
        let daily = bytes_a_day(sum, NOW);
        assert!((daily / 24e6 - 1.0).abs() < 0.01, "{daily}");
        let later = bytes_a_day(sum, NOW + HALF_LIFE_S);
        assert!((later / daily - 0.5).abs() < 1e-9, "{later}");
        assert!((expected(1000, NOW, NOW + HALF_LIFE_S) - 500.0).abs() < 1e-6);
        assert!((expected(1000, NOW, NOW - 5) - 1000.0).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn steps_are_an_eighth(bytes in 0..1_u64 << 50) {
            #[expect(clippy::cast_precision_loss, reason = "below 2^52")]
            let stepped = stepped(bytes as f64);
            prop_assert!(stepped.abs_diff(bytes) <= bytes / 16);
        }
    }
}
