//! Whether the appliances of a cluster hear the same: one that lacks a prefix sends its viewers away, although what they want is there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use steering::bgp::{Family, Prefix};
use steering::decide::routes::Route;

use super::tables::{Digest, Tables};
use crate::limits::GAPS_LISTED;

/// An appliance that listens to routers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listener {
    pub(super) cluster: String,
    pub(super) id: String,
    pub(super) hears: Digest,
    /// Viewers with IPv6 are registered for its operator.
    pub(super) expects_ipv6: bool,
}

/// What an appliance does not hear, and should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Gap {
    cluster: String,
    appliance: String,
    /// Prefixes that it hears.
    hears: usize,
    /// Prefixes that another of its cluster hears, and it does not.
    lacks: usize,
    /// The first of them.
    prefixes: Vec<String>,
    /// It hears IPv4 and no IPv6, although another of its cluster does, or IPv6 is registered for its operator.
    lacks_ipv6: bool,
}

/// Of all clusters.
#[derive(Debug, Clone, Default)]
pub(super) struct Comparison {
    of: Vec<Listener>,
    pub(super) gaps: Arc<[Gap]>,
}

impl Comparison {
    /// Compares, unless these are the ones that were compared before.
    pub(super) async fn follow(&mut self, mut of: Vec<Listener>, tables: &Tables) -> Result<()> {
        of.sort_unstable();
        if of == self.of {
            return Ok(());
        }
        let heard = of
            .iter()
            .map(|it| Some((it.hears, tables.routes(it.hears)?)));
        let heard: BTreeMap<Digest, Arc<[Route]>> = heard.flatten().collect();
        let comparing = tokio::task::spawn_blocking(move || Self {
            gaps: gaps(&of, &heard).into(),
            of,
        });
        *self = comparing.await.context("comparing what appliances hear")?;
        Ok(())
    }

    /// How many appliances have a gap, for metrics.
    pub(super) fn counts(&self) -> [(&'static str, usize); 2] {
        let count = |is: fn(&Gap) -> bool| self.gaps.iter().filter(|gap| is(gap)).count();
        [
            ("prefixes", count(|gap| gap.lacks > 0)),
            ("ipv6", count(|gap| gap.lacks_ipv6)),
        ]
    }
}

/// `listeners` are sorted.
fn gaps(listeners: &[Listener], heard: &BTreeMap<Digest, Arc<[Route]>>) -> Vec<Gap> {
    let clusters = listeners.chunk_by(|one, next| one.cluster == next.cluster);
    clusters
        .flat_map(|cluster| gaps_within(cluster, heard))
        .collect()
}

fn gaps_within(cluster: &[Listener], heard: &BTreeMap<Digest, Arc<[Route]>>) -> Vec<Gap> {
    let digests: BTreeSet<Digest> = cluster.iter().map(|it| it.hears).collect();
    let table = |digest: &Digest| heard.get(digest).map_or(&[][..], |routes| &routes[..]);
    let prefixes = |digest: &Digest| table(digest).iter().map(|route| route.prefix);
    let is_ipv6 = |prefix: Prefix| prefix.family() == Family::Ipv6;
    // Where all hear the same, as is usual, nothing is missing.
    let all: BTreeSet<Prefix> = if digests.len() > 1 {
        digests.iter().flat_map(prefixes).collect()
    } else {
        BTreeSet::new()
    };
    let has_ipv6 = all.iter().copied().any(is_ipv6);
    let mut of_digest = BTreeMap::new();
    for digest in &digests {
        let own: HashSet<Prefix> = prefixes(digest).collect();
        let lacks = all.iter().filter(|prefix| !own.contains(prefix));
        let lacks: Vec<Prefix> = lacks.copied().collect();
        let is_ipv4_alone = !own.is_empty() && !own.iter().copied().any(is_ipv6);
        of_digest.insert(*digest, (lacks, is_ipv4_alone));
    }
    let gap = |it: &Listener| {
        let (lacks, is_ipv4_alone) = &of_digest[&it.hears];
        let listed = lacks.iter().take(GAPS_LISTED).map(Prefix::to_string);
        let gap = Gap {
            cluster: it.cluster.clone(),
            appliance: it.id.clone(),
            hears: table(&it.hears).len(),
            lacks: lacks.len(),
            prefixes: listed.collect(),
            lacks_ipv6: *is_ipv4_alone && (has_ipv6 || it.expects_ipv6),
        };
        (gap.lacks > 0 || gap.lacks_ipv6).then_some(gap)
    };
    cluster.iter().filter_map(gap).collect()
}

#[cfg(test)]
mod tests {
    use protocol::root::Root;

    use super::*;

    /// In a word for each gap: who lacks how many, and `+6` if all of IPv6.
    fn found(listeners: &[(&str, &str, &[&str])], expects_ipv6: bool) -> Vec<String> {
        let mut heard = BTreeMap::new();
        let listener = |(cluster, id, prefixes): &(&str, &str, &[&str])| {
            let route = |prefix: &&str| Route {
                prefix: prefix.parse().unwrap(),
                hops: 1,
                med: 0,
            };
            let hears = Root(*blake3::hash(prefixes.concat().as_bytes()).as_bytes());
            heard.insert(hears, prefixes.iter().map(route).collect());
            Listener {
                cluster: (*cluster).to_owned(),
                id: (*id).to_owned(),
                hears,
                expects_ipv6,
            }
        };
        let listeners: Vec<Listener> = listeners.iter().map(listener).collect();
        let word = |gap: &Gap| {
            let ipv6 = if gap.lacks_ipv6 { "+6" } else { "" };
            format!("{} {}{ipv6}", gap.appliance, gap.lacks)
        };
        gaps(&listeners, &heard).iter().map(word).collect()
    }

    #[test]
    fn those_of_one_cluster_are_compared() {
        let (a, b, six) = ("10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32");
        let none: [&str; 0] = [];
        assert_eq!(
            found(&[("x", "1", &[a, six]), ("x", "2", &[a, six])], true),
            none
        );
        assert_eq!(found(&[("x", "1", &[a]), ("y", "2", &[b])], false), none);
        assert_eq!(
            found(
                &[("x", "1", &[a]), ("x", "2", &[a, b]), ("x", "3", &[b])],
                false
            ),
            ["1 1", "3 1"]
        );
        // Its session is there, and tells nothing.
        assert_eq!(
            found(&[("x", "1", &[]), ("x", "2", &[a, six])], true),
            ["1 2"]
        );
    }

    #[test]
    fn ipv6_is_missed_where_it_is_elsewhere_or_registered() {
        let (a, six) = ("10.0.0.0/8", "2001:db8::/32");
        assert_eq!(
            found(&[("x", "1", &[a]), ("x", "2", &[a, six])], false),
            ["1 1+6"]
        );
        assert_eq!(
            found(&[("x", "1", &[a]), ("x", "2", &[a])], true),
            ["1 0+6", "2 0+6"]
        );
        assert!(found(&[("x", "1", &[a])], false).is_empty());
        assert!(found(&[("x", "1", &[six])], true).is_empty());
    }
}
