//! From the database to what the builder takes.

use std::collections::HashMap;

use anyhow::Result;
use futures_util::TryStreamExt;
use protocol::config::TierRole;
use protocol::limits::COPIES_MAX;
use protocol::manifest::{SiteRate, Source};
use protocol::root::Root;
use protocol::status::State;

use super::Terms;
use crate::builder::{
    Cluster, Copies, Entry, Library, Member, Object, Room, Site, site_offset_s, usable_urls,
};
use crate::database::appliances::Appliance;
use crate::database::reports::Kept;
use crate::database::{Database, root, uint};
use crate::limits::{ALIVE_S, ROOM_PERCENT};
use crate::popularity;

/// All that manifests are made of.
pub(super) struct World {
    pub(super) library: Library,
    pub(super) clusters: Vec<Cluster>,
}

/// What paths are expected to bring, per object of the library.
type Expected = Vec<f64>;

pub(super) async fn world(database: &Database, terms: &Terms, now: u64) -> Result<World> {
    let (library, expected) = library(database, now).await?;
    let places: HashMap<Root, usize> = library
        .objects
        .iter()
        .enumerate()
        .map(|(index, object)| (object.root, index))
        .collect();
    let appliances = database.appliances().await?;
    let reports = database.reports().await?;
    let known = Known {
        appliances: &appliances,
        reports: &reports,
        terms,
        now,
    };
    known.warn_of_empty_sites();
    let mut names: Vec<&str> = appliances
        .iter()
        .map(|appliance| appliance.cluster.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut clusters = Vec::new();
    for name in names {
        let mut members = Vec::new();
        for appliance in appliances
            .iter()
            .filter(|appliance| appliance.cluster == name)
        {
            let held = held(database, &appliance.id, &places).await?;
            members.push(known.member(appliance, held));
        }
        let demand = demand(database, name, &places, expected.clone(), now).await?;
        clusters.push(Cluster { demand, members });
    }
    Ok(World { library, clusters })
}

/// The library while its rows come in.
#[derive(Default)]
struct Loading {
    library: Library,
    expected: Expected,
    /// From numbers of rows to indices.
    indices: HashMap<i64, usize>,
}

/// Path, `Content-Type`, `Cache-Control`, modified; demand, published, urgent until; object, root, size.
type Row = (
    String,
    String,
    String,
    i64,
    i64,
    i64,
    i64,
    i64,
    Vec<u8>,
    i64,
);

async fn library(database: &Database, now: u64) -> Result<(Library, Expected)> {
    let mut rows = sqlx::query_as::<_, Row>(
        "SELECT path, content_type, cache_control, modified, demand, published, urgent_until, object.id, root, size
         FROM path JOIN object ON object.id = path.object ORDER BY path",
    )
    .fetch(&database.pool);
    let mut loading = Loading::default();
    while let Some(row) = rows.try_next().await? {
        loading.take(row, now)?;
    }
    drop(rows);
    let Loading {
        mut library,
        expected,
        ..
    } = loading;
    library.tombstones = database.tombstones().await?;
    // One that was taken down after the paths were read is not wanted as well; the next build follows at once.
    let entry = |entry: &Entry| (entry.path.clone(), library.objects[entry.object].root);
    let paths: HashMap<Box<str>, Root> = if library.tombstones.is_empty() {
        HashMap::new()
    } else {
        library.entries.iter().map(entry).collect()
    };
    library
        .tombstones
        .retain(|tombstone| paths.get(&tombstone.path) != Some(&tombstone.root));
    Ok((library, expected))
}

impl Loading {
    fn take(&mut self, row: Row, now: u64) -> Result<()> {
        let (
            path,
            content_type,
            cache_control,
            modified,
            demand,
            published,
            urgent_until,
            id,
            bytes,
            size,
        ) = row;
        let Library {
            objects, entries, ..
        } = &mut self.library;
        let object = *self.indices.entry(id).or_insert(objects.len());
        if object == objects.len() {
            objects.push(Object {
                root: root(&bytes)?,
                size: uint(size),
                urgent: false,
            });
            self.expected.push(0.0);
        }
        let urgent = uint(urgent_until) > now;
        objects[object].urgent |= urgent;
        self.expected[object] += popularity::expected(uint(demand), uint(published), now);
        entries.push(Entry {
            path: path.into(),
            object,
            content_type: content_type.into(),
            cache_control: cache_control.into(),
            modified: uint(modified),
            urgent,
        });
        Ok(())
    }
}

async fn held(
    database: &Database,
    appliance: &str,
    places: &HashMap<Root, usize>,
) -> Result<Vec<bool>> {
    let mut held = vec![false; places.len()];
    let mut rows =
        sqlx::query_as::<_, (Vec<u8>,)>("SELECT root FROM inventory WHERE appliance = ?")
            .bind(appliance)
            .fetch(&database.pool);
    while let Some((bytes,)) = rows.try_next().await? {
        if let Some(index) = places.get(&root(&bytes)?) {
            held[*index] = true;
        }
    }
    Ok(held)
}

async fn demand(
    database: &Database,
    cluster: &str,
    places: &HashMap<Root, usize>,
    expected: Expected,
    now: u64,
) -> Result<Vec<u64>> {
    let mut demand = expected;
    let mut rows = sqlx::query_as::<_, (Vec<u8>, f64)>(
        "SELECT root, weight FROM popularity WHERE cluster = ?",
    )
    .bind(cluster)
    .fetch(&database.pool);
    while let Some((bytes, weight)) = rows.try_next().await? {
        if let Some(index) = places.get(&root(&bytes)?) {
            demand[*index] += popularity::bytes_a_day(weight, now);
        }
    }
    Ok(demand.into_iter().map(popularity::stepped).collect())
}

/// What members are made of.
struct Known<'a> {
    appliances: &'a [Appliance],
    reports: &'a HashMap<String, Kept>,
    terms: &'a Terms,
    now: u64,
}

impl Known<'_> {
    fn member(&self, appliance: &Appliance, held: Vec<bool>) -> Member {
        let own = self.reports.get(&appliance.id);
        Member {
            id: appliance.id.clone(),
            alive: own.is_some_and(|kept| is_alive(kept, self.now)),
            serves_at: self.addresses(&appliance.id).unwrap_or_default(),
            held,
            room: room(appliance, own),
            copies: copies(own, self.terms),
            site: self.site(&appliance.site),
            sources: self.sources(appliance),
        }
    }

    fn addresses(&self, id: &str) -> Option<Vec<String>> {
        let kept = self.reports.get(id)?;
        Some(usable_urls(&kept.report.serves_at))
    }

    fn sources(&self, appliance: &Appliance) -> Vec<Source> {
        let upstream = |id: &String| {
            Some(Source::Upstream {
                appliance: id.clone(),
                urls: self.addresses(id)?,
            })
        };
        let upstreams = appliance.upstreams.iter().filter_map(upstream);
        upstreams
            .chain([Source::Control])
            .chain(self.terms.origins.iter().cloned())
            .collect()
    }

    fn warn_of_empty_sites(&self) {
        let is_empty = |name: &str| !self.appliances.iter().any(|other| other.site == name);
        for site in self.terms.sites.iter().filter(|site| is_empty(&site.name)) {
            tracing::warn!(
                site = site.name,
                "[[site]]: no registered appliance is of this site"
            );
        }
    }

    /// All appliances of a site are told the same. Those that are registered share its rate, whether they report or not.
    fn site(&self, name: &str) -> Site {
        let said = self.terms.sites.iter().find(|site| site.name == name);
        let members = self.appliances.iter().filter(|other| other.site == name);
        let rate = said.and_then(|site| site.rate).map(|rate| SiteRate {
            bits_per_second: rate.bits_per_second(),
            appliances: u32::try_from(members.count()).unwrap_or(u32::MAX),
        });
        let offset = said.and_then(|site| site.offset);
        let offset_s = offset.map_or(site_offset_s(name), |offset| {
            u32::try_from(offset.duration().as_secs()).unwrap_or(u32::MAX)
        });
        Site { offset_s, rate }
    }
}

/// At most one per reported device: two on one device would be lost together.
fn copies(kept: Option<&Kept>, terms: &Terms) -> Copies {
    let (Some(kept), Some(further)) = (kept, terms.copies) else {
        return Copies::ONE;
    };
    let devices = |role: TierRole| {
        let devices = kept.report.devices.iter();
        let count = devices.filter(|device| device.role == Some(role)).count();
        let most = u8::try_from(count).unwrap_or(COPIES_MAX);
        further.count.min(most).max(1)
    };
    Copies {
        hot: devices(TierRole::Hot),
        capacity: devices(TierRole::Capacity),
        room_percent: further.room,
    }
}

/// Whether it reports, and is well.
#[must_use]
pub(crate) fn is_alive(kept: &Kept, now: u64) -> bool {
    now.saturating_sub(kept.received) < ALIVE_S
        && matches!(kept.report.state, State::Ok | State::Degraded)
}

/// What is registered; else what is reported; else unknown.
fn room(appliance: &Appliance, kept: Option<&Kept>) -> Room {
    if appliance.hot_bytes.is_some() || appliance.capacity_bytes.is_some() {
        return Room {
            hot: appliance.hot_bytes.unwrap_or(0),
            capacity: appliance.capacity_bytes.unwrap_or(0),
        };
    }
    let devices = kept.map_or(&[][..], |kept| &kept.report.devices);
    let total = |role: TierRole| -> u64 {
        let of_role = devices.iter().filter(|device| device.role == Some(role));
        let bytes: u64 = of_role
            .filter_map(|device| Some(device.space?.total))
            .fold(0, u64::saturating_add);
        bytes / 100 * ROOM_PERCENT
    };
    let (hot, capacity) = (total(TierRole::Hot), total(TierRole::Capacity));
    if hot + capacity == 0 {
        Room::UNKNOWN
    } else {
        Room { hot, capacity }
    }
}
