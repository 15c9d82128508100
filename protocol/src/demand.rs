//! What the manifest in force expects viewers to ask for: from the fill agent, which knows manifests, to the daemon, whose memory
//! tier ranks by it. A file that the agent replaces as a whole; without it nothing is expected.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::limits::EXPECTED_OBJECTS;
use crate::manifest::Manifest;
use crate::root::Root;
use crate::summed::{self, BadSum};

/// The file, in `state_dir`.
pub const FILE: &str = "fill/demand.json";

/// A new field leaves it; a changed meaning raises it. From 2 on the file carries a checksum ([`summed`]).
const FORMAT: u32 = 2;

/// The last format without a checksum.
const UNSUMMED: u32 = 1;

/// The objects of the highest rank.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    format: u32,
    /// Bytes a day of all objects of the manifest, also of those that are left out.
    demand: u64,
    objects: Vec<Object>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Object {
    root: Root,
    size: u64,
    demand: u64,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadDemand {
    /// Not what the agent writes, or not any more.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// Written by a newer agent.
    #[error("has format {0}, this program reads up to {FORMAT}: install the newer release")]
    Newer(u32),
}

impl From<serde_json::Error> for BadDemand {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<BadSum> for BadDemand {
    fn from(bad: BadSum) -> Self {
        Self::Damaged(bad.to_string())
    }
}

impl Expected {
    /// Of all paths of an object together; at most [`EXPECTED_OBJECTS`], those with the most demand per byte.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let mut found: HashMap<Root, Object> = HashMap::new();
        let mut all = 0u64;
        for wanted in manifest.objects.iter().filter(|wanted| wanted.size > 0) {
            all = all.saturating_add(wanted.demand);
            let object = found.entry(wanted.root).or_insert(Object {
                root: wanted.root,
                size: wanted.size,
                demand: 0,
            });
            object.demand = object.demand.saturating_add(wanted.demand);
        }
        let mut objects: Vec<_> = found
            .into_values()
            .filter(|object| object.demand > 0)
            .collect();
        objects.sort_by(|one, other| {
            let rank = |object: &Object| object.demand as f64 / object.size as f64;
            rank(other)
                .total_cmp(&rank(one))
                .then(one.root.cmp(&other.root))
        });
        objects.truncate(EXPECTED_OBJECTS);
        Self {
            format: FORMAT,
            demand: all,
            objects,
        }
    }

    /// As it stands in the file.
    ///
    /// # Errors
    /// [`BadDemand`].
    pub fn parse(text: &[u8]) -> Result<Self, BadDemand> {
        #[derive(Deserialize)]
        struct OnlyFormat {
            format: u32,
        }
        let OnlyFormat { format } = serde_json::from_slice(text)?;
        if format > FORMAT {
            return Err(BadDemand::Newer(format));
        }
        if format != UNSUMMED {
            summed::check(text)?;
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// For the file.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        summed::sum(serde_json::to_vec(self).expect("numbers and digits are JSON"))
    }

    /// Each object with the share of all demand that falls on each of its bytes.
    pub fn shares(&self) -> impl Iterator<Item = (Root, f32)> {
        let all = self.demand.max(1) as f64;
        self.objects.iter().map(move |object| {
            let share = object.demand as f64 / all / object.size.max(1) as f64;
            (object.root, share as f32)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TierRole;
    use crate::manifest::{MANIFEST_VERSION, Serial, Wanted};

    fn wanted(root: u8, size: u64, demand: u64) -> Wanted {
        Wanted {
            path: "/a".into(),
            root: Root([root; 32]),
            size,
            content_type: "video/mp4".into(),
            cache_control: None,
            modified: 0,
            tier: TierRole::Hot,
            demand,
            copies: 1,
            urgent: false,
            via: None,
        }
    }

    fn expected(objects: Vec<Wanted>) -> Expected {
        Expected::of(&Manifest {
            version: MANIFEST_VERSION,
            appliance: "c001.fra001.example".into(),
            serial: Serial {
                epoch: 1,
                number: 1,
            },
            built_at: 1,
            not_after: 2,
            site_offset_s: None,
            site_rate: None,
            sources: Vec::new(),
            objects,
            tombstones: Vec::new(),
        })
    }

    #[test]
    fn paths_of_an_object_count_together_and_the_highest_rank_comes_first() {
        let objects = vec![
            wanted(1, 100, 50),
            wanted(2, 10, 25),
            wanted(1, 100, 25),
            wanted(3, 100, 0),
            wanted(4, 0, 9),
        ];
        let expected = expected(objects);
        let shares: Vec<_> = expected.shares().collect();
        assert_eq!(
            shares,
            [(Root([2; 32]), 0.025), (Root([1; 32]), 0.0075)],
            "what nobody wants, and what has no bytes, has no rank"
        );
        assert_eq!(Expected::parse(&expected.text()).unwrap(), expected);
    }

    #[test]
    fn only_so_many_are_listed_and_what_is_no_list_is_refused() {
        let many = (0..EXPECTED_OBJECTS as u32 + 9).map(|number| Wanted {
            root: Root(std::array::from_fn(|at| number.to_le_bytes()[at % 4])),
            ..wanted(0, 1 << 40, u64::MAX / 100_000)
        });
        let expected = expected(many.collect());
        assert_eq!(expected.shares().count(), EXPECTED_OBJECTS);
        assert!(expected.text().len() as u64 <= crate::limits::EXPECTED_MAX_BYTES);
        assert!(Expected::parse(b"{}").is_err());
        let newer = Expected::parse(b"{\"format\":3}").unwrap_err();
        assert!(newer.to_string().contains("newer release"), "{newer}");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found_and_the_format_before_is_read() {
        let mut expected = expected(vec![wanted(1, 100, 50)]);
        let text = expected.text();
        assert_eq!(Expected::parse(&text).unwrap(), expected);
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Expected::parse(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..text.len() {
            assert!(Expected::parse(&text[..length]).is_err(), "{length} bytes");
        }
        expected.format = UNSUMMED;
        let before = serde_json::to_vec(&expected).unwrap();
        assert_eq!(Expected::parse(&before).unwrap(), expected);
    }
}
