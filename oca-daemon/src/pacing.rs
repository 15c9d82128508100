//! How fast a connection may be sent to: what the configuration and the player's CMCD say in, a [`Rate`] or none out. Pure.
//!
//! The kernel keeps the rate; it is told (a system call) only when the rate of a connection changes. A player that asks for its
//! rate asks for the same one with most of its requests.

use std::num::NonZeroU64;

use protocol::config;
use protocol::limits::PACING_MIN;

use crate::cmcd::Cmcd;

/// A rate of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// The rate of so many bits a second, in whole bytes; at least one byte.
    pub fn from_bits_per_second(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits / 8).map(Self)
    }

    /// The rate in bits a second.
    pub fn bits_per_second(self) -> u64 {
        self.0.get() * 8
    }

    /// The rate in bytes a second, as the kernel wants it.
    pub fn bytes_per_second(self) -> NonZeroU64 {
        self.0
    }
}

/// What the configuration says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pacing {
    most: Option<Rate>,
    cmcd: bool,
}

impl Pacing {
    /// As configured.
    pub fn of(configured: config::Pacing) -> Self {
        let most = configured.rate.map(|rate| rate.bits_per_second());
        Self {
            most: most.and_then(Rate::from_bits_per_second),
            cmcd: configured.cmcd,
        }
    }

    /// Whether it matters what players say.
    pub fn hears_players(&self) -> bool {
        self.cmcd
    }

    /// The rate for a response to a request that came with `cmcd`; `None`: as fast as the path takes it.
    pub fn rate(&self, cmcd: Option<&Cmcd>) -> Option<Rate> {
        let wish = cmcd.filter(|_| self.cmcd).and_then(wish);
        match (wish, self.most) {
            (Some(wish), Some(most)) => Some(wish.min(most)),
            (wish, most) => wish.or(most),
        }
    }
}

/// What a player asks for. Below one and a half times the bitrate it could not fill its buffer any more (and a rounded `rtp`, or a
/// mistaken one, would starve it). An object that is wanted urgently is not held back.
fn wish(cmcd: &Cmcd) -> Option<Rate> {
    let asked = cmcd
        .rtp
        .filter(|asked| *asked > 0 && !cmcd.su && !cmcd.bs)?;
    let needed = cmcd.br.unwrap_or(0);
    let bits = (u64::from(asked) * 1000).max(u64::from(needed) * 1500);
    Rate::from_bits_per_second(bits.max(PACING_MIN.bits_per_second()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::units::BitRate;

    #[test]
    fn the_rate_follows_the_configuration_and_what_players_ask() {
        const OFF: (Option<u64>, bool) = (None, false);
        const BOUND: (Option<u64>, bool) = (Some(20_000_000), false);
        const HEARD: (Option<u64>, bool) = (None, true);
        const BOTH: (Option<u64>, bool) = (Some(20_000_000), true);
        for ((rate, cmcd), asked, expected) in [
            (OFF, "rtp=8000", None),
            (BOUND, "", Some(20_000_000)),
            (BOUND, "rtp=8000", Some(20_000_000)),
            (HEARD, "", None),
            (HEARD, "br=3000", None),
            (HEARD, "rtp=0", None),
            (HEARD, "rtp=8000", Some(8_000_000)),
            (HEARD, "br=3000,rtp=4000", Some(4_500_000)),
            (HEARD, "br=3000,rtp=8000", Some(8_000_000)),
            (HEARD, "rtp=100", Some(1_000_000)),
            (HEARD, "rtp=8000,su", None),
            (HEARD, "bs,rtp=8000", None),
            (
                HEARD,
                "br=4294967295,rtp=4294967295",
                Some(6_442_450_942_496),
            ),
            (BOTH, "rtp=8000", Some(8_000_000)),
            (BOTH, "rtp=80000", Some(20_000_000)),
            (BOTH, "rtp=8000,su", Some(20_000_000)),
            (BOTH, "br=15000,rtp=100", Some(20_000_000)),
        ] {
            let pacing = Pacing::of(config::Pacing {
                rate: rate.map(BitRate::from_bits_per_second),
                cmcd,
            });
            let mut read = Cmcd::default();
            assert!(read.read_field(asked.as_bytes()), "{asked}");
            let got = pacing.rate(Some(&read)).map(Rate::bits_per_second);
            assert_eq!(got, expected, "{rate:?} {cmcd} {asked:?}");
        }
    }
}
