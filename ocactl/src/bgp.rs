//! `ocactl bgp`: sessions with routers, what was learned from them, and what they are told.

use std::net::IpAddr;

use comfy_table::Cell;
use protocol::bgp::{Bgp, Feed, Neighbor, Route, Service};
use protocol::config::{Config, NeighborRole};
use serde::Serialize;

use crate::arguments::BgpCommand;
use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, number, seconds};

/// Runs the command.
pub(crate) fn run(
    config: &Config,
    format: Format,
    command: BgpCommand,
) -> Result<Outcome, Failure> {
    let daemon = Daemon::at(config.daemon_socket());
    let status = daemon.status()?.bgp.ok_or_else(|| {
        Failure::failed("the daemon was started without a [[bgp.neighbor]] in its configuration")
    })?;
    match command {
        BgpCommand::Neighbors => output::print(format, &Neighbors(status))?,
        BgpCommand::Advertised => output::print(format, &Told::of(&status))?,
        BgpCommand::Routes { neighbor } => {
            let routes = Routes::of(config, &daemon, &status, neighbor)?;
            output::print(format, &routes)?;
        }
    }
    Ok(Outcome::Done)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Neighbors(Bgp);

impl Report for Neighbors {
    fn text(&self) -> String {
        let mut table = output::table([
            "NEIGHBOR", "AS", "ROLE", "STATE", "FOR", "HOLD", "FAMILIES", "ROUTES", "STALE",
            "TOLD", "LAST END",
        ]);
        for it in &self.0.neighbors {
            let agreed = it.agreed.as_ref();
            let learned = it.learned.as_ref();
            let learned = |of: fn(&protocol::bgp::Learned) -> u64| {
                learned.map_or_else(|| "-".to_owned(), |it| of(it).to_string())
            };
            table.add_row(vec![
                Cell::new(it.address),
                number(it.remote_as),
                Cell::new(it.role.as_str()),
                Cell::new(&it.state),
                Cell::new(it.established.map_or_else(|| "-".to_owned(), seconds)),
                Cell::new(agreed.map_or_else(|| "-".to_owned(), |it| seconds(it.hold_time))),
                Cell::new(agreed.map_or_else(|| "-".to_owned(), |it| it.families.join(","))),
                number(learned(|it| it.ipv4 + it.ipv6)),
                number(learned(|it| it.stale)),
                number(it.advertised.len()),
                Cell::new(ending(it)),
            ]);
        }
        format!("{}\n\n{}", output::rendered(&table), origin(self.0.feed))
    }
}

fn origin(feed: Feed) -> String {
    format!("Prefixes to serve: {}.", feed.as_str())
}

fn ending(neighbor: &Neighbor) -> String {
    match neighbor.ended {
        Some(ago) => format!("{} ago: {}", seconds(ago), neighbor.ending),
        None => "-".to_owned(),
    }
}

/// Each service address, and each neighbour that is told of it.
#[derive(Serialize)]
struct Told {
    services: Vec<Service>,
    advertised: Vec<Advertised>,
}

#[derive(Serialize)]
struct Advertised {
    neighbor: IpAddr,
    #[serde(flatten)]
    route: protocol::bgp::Advertised,
}

impl Told {
    fn of(status: &Bgp) -> Self {
        let advertised = status.neighbors.iter().flat_map(|neighbor| {
            neighbor.advertised.iter().map(|route| Advertised {
                neighbor: neighbor.address,
                route: route.clone(),
            })
        });
        Self {
            services: status.services.clone(),
            advertised: advertised.collect(),
        }
    }
}

impl Report for Told {
    fn text(&self) -> String {
        let mut services = output::table(["SERVICE", "STATE", "WHY"]);
        for it in &self.services {
            services.add_row(vec![
                Cell::new(it.address),
                Cell::new(&it.phase),
                Cell::new(if it.why.is_empty() { "-" } else { &it.why }),
            ]);
        }
        let mut advertised = output::table(["PREFIX", "NEIGHBOR", "MED", "COMMUNITIES"]);
        for it in &self.advertised {
            advertised.add_row(vec![
                Cell::new(&it.route.prefix),
                Cell::new(it.neighbor),
                number(it.route.med),
                Cell::new(it.route.communities.join(" ")),
            ]);
        }
        let (services, advertised) = (output::rendered(&services), output::rendered(&advertised));
        format!("{services}\n\n{advertised}")
    }
}

#[derive(Serialize)]
struct Routes {
    feed: Feed,
    routes: Vec<Row>,
    /// Only if nothing was learned.
    static_prefixes: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    neighbor: IpAddr,
    #[serde(flatten)]
    route: Route,
}

impl Routes {
    fn of(
        config: &Config,
        daemon: &Daemon,
        status: &Bgp,
        only: Option<IpAddr>,
    ) -> Result<Self, Failure> {
        let neighbors = status.neighbors.iter();
        let listened = neighbors.filter(|it| it.role == NeighborRole::Listen);
        let all: Vec<IpAddr> = listened.map(|it| it.address).collect();
        let mut routes = Vec::new();
        for neighbor in only.map_or(all, |only| vec![only]) {
            let learned = learned(daemon, neighbor)?.into_iter();
            routes.extend(learned.map(|route| Row { neighbor, route }));
        }
        let prefixes = config.bgp.static_prefixes.iter();
        let prefixes = prefixes.filter(|_| status.feed == Feed::Static);
        Ok(Self {
            feed: status.feed,
            routes,
            static_prefixes: prefixes.map(ToString::to_string).collect(),
        })
    }
}

/// All pages. Each answer is bounded; so is what a neighbour may tell.
fn learned(daemon: &Daemon, neighbor: IpAddr) -> Result<Vec<Route>, Failure> {
    let mut routes: Vec<Route> = Vec::new();
    loop {
        let after = routes.last().map(|route| route.prefix.clone());
        let page = daemon.bgp_routes(neighbor, after)?;
        routes.extend(page.routes);
        if !page.more {
            return Ok(routes);
        }
    }
}

impl Report for Routes {
    fn text(&self) -> String {
        let mut table = output::table([
            "PREFIX",
            "NEIGHBOR",
            "NEXT HOP",
            "MED",
            "AS PATH",
            "COMMUNITIES",
            "AGE",
            "",
        ]);
        let dash = || "-".to_owned();
        for Row { neighbor, route } in &self.routes {
            table.add_row(vec![
                Cell::new(&route.prefix),
                Cell::new(neighbor),
                Cell::new(route.next_hop.map_or_else(dash, |it| it.to_string())),
                number(route.med.map_or_else(dash, |it| it.to_string())),
                Cell::new(&route.as_path),
                Cell::new(route.communities.join(" ")),
                Cell::new(seconds(route.age)),
                Cell::new(if route.stale { "stale" } else { "" }),
            ]);
        }
        for prefix in &self.static_prefixes {
            table.add_row(vec![Cell::new(prefix), Cell::new("static")]);
        }
        format!("{}\n\n{}", output::rendered(&table), origin(self.feed))
    }
}
