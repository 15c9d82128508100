//! The routes that appliances hear, by digest, and the table that is made of those that are used.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use protocol::root::Root;
use protocol::steer::{ROUTES_VERSION, RouteTable};
use steering::bgp::Prefix;
use steering::decide::registry::{OperatorId, Registry, Unused};
use steering::decide::routes::{FeedId, Route, Routes};

use crate::limits::{ROUTES_MAX, ROUTES_MAX_BYTES, UNUSED_LISTED};

/// BLAKE3 of the lines of a table.
pub(super) type Digest = Root;

/// What appliances of an operator hear; `None`: what is registered for him.
pub(super) type Key = (OperatorId, Option<Digest>);

/// The tables that are known.
#[derive(Default)]
pub(super) struct Tables(Mutex<HashMap<Digest, Arc<[Route]>>>);

/// Why a table is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadTable {
    #[error("a table of routes of version {0}; this program reads version {ROUTES_VERSION}")]
    Version(u32),
    #[error("{0} routes; at most {ROUTES_MAX} are taken")]
    TooMany(usize),
    #[error("\"{0:.60}\" is no prefix")]
    Prefix(String),
}

impl Tables {
    pub(super) fn has(&self, digest: Digest) -> bool {
        self.all().contains_key(&digest)
    }

    /// Takes a table; gives its digest and its lines, packed.
    pub(super) fn take(&self, table: &RouteTable) -> Result<(Digest, Vec<u8>), BadTable> {
        if table.version != ROUTES_VERSION {
            return Err(BadTable::Version(table.version));
        }
        if table.routes.len() > ROUTES_MAX {
            return Err(BadTable::TooMany(table.routes.len()));
        }
        let route = |(text, hops, med): &(String, u16, u32)| {
            let prefix = text.parse().map_err(|_| BadTable::Prefix(text.clone()))?;
            let (hops, med) = (*hops, *med);
            Ok(Route { prefix, hops, med })
        };
        let routes: Vec<Route> = table.routes.iter().map(route).collect::<Result<_, _>>()?;
        let lines = table.lines();
        let digest = Root(*blake3::hash(lines.as_bytes()).as_bytes());
        let packed = zstd::bulk::compress(lines.as_bytes(), 0).expect("memory takes every byte");
        self.all().insert(digest, routes.into());
        Ok((digest, packed))
    }

    /// One that was taken before the start. What cannot be read is asked for again.
    pub(super) fn restore(&self, digest: Digest, packed: &[u8]) {
        if let Some(routes) = unpacked(packed) {
            self.all().insert(digest, routes.into());
        }
    }

    pub(super) fn keep_only(&self, used: &[Digest]) {
        self.all().retain(|digest, _| used.contains(digest));
    }

    pub(super) fn routes(&self, digest: Digest) -> Option<Arc<[Route]>> {
        self.all().get(&digest).cloned()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Digest, Arc<[Route]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unpacked(packed: &[u8]) -> Option<Vec<Route>> {
    let mut lines = String::new();
    let decoder = zstd::Decoder::with_buffer(packed).ok()?;
    decoder
        .take(ROUTES_MAX_BYTES as u64)
        .read_to_string(&mut lines)
        .ok()?;
    let route = |line: &str| {
        let mut words = line.split(' ');
        Some(Route {
            prefix: words.next()?.parse().ok()?,
            hops: words.next()?.parse().ok()?,
            med: words.next()?.parse().ok()?,
        })
    };
    lines.lines().map(route).collect()
}

/// The table of all feeds, and what of them is not used.
#[derive(Clone, Default)]
pub(super) struct Feeds {
    keys: Vec<Key>,
    pub(super) routes: Arc<Routes>,
    unused: Arc<[UnusedRoute]>,
    used: u64,
    counts: [u64; Unused::ALL.len()],
}

/// A route that is told and not used.
#[derive(Debug, Clone)]
pub(super) struct UnusedRoute {
    pub(super) operator: OperatorId,
    pub(super) prefix: Prefix,
    pub(super) why: Unused,
}

impl Feeds {
    pub(super) fn are_others(&self, keys: impl Iterator<Item = Key>) -> bool {
        sorted(keys.collect()) != self.keys
    }

    pub(super) async fn of(
        keys: Vec<Key>,
        tables: &Tables,
        registry: Arc<Registry>,
    ) -> Result<Self> {
        let keys = sorted(keys);
        let of_digest = |key: &Key| key.1.and_then(|digest| tables.routes(digest));
        let heard: Vec<Option<Arc<[Route]>>> = keys.iter().map(of_digest).collect();
        let making = tokio::task::spawn_blocking(move || Self::made(keys, &heard, &registry));
        making.await.context("making the table of routes")
    }

    fn made(keys: Vec<Key>, heard: &[Option<Arc<[Route]>>], registry: &Registry) -> Self {
        let mut unused = Vec::new();
        let mut made = Self::default();
        let mut feeds: Vec<(FeedId, Vec<Route>)> = Vec::new();
        for (number, ((operator, _), heard)) in (0..).zip(keys.iter().zip(heard)) {
            let routes: Vec<Route> = match heard {
                None => registry.routes(*operator).collect(),
                Some(heard) => heard.to_vec(),
            };
            let mut is_used = |route: &Route| match registry.check(*operator, route.prefix) {
                Ok(()) => true,
                Err(why) => {
                    made.counts[why as usize] += 1;
                    unused.push(UnusedRoute {
                        operator: *operator,
                        prefix: route.prefix,
                        why,
                    });
                    false
                }
            };
            let routes: Vec<Route> = routes.into_iter().filter(|route| is_used(route)).collect();
            unused.truncate(UNUSED_LISTED);
            made.used += routes.len() as u64;
            feeds.push((FeedId(number), routes));
        }
        made.routes = Arc::new(Routes::of(feeds));
        made.unused = unused.into();
        made.keys = keys;
        made
    }

    pub(super) fn number(&self, key: Key) -> Option<FeedId> {
        let at = self
            .keys
            .binary_search_by(|one| order(one).cmp(&order(&key)))
            .ok()?;
        u16::try_from(at).ok().map(FeedId)
    }

    pub(super) fn unused(&self) -> Arc<[UnusedRoute]> {
        Arc::clone(&self.unused)
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let unused = Unused::ALL.into_iter().zip(self.counts);
        let unused = unused.map(|(why, count)| (why.as_str(), count));
        std::iter::once(("used", self.used)).chain(unused).collect()
    }
}

fn order(key: &Key) -> (u16, Option<Digest>) {
    (key.0.0, key.1)
}

fn sorted(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort_unstable_by_key(order);
    keys.dedup();
    keys
}
