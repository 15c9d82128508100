//! Where viewers are sent: what [`steering::decide`] needs, kept up to date, and its decisions as answers.
//!
//! ```text
//! report ─► reported ─┐
//! routes ─► Tables ───┼─► refresh, every second ─► Scene ─┐
//! appliance add, rm ──┘                                   ├─► answer
//! path ─► Holders (10 s) ─────────────────────────────────┘
//! ```
//!
//! A decision takes no lock that is held for long and asks the database only for paths that nobody has asked for in 10 s.

mod answer;
mod compare;
mod holders;
mod tables;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use protocol::control::Report;
use protocol::status;
use protocol::steer::{Neighbour, RouteTable, RoutesHeard};
use steering::bgp::{Family, Prefix};
use steering::decide::fleet::{Fleet, MemberId, Said, Setup, Standing, TooFew, View};
use steering::decide::origin::OriginBudget;
use steering::decide::place::Place;
use steering::decide::prefix_map::PrefixMap;
use steering::decide::registry::{OperatorId, Registry};
use steering::hint::Hint;
use steering::{State, UnixTime};

use crate::config::{Config, SiteTerms, viewers};
use crate::database::Database;
use crate::database::appliances::Appliance;
use crate::limits::NEIGHBOURS_MAX;
use compare::{Comparison, Listener};
use holders::Holders;
use tables::{Digest, Feeds, Key, Tables};

pub(crate) use answer::Viewer;
pub(crate) use compare::Gap;
pub(crate) use holders::Found;
pub(crate) use tables::BadTable;

/// What serve knows for steering.
pub(crate) struct Steering {
    terms: viewers::Terms,
    sites: Vec<SiteTerms>,
    /// By site.
    operators: HashMap<String, OperatorId>,
    /// Of operators.
    names: Vec<String>,
    registry: Arc<Registry>,
    places: PrefixMap<Place>,
    fleet: Mutex<Fleet>,
    scene: RwLock<Arc<Scene>>,
    tables: Tables,
    /// Held while the scene is made anew.
    feeds: tokio::sync::Mutex<(Feeds, Comparison)>,
    holders: Holders,
    origin: Option<Mutex<OriginBudget>>,
    /// What appliances report beside how they are.
    reported: Mutex<HashMap<String, Reported>>,
}

/// What decisions are made of.
#[derive(Default)]
pub(crate) struct Scene {
    view: View,
    feeds: Feeds,
    compared: Comparison,
    /// Base URLs by member.
    serves_at: Vec<Vec<String>>,
}

#[derive(Default, Clone)]
struct Reported {
    serves_at: Vec<String>,
    /// The routes that it hears, as it says.
    routes: Option<RoutesHeard>,
    /// The last of them whose table is known here.
    known: Option<Digest>,
}

impl Scene {
    fn find(&self, appliance: &str) -> Option<MemberId> {
        let mut all = self.view.members();
        all.find(|member| self.view.id(*member) == appliance)
    }
}

impl Reported {
    fn told(&self) -> Option<Digest> {
        self.routes?.digest
    }
}

/// A route that is told and not used.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Unused {
    operator: String,
    prefix: String,
    why: &'static str,
}

/// What is shown of steering in metrics.
pub(crate) struct Shown {
    pub(crate) standing: Vec<(&'static str, usize)>,
    pub(crate) panics: bool,
    pub(crate) routes: Vec<(&'static str, u64)>,
    /// Appliances that lack something others of their cluster hear.
    pub(crate) gaps: [(&'static str, usize); 2],
    pub(crate) origin_viewers: usize,
}

impl Steering {
    /// As it was when the process before this one ended: the last reports, drains and routes.
    ///
    /// # Errors
    /// Of the database.
    pub(crate) async fn load(config: &Config, database: &Database) -> Result<Self> {
        let steering = Self::new(config);
        let reports = database.reports().await?;
        let leaving = database.leaving().await?;
        for appliance in database.appliances().await? {
            let mut fleet = steering.fleet();
            let Some(member) = fleet.enlist(setup(&appliance.id, &appliance.site)) else {
                continue;
            };
            if let Some(until) = leaving.get(&appliance.id) {
                fleet.restore_lease(member, UnixTime::from_seconds(*until));
            }
            if let Some(kept) = reports.get(&appliance.id) {
                let received = UnixTime::from_seconds(kept.received);
                fleet.remember(member, received, said(&kept.report));
                drop(fleet);
                steering.note(&kept.report);
            }
        }
        let digests: Vec<Digest> = steering
            .reported()
            .values()
            .filter_map(Reported::told)
            .collect();
        for digest in digests {
            if let Some(lines) = database.route_table(digest).await? {
                steering.tables.restore(digest, &lines);
            }
        }
        steering.refresh(database).await?;
        Ok(steering)
    }

    fn new(config: &Config) -> Self {
        let mut operators = HashMap::new();
        for (number, operator) in (0..).map(OperatorId).zip(&config.operators) {
            operators.extend(operator.sites.iter().map(|site| (site.clone(), number)));
        }
        let prefixes = |operator: &viewers::Operator| -> Vec<Prefix> {
            operator.prefixes.iter().map(|prefix| prefix.0).collect()
        };
        let mut places = PrefixMap::default();
        for there in &config.places {
            for prefix in &there.prefixes {
                *places.entry(prefix.0, || there.location.0) = there.location.0;
            }
        }
        let terms = config.steering.clone();
        let origin = terms.origin.as_ref().map(|_| {
            let (capacity, rate) = (terms.origin_capacity, terms.viewer_rate);
            Mutex::new(OriginBudget::new(
                capacity.bits_per_second(),
                rate.bits_per_second(),
                terms.ttl_longest(),
            ))
        });
        Self {
            sites: config.sites.clone(),
            operators,
            names: config
                .operators
                .iter()
                .map(|operator| operator.name.clone())
                .collect(),
            registry: Arc::new(Registry::of(
                config.operators.iter().map(prefixes).collect(),
            )),
            places,
            fleet: Mutex::new(Fleet::new(now())),
            scene: RwLock::default(),
            tables: Tables::default(),
            feeds: tokio::sync::Mutex::default(),
            holders: Holders::default(),
            origin,
            reported: Mutex::default(),
            terms,
        }
    }

    /// Takes a report. Returns whether the table of its routes is wanted.
    pub(crate) fn take(&self, report: &Report) -> bool {
        {
            let mut fleet = self.fleet();
            // One that was registered in this second is in the fleet with the next look.
            if let Some(member) = fleet.find(&report.appliance) {
                fleet.report(now(), member, said(report));
            }
        }
        self.note(report);
        let digest = report.routes.and_then(|routes| routes.digest);
        digest.is_some_and(|digest| !self.tables.has(digest))
    }

    fn note(&self, report: &Report) {
        let mut reported = self.reported();
        let entry = reported.entry(report.appliance.clone()).or_default();
        entry.serves_at.clone_from(&report.serves_at);
        entry.routes = report.routes;
    }

    /// Takes a table of routes that was wanted, and keeps it.
    ///
    /// # Errors
    /// It is none, or the database.
    pub(crate) async fn take_table(
        &self,
        table: RouteTable,
        database: &Database,
    ) -> Result<Result<(), BadTable>> {
        let (digest, packed) = match self.tables.take(&table) {
            Ok(taken) => taken,
            Err(bad) => return Ok(Err(bad)),
        };
        let reported = self.reported().clone();
        let used = reported
            .values()
            .flat_map(|it| [it.told(), it.known])
            .flatten();
        let used: Vec<Digest> = used.collect();
        database.put_route_table(digest, &packed, &used).await?;
        self.tables.keep_only(&[&used[..], &[digest]].concat());
        Ok(Ok(()))
    }

    /// Looks at all appliances, and makes the scene of it.
    ///
    /// # Errors
    /// Of the database.
    pub(crate) async fn refresh(&self, database: &Database) -> Result<()> {
        let (feeds, compared) = &mut *self.feeds.lock().await;
        let registered = database.appliances().await?;
        let mut wanted = Vec::new();
        {
            let mut reported = self.reported();
            for appliance in &registered {
                let entry = reported.entry(appliance.id.clone()).or_default();
                // Until the new table has come, the old one counts.
                match entry.told() {
                    Some(told) if self.tables.has(told) => entry.known = Some(told),
                    None if entry.routes.is_none() => entry.known = None,
                    _ => {}
                }
                // One that listens to routers and has not told of them yet serves nobody: what is registered is for those
                // that listen to none.
                let is_heard = entry.routes.is_none() || entry.known.is_some();
                let operator = self.operators.get(&appliance.site).copied();
                let operator = operator.filter(|_| is_heard);
                wanted.push(operator.map(|operator| (operator, entry.known)));
            }
        }
        let keys = wanted.iter().copied().flatten();
        if feeds.are_others(keys.clone()) {
            *feeds = Feeds::of(keys.collect(), &self.tables, Arc::clone(&self.registry)).await?;
        }
        let view = self.look(&registered, &wanted, feeds);
        let listeners = self.listeners(&registered, &view);
        compared.follow(listeners, &self.tables).await?;
        let reported = self.reported();
        let serves_at = |member: MemberId| {
            let entry = reported.get(view.id(member));
            entry.map_or_else(Vec::new, |entry| entry.serves_at.clone())
        };
        let scene = Scene {
            serves_at: view.members().map(serves_at).collect(),
            feeds: feeds.clone(),
            compared: compared.clone(),
            view,
        };
        drop(reported);
        *self.scene.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(scene);
        Ok(())
    }

    /// Takes what the database and the reports say into the fleet, and looks at it.
    fn look(&self, registered: &[Appliance], wanted: &[Option<Key>], feeds: &Feeds) -> View {
        let mut fleet = self.fleet();
        for (appliance, key) in registered.iter().zip(wanted) {
            fleet.enlist(Setup {
                feed: key.and_then(|key| feeds.number(key)),
                place: self
                    .site(&appliance.site)
                    .and_then(|site| Some(site.location?.0)),
                ..setup(&appliance.id, &appliance.site)
            });
        }
        let names: HashSet<&str> = registered.iter().map(|it| it.id.as_str()).collect();
        fleet.keep_only(|id| names.contains(id));
        fleet.look(now())
    }

    /// Those whose routes are compared within their cluster; one that is silent may hear something else by now.
    fn listeners(&self, registered: &[Appliance], view: &View) -> Vec<Listener> {
        let reported = self.reported();
        let listener = |appliance: &Appliance| {
            let mut members = view.members();
            let member = members.find(|member| view.id(*member) == appliance.id)?;
            let expects_ipv6 = self.operators.get(&appliance.site).is_some_and(|operator| {
                let mut registered = self.registry.routes(*operator);
                registered.any(|route| route.prefix.family() == Family::Ipv6)
            });
            let is_silent = view.standing(member) == Standing::Silent;
            Some(Listener {
                cluster: appliance.cluster.clone(),
                id: appliance.id.clone(),
                hears: reported.get(&appliance.id)?.known.filter(|_| !is_silent)?,
                expects_ipv6,
            })
        };
        registered.iter().filter_map(listener).collect()
    }

    /// Lets an appliance leave, or says that too few would be left and how few are allowed.
    ///
    /// # Errors
    /// Of the database.
    pub(crate) async fn let_leave(
        &self,
        database: &Database,
        appliance: &str,
        force: bool,
    ) -> Result<Result<(), (TooFew, u16)>> {
        let scene = self.scene();
        let member = scene.find(appliance).with_context(|| {
            format!("{appliance} was registered a moment ago; try again in a second")
        })?;
        let site = scene.view.site(member);
        let least = self.site(site).map_or(0, |site| site.min_serving);
        let granted = self
            .fleet()
            .let_leave(now(), member, usize::from(least), force);
        match granted {
            Err(too_few) => Ok(Err((too_few, least))),
            Ok(until) => {
                database.let_leave(appliance, until.seconds() + 1).await?;
                self.refresh(database).await?;
                Ok(Ok(()))
            }
        }
    }

    /// An appliance is back: what it was granted holds no longer.
    ///
    /// # Errors
    /// Of the database.
    pub(crate) async fn come_back(&self, database: &Database, appliance: &str) -> Result<()> {
        {
            let mut fleet = self.fleet();
            if let Some(member) = fleet.find(appliance) {
                fleet.come_back(member);
            }
        }
        database.let_leave(appliance, 0).await?;
        self.refresh(database).await
    }

    /// Site-mates that an appliance is to try: a few of them, others for each.
    pub(crate) fn neighbours(&self, appliance: &str) -> Vec<Neighbour> {
        let scene = self.scene();
        let Some(member) = scene.find(appliance) else {
            return Vec::new();
        };
        let is_mate = |other: &MemberId| {
            scene.view.site(*other) == scene.view.site(member)
                && *other != member
                && scene.view.standing(*other) != Standing::Leaving
        };
        // From itself on, round: each is tried by as many as it tries.
        let (before, behind): (Vec<_>, Vec<_>) = scene
            .view
            .members()
            .filter(is_mate)
            .partition(|other| *other < member);
        let mates = behind.into_iter().chain(before).map(|mate| Neighbour {
            id: scene.view.id(mate).to_owned(),
            serves_at: scene.serves_at[usize::from(mate.0)].clone(),
        });
        mates
            .filter(|mate| !mate.serves_at.is_empty())
            .take(NEIGHBOURS_MAX)
            .collect()
    }

    /// Routes that are told and not used; the first ones.
    pub(crate) fn unused(&self) -> Vec<Unused> {
        let unused = self.scene().feeds.unused();
        let told = unused.iter().map(|route| Unused {
            operator: self.names[usize::from(route.operator.0)].clone(),
            prefix: route.prefix.to_string(),
            why: route.why.as_str(),
        });
        told.collect()
    }

    /// Appliances that do not hear what others of their cluster do.
    pub(crate) fn gaps(&self) -> Arc<[Gap]> {
        Arc::clone(&self.scene().compared.gaps)
    }

    /// Whether what a proxy at `host` says of its client is believed.
    pub(crate) fn trusts(&self, host: Prefix) -> bool {
        self.terms
            .trusted_proxies
            .iter()
            .any(|proxy| proxy.0.covers(host))
    }

    /// The longest that an answer may be used.
    pub(crate) fn ttl_longest(&self) -> Duration {
        self.terms.ttl_longest()
    }

    /// For metrics.
    pub(crate) fn shown(&self) -> Shown {
        let scene = self.scene();
        let count = |standing: Standing| (standing.as_str(), scene.view.count(standing));
        let origin = self.origin.as_ref().map(|origin| {
            let mut origin = origin.lock().unwrap_or_else(PoisonError::into_inner);
            origin.viewers(now())
        });
        Shown {
            standing: Standing::ALL.into_iter().map(count).collect(),
            panics: scene.view.panics(),
            routes: scene.feeds.counts(),
            gaps: scene.compared.counts(),
            origin_viewers: origin.unwrap_or(0),
        }
    }

    fn scene(&self) -> Arc<Scene> {
        Arc::clone(&self.scene.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reported(&self) -> MutexGuard<'_, HashMap<String, Reported>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn site(&self, name: &str) -> Option<&SiteTerms> {
        self.sites.iter().find(|site| site.name == name)
    }
}

fn setup(id: &str, site: &str) -> Setup {
    Setup {
        id: id.to_owned(),
        site: site.to_owned(),
        feed: None,
        place: None,
    }
}

/// What a report says that steering asks for.
fn said(report: &Report) -> Said {
    let state = match report.state {
        status::State::Ok => State::Ok,
        status::State::Degraded => State::Degraded,
        status::State::Draining => State::Draining,
        status::State::Drained => State::Drained,
        status::State::DrainedForced => State::DrainedForced,
        status::State::Down => State::Down,
    };
    let hint = serde_json::from_value::<Hint>(report.steering.clone()).ok();
    let facts = hint.as_ref().map(|hint| &hint.facts);
    let reached = report.reached.iter().take(NEIGHBOURS_MAX);
    Said {
        state,
        accepting: facts.map_or(state.takes_viewers(), |facts| facts.accepting),
        capacity: facts
            .and_then(|facts| facts.capacity)
            .map(|capacity| (capacity.maximum_hard, capacity.current)),
        reaches: reached.map(|it| (it.id.clone(), it.answers)).collect(),
    }
}

fn now() -> UnixTime {
    SystemTime::now().into()
}
