//! Weighted rendezvous hashing: every appliance draws a number for every viewer, the highest one has him. When one goes, its
//! viewers alone move; when one's weight changes by a part, that part of its viewers moves.
//!
//! The functions are part of what is promised: another result for the same input moves every viewer of every fleet once.

use std::net::IpAddr;

/// The number of a viewer of an object.
#[must_use]
pub fn viewer(client: IpAddr, object: u64) -> u64 {
    let address = match client {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => {
            let [high, low] = [ip.to_bits() >> 64, ip.to_bits() & u128::from(u64::MAX)];
            // Both halves are below 2^64.
            mixed(high as u64) ^ low as u64
        }
    };
    mixed(mixed(address) ^ object)
}

/// The number of an appliance, by its name.
#[must_use]
pub fn key(name: &str) -> u64 {
    name.bytes()
        .fold(0, |sum, byte| mixed(sum ^ u64::from(byte)))
}

/// What an appliance with `key` and `weight` draws for a viewer; the highest one has him. The chance to have him is the weight
/// divided by the sum of all weights.
#[must_use]
pub fn score(viewer: u64, key: u64, weight: f64) -> f64 {
    // Of (0, 1): the logarithm is below 0.
    weight / -unit(mixed(viewer ^ key)).ln()
}

/// A number of (0, 1) for a viewer, which tells whether he is of those whom a busy group gives away. It has nothing to do with
/// whom of the group he would have come to.
#[must_use]
pub fn part(viewer: u64) -> f64 {
    unit(mixed(viewer ^ 0x6f76_6572_666c_6f77))
}

/// The 53 bits that a float holds exactly, and a half.
fn unit(number: u64) -> f64 {
    ((number >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Viewers of each of four appliances.
    fn shares(weights: [f64; 4]) -> [u32; 4] {
        let mut shares = [0; 4];
        for client in 0..20_000_u32 {
            shares[winner(client, weights)] += 1;
        }
        shares
    }

    fn winner(client: u32, weights: [f64; 4]) -> usize {
        let viewer = viewer(IpAddr::V4(client.into()), 7);
        let score = |index: &usize| score(viewer, key(&format!("c{index}")), weights[*index]);
        let all = (0..4).max_by(|one, other| score(one).total_cmp(&score(other)));
        all.unwrap()
    }

    #[test]
    fn shares_are_as_the_weights() {
        for (found, expected) in shares([1.0, 1.0, 2.0, 4.0])
            .iter()
            .zip([2500, 2500, 5000, 10_000])
        {
            assert!(found.abs_diff(expected) < 250, "{found} for {expected}");
        }
    }

    #[test]
    fn a_change_moves_the_viewers_that_it_must_move_and_no_others() {
        let (before, after) = ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]);
        for client in 0..5000 {
            let (was, is) = (winner(client, before), winner(client, after));
            assert!(was == is || was == 3);
        }
        let (mut moved, lighter) = (0, [1.0, 1.0, 1.0, 0.9]);
        for client in 0..5000 {
            let (was, is) = (winner(client, before), winner(client, lighter));
            assert!(was == is || was == 3);
            moved += u32::from(was != is);
        }
        assert!((50..150).contains(&moved), "{moved}, expected: 96");
    }

    #[test]
    fn the_numbers_stay_what_they_are() {
        let v4 = viewer("192.0.2.1".parse().unwrap(), 1);
        let v6 = viewer("2001:db8::1".parse().unwrap(), 1);
        assert_eq!([v4, v6, key("c001.fra001.example")], PROMISED);
    }

    const PROMISED: [u64; 3] = [
        10_754_285_934_346_101_761,
        15_603_030_251_289_013_697,
        6_734_833_765_177_756_273,
    ];
}
