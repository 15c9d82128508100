//! Where viewers are sent, as they and those who ask for them see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use protocol::control::{Problem, Report};
use protocol::root::Root;
use protocol::steer::{
    DrainLease, DrainWish, ROUTES_VERSION, Reached, RouteTable, RoutesHeard, Steered,
    SteeringManifest,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use support::{Endpoint, OPERATOR, report, until};

const OPERATORS: &str = "
trusted_proxies = [\"127.0.0.0/8\"]
[[operator]]
name = \"isp\"
sites = [\"x\"]
prefixes = [\"10.0.0.0/8\", \"2001:db8::/32\"]
[[operator]]
name = \"other\"
sites = [\"y\"]
prefixes = [\"10.9.0.0/16\"]
";

const PATH: &str = "/title.m3u8";

/// Two appliances of one site that hold one playlist and report.
struct Stand {
    endpoint: Endpoint,
    tokens: [String; 2],
}

impl Stand {
    /// With further keys of `[steering]`, and further tables.
    async fn new(steering: &str, tables: &str) -> Self {
        let lines = format!("[steering]\n{steering}\n{OPERATORS}\n{tables}");
        let mut endpoint = Endpoint::with(&lines);
        endpoint.ingest("title.m3u8", b"#EXTM3U");
        let tokens = [endpoint.appliance("c1.x"), endpoint.appliance("c2.x")];
        endpoint.serve();
        let stand = Self { endpoint, tokens };
        stand.report(0, &held("c1.x", 1)).await;
        stand.report(1, &held("c2.x", 1)).await;
        stand
            .eventually("both are used", |steered| steered.choices.len() == 2)
            .await;
        stand
    }

    async fn report(&self, which: usize, report: &Report) -> protocol::control::Answer {
        self.endpoint.report(report, &self.tokens[which]).await
    }

    async fn get(&self, path: &str) -> Response {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .unwrap();
        let request = client
            .get(self.endpoint.url(path))
            .header("X-Forwarded-For", "10.1.2.3");
        request.send().await.unwrap()
    }

    async fn steer(&self, client: &str) -> Steered {
        let response = self
            .get(&format!("/v1/steer?client={client}&path={PATH}"))
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["cache-control"], "no-store");
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    async fn eventually(&self, what: &str, fits: impl Fn(&Steered) -> bool) -> Steered {
        until(what, async || {
            let steered = self.steer("10.1.2.3").await;
            fits(&steered).then_some(steered)
        })
        .await
    }

    async fn drain(&self, which: usize, force: bool) -> Response {
        let path = format!("/v1/appliances/c{}.x/drain", which + 1);
        let wish = DrainWish {
            by: "ada".into(),
            reason: None,
            force,
        };
        let request = self
            .endpoint
            .request(Method::POST, &path, &self.tokens[which]);
        request
            .body(serde_json::to_vec(&wish).unwrap())
            .send()
            .await
            .unwrap()
    }
}

fn held(id: &str, sequence: u64) -> Report {
    let mut report = report(id, sequence);
    report.inventory.added = vec![Root(*blake3::hash(b"#EXTM3U").as_bytes())];
    report
}

fn ids(steered: &Steered) -> Vec<&str> {
    steered
        .choices
        .iter()
        .map(|choice| choice.id.as_str())
        .collect()
}

async fn json<T: serde::de::DeserializeOwned>(response: Response) -> T {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn viewers_are_sent_to_those_that_hold_it_with_the_reasons() {
    let stand = Stand::new("", "").await;
    let steered = stand.steer("10.1.2.3").await;
    let rank = steered.choices[0].rank.clone().unwrap();
    assert_eq!(
        (rank.prefix.as_str(), rank.hops, rank.standing.as_str()),
        ("10.0.0.0/8", None, "well")
    );
    assert!((240..=360).contains(&steered.ttl_s), "{}", steered.ttl_s);
    let first = &steered.choices[0];
    assert_eq!(first.url, format!("http://{}:80{PATH}", first.id));
    assert!(steered.why.contains("2 of 2 appliances"), "{}", steered.why);
    // The same viewer always, another one elsewhere.
    assert_eq!(ids(&stand.steer("10.1.2.3").await), ids(&steered));
    let mut firsts: Vec<String> = Vec::new();
    for host in 0..20 {
        firsts.push(ids(&stand.steer(&format!("10.1.2.{host}")).await)[0].to_owned());
    }
    firsts.sort_unstable();
    firsts.dedup();
    assert_eq!(firsts, ["c1.x", "c2.x"]);
    // One that does not hold it any more, or says that it is down, is named with the reason.
    let mut gone = held("c1.x", 2);
    gone.inventory.since = Some(1);
    gone.inventory.removed = std::mem::take(&mut gone.inventory.added);
    stand.report(0, &gone).await;
    let steered = stand
        .eventually("c1 is passed over", |steered| steered.choices.len() == 1)
        .await;
    assert_eq!(
        (
            steered.passed_over[0].id.as_str(),
            steered.passed_over[0].why.as_str()
        ),
        ("c1.x", "not-held")
    );
    let nobody = stand.steer("192.0.2.1").await;
    assert!(
        nobody.choices.is_empty() && nobody.why.contains("no appliance hears"),
        "{nobody:?}"
    );
    let unknown = stand
        .get("/v1/steer?client=10.0.0.1&path=/other.m3u8")
        .await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        stand.get("/v1/steer?client=10.0.0.1&path=x").await.status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn players_get_pathways_or_are_redirected() {
    let stand = Stand::new("url = \"https://{appliance}:8443\"", "").await;
    let response = stand
        .get(&format!(
            "/v1/content-steering?path={PATH}&_HLS_pathway=c1.x&_HLS_throughput=5000000"
        ))
        .await;
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let manifest: SteeringManifest = json(response).await;
    let steered = stand.steer("10.1.2.3").await;
    assert_eq!(manifest.pathway_priority, ids(&steered));
    let clone = &manifest.pathway_clones[0];
    assert_eq!(
        (clone.base_id.as_str(), &clone.id),
        (".", &manifest.pathway_priority[0])
    );
    assert_eq!(clone.uri_replacement.host, clone.id);

    let played = stand
        .get(&format!("/v1/play{PATH}?CMCD=sid%3D%22a%22"))
        .await;
    assert_eq!(played.status(), StatusCode::TEMPORARY_REDIRECT);
    let expected = format!("https://{}:8443{PATH}?CMCD=sid%3D%22a%22", clone.id);
    assert_eq!(played.headers()["location"], expected);
    assert_eq!(
        stand.get("/v1/play/seg-1.m4s").await.status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        stand.get("/v1/play/other.m3u8").await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn how_long_answers_last_is_configured_and_a_drain_waits_for_it() {
    let stand = Stand::new("ttl = \"20 s\"", "").await;
    let steered = stand.steer("10.1.2.3").await;
    assert!((16..=24).contains(&steered.ttl_s), "{}", steered.ttl_s);
    let lease: DrainLease = json(stand.drain(0, false).await).await;
    assert_eq!(lease.answers_expire_s, 24);
}

#[tokio::test]
async fn a_drain_is_granted_once_enough_are_left_and_steers_at_once() {
    let stand = Stand::new("", "[[site]]\nname = \"x\"\nmin_serving = 1").await;
    let lease: DrainLease = json(stand.drain(0, false).await).await;
    assert_eq!(lease.answers_expire_s, 360);
    let steered = stand.steer("10.1.2.3").await;
    assert_eq!((ids(&steered), steered.ttl_s), (vec!["c2.x"], 10));
    assert_eq!(steered.passed_over[0].why, "leaving");
    let refused = stand.drain(1, false).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let problem: Problem = json(refused).await;
    assert!(
        problem.error.contains("x would have 0 appliances left")
            && problem.error.contains("--force"),
        "{}",
        problem.error
    );
    assert_eq!(stand.drain(1, true).await.status(), StatusCode::OK);
    // Of another one's token nothing is taken.
    let other = stand
        .endpoint
        .request(Method::POST, "/v1/appliances/c2.x/drain", &stand.tokens[0]);
    assert_eq!(
        other.body("{}").send().await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn a_drain_that_is_over_brings_viewers_at_once_and_for_good() {
    let mut stand = Stand::new("", "").await;
    let path = "/v1/appliances/c1.x/drain";
    let undrain = async |stand: &Stand, which: usize| {
        let token = &stand.tokens[which];
        let request = stand.endpoint.request(Method::DELETE, path, token);
        request.send().await.unwrap().status()
    };
    assert_eq!(stand.drain(0, false).await.status(), StatusCode::OK);
    assert_eq!(ids(&stand.steer("10.1.2.3").await), ["c2.x"]);
    assert_eq!(undrain(&stand, 1).await, StatusCode::FORBIDDEN);
    assert_eq!(undrain(&stand, 0).await, StatusCode::NO_CONTENT);
    let steered = stand.steer("10.1.2.3").await;
    assert_eq!((steered.choices.len(), steered.passed_over.len()), (2, 0));
    assert!(steered.ttl_s > 10, "{}", steered.ttl_s);
    stand.endpoint.kill();
    stand.endpoint.serve();
    assert_eq!(stand.steer("10.1.2.3").await.choices.len(), 2);
}

/// Both hear the same routes: one that counts, and one of each kind that does not.
async fn hearing_routes() -> Stand {
    let stand = Stand::new("", "").await;
    let table = RouteTable {
        version: ROUTES_VERSION,
        routes: vec![
            ("0.0.0.0/0".into(), 1, 0),
            ("10.1.0.0/16".into(), 2, 50),
            ("10.9.1.0/24".into(), 1, 0),
            ("192.0.2.0/24".into(), 1, 0),
        ],
    };
    let digest = Root(*blake3::hash(table.lines().as_bytes()).as_bytes());
    let heard = |id: &str| Report {
        routes: Some(RoutesHeard {
            digest: Some(digest),
            prefixes: 4,
        }),
        ..held(id, 2)
    };
    assert!(stand.report(0, &heard("c1.x")).await.routes_wanted);
    let packed = zstd::encode_all(&serde_json::to_vec(&table).unwrap()[..], 1).unwrap();
    let path = "/v1/appliances/c1.x/routes";
    let request = stand.endpoint.request(Method::POST, path, &stand.tokens[0]);
    let request = request.header("Content-Encoding", "zstd").body(packed);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert!(!stand.report(1, &heard("c2.x")).await.routes_wanted);
    stand
}

#[tokio::test]
async fn routes_are_taken_once_for_all_that_hear_the_same() {
    let stand = hearing_routes().await;
    let both_hear = |steered: &Steered| {
        let ranks = steered.choices.iter().filter_map(|it| it.rank.as_ref());
        ranks.filter(|rank| rank.prefix == "10.1.0.0/16").count() == 2
    };
    let steered = stand.eventually("the routes count", both_hear).await;
    let rank = steered.choices[0].rank.as_ref().unwrap();
    assert_eq!((rank.hops, rank.med), (Some(2), Some(50)));
    // What is registered is not enough once routers tell what they want.
    assert!(stand.steer("10.2.0.1").await.choices.is_empty());
    assert!(stand.steer("10.9.1.1").await.choices.is_empty());
}

#[tokio::test]
async fn routes_beyond_what_is_registered_are_listed_and_not_used() {
    let stand = hearing_routes().await;
    // The second one is counted with the next look.
    let what = "oca_control_routes{use=\"used\"} 1\n";
    let metrics = until(what, async || {
        let response = stand.endpoint.get("/metrics", "").await;
        let metrics = response.text().await.unwrap();
        metrics.contains(what).then_some(metrics)
    });
    let metrics = metrics.await;
    assert!(metrics.contains("oca_control_fleet{standing=\"well\"} 2"));
    for why in ["default", "unregistered", "leak"] {
        let line = format!("oca_control_routes{{use=\"{why}\"}} 1\n");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    let response = stand.endpoint.get("/v1/routes/unused", OPERATOR).await;
    let unused: Vec<serde_json::Value> = json(response).await;
    let told = |route: &serde_json::Value| {
        format!("{} {} {}", route["operator"], route["prefix"], route["why"])
    };
    assert_eq!(
        unused.iter().map(told).collect::<Vec<_>>(),
        [
            "\"isp\" \"0.0.0.0/0\" \"default\"",
            "\"isp\" \"10.9.1.0/24\" \"leak\"",
            "\"isp\" \"192.0.2.0/24\" \"unregistered\""
        ]
    );
}

#[tokio::test]
async fn appliances_of_a_cluster_that_do_not_hear_the_same_are_listed() {
    let stand = Stand::new("", "").await;
    let tell = async |which: usize, sequence, prefixes: &[&str]| {
        let route = |prefix: &&str| ((*prefix).to_owned(), 1, 0);
        let table = RouteTable {
            version: ROUTES_VERSION,
            routes: prefixes.iter().map(route).collect(),
        };
        let id = ["c1.x", "c2.x"][which];
        let report = Report {
            routes: Some(RoutesHeard {
                digest: Some(Root(*blake3::hash(table.lines().as_bytes()).as_bytes())),
                prefixes: prefixes.len() as u64,
            }),
            ..held(id, sequence)
        };
        if stand.report(which, &report).await.routes_wanted {
            let path = format!("/v1/appliances/{id}/routes");
            let request = stand
                .endpoint
                .request(Method::POST, &path, &stand.tokens[which]);
            let body = serde_json::to_vec(&table).unwrap();
            let response = request.body(body).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
        }
    };
    let gaps = async |metrics: [&str; 2]| {
        let wanted = format!(
            "oca_control_route_gaps{{lacks=\"ipv6\"}} {}\noca_control_route_gaps{{lacks=\"prefixes\"}} {}\n",
            metrics[1], metrics[0]
        );
        until(&wanted, async || {
            let page = stand.endpoint.get("/metrics", "").await.text().await;
            page.unwrap().contains(&wanted).then_some(())
        })
        .await;
        let response = stand.endpoint.get("/v1/routes/gaps", OPERATOR).await;
        json::<serde_json::Value>(response).await
    };
    let whole = ["10.1.0.0/16", "10.2.0.0/16", "2001:db8:1::/48"];
    tell(0, 2, &whole).await;
    tell(1, 2, &whole[..1]).await;
    let listed = gaps(["1", "1"]).await;
    let expected = serde_json::json!([{
        "cluster": "x", "appliance": "c2.x", "hears": 1, "lacks": 2,
        "prefixes": ["10.2.0.0/16", "2001:db8:1::/48"], "lacks_ipv6": true,
    }]);
    assert_eq!(listed, expected);
    let stranger = stand
        .endpoint
        .get("/v1/routes/gaps", &stand.tokens[0])
        .await;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);

    // Both alike, and the IPv6 that is registered for the operator is nowhere.
    tell(0, 3, &whole[..2]).await;
    tell(1, 3, &whole[..2]).await;
    gaps(["0", "2"]).await;
    tell(0, 4, &whole).await;
    tell(1, 4, &whole).await;
    assert_eq!(gaps(["0", "0"]).await, serde_json::json!([]));
}

/// It said that it listens to routers, and not yet what they tell.
#[tokio::test]
async fn one_that_has_not_told_its_routes_yet_serves_nobody() {
    let stand = Stand::new("", "").await;
    let unknown = Some(RoutesHeard {
        digest: None,
        prefixes: 0,
    });
    let report = Report {
        routes: unknown,
        ..held("c1.x", 2)
    };
    stand.report(0, &report).await;
    let only_the_other = |steered: &Steered| ids(steered) == ["c2.x"];
    stand.eventually("the other serves", only_the_other).await;
}

#[tokio::test]
async fn a_restart_of_the_endpoint_moves_nobody() {
    let mut stand = Stand::new("", "").await;
    assert_eq!(stand.drain(0, false).await.status(), StatusCode::OK);
    stand.endpoint.kill();
    stand.endpoint.serve();
    // From its first moment, with no report since: who is leaving is still leaving.
    assert_eq!(ids(&stand.steer("10.1.2.3").await), ["c2.x"]);
}

#[tokio::test]
async fn after_an_hour_away_the_endpoint_holds_what_was_said_and_tells_its_alarms() {
    let mut stand = Stand::new("", "").await;
    let fleet = async |stand: &Stand, what: &str| {
        let page = stand.endpoint.get("/metrics", "").await.text().await;
        let line = format!("oca_control_fleet{{standing=\"{what}\"}} 2\n");
        page.unwrap().contains(&line)
    };
    assert!(fleet(&stand, "well").await);
    stand.endpoint.kill();
    let database = control_endpoint::database::Database::open(&stand.endpoint.state())
        .await
        .unwrap();
    let older = sqlx::query("UPDATE report SET received = received - 3600");
    older.execute(&database.pool).await.unwrap();
    database.close().await;
    stand.endpoint.serve();
    // What the alert P0 asks for.
    assert!(fleet(&stand, "held").await);
    let steered = stand.steer("10.1.2.3").await;
    assert_eq!(steered.choices.len(), 2);
    let rank = steered.choices[0].rank.as_ref().unwrap();
    assert_eq!(rank.standing, "held");
    for (which, id) in ["c1.x", "c2.x"].into_iter().enumerate() {
        stand.report(which, &held(id, 2)).await;
    }
    until("all is well", async || {
        fleet(&stand, "well").await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn site_mates_are_named_and_believed() {
    let stand = Stand::new("", "").await;
    let answer = stand.report(0, &held("c1.x", 2)).await;
    let named: Vec<&str> = answer
        .neighbours
        .iter()
        .map(|mate| mate.id.as_str())
        .collect();
    assert_eq!(named, ["c2.x"]);
    let reached = |id: &str, sequence| Report {
        reached: vec![Reached {
            id: "c2.x".into(),
            answers: false,
        }],
        ..held(id, sequence)
    };
    // c2 reports itself: one site-mate that does not reach it may be ill itself. Two are believed.
    stand.report(0, &reached("c1.x", 3)).await;
    assert_eq!(stand.steer("10.1.2.3").await.choices.len(), 2);
    let third = stand.endpoint.appliance("c3.x");
    let sequence = AtomicU64::new(1);
    let steered = until("c2 is not reached", async || {
        let sequence = sequence.fetch_add(1, Relaxed);
        stand
            .endpoint
            .report(&reached("c3.x", sequence), &third)
            .await;
        let steered = stand.steer("10.1.2.3").await;
        let mut passed_over = steered.passed_over.iter();
        passed_over
            .any(|it| it.id == "c2.x" && it.why == "unreachable")
            .then_some(())
    });
    steered.await;
}

#[tokio::test]
async fn the_origin_takes_as_many_as_it_can_send_to() {
    let mut endpoint = Endpoint::with(
        "[steering]\norigin = \"https://origin.example/media/\"\norigin_capacity = \"5 Mbit/s\"\nviewer_rate = \"5 Mbit/s\"",
    );
    endpoint.ingest("title.m3u8", b"#EXTM3U");
    endpoint.serve();
    let ask = async |path: &str| {
        endpoint
            .get(&format!("{path}?client=10.0.0.1&path={PATH}"), "")
            .await
    };
    let steered: Steered = json(ask("/v1/steer").await).await;
    assert_eq!(ids(&steered), ["origin"]);
    assert_eq!(
        steered.choices[0].url,
        format!("https://origin.example/media{PATH}")
    );
    let full: Steered = json(ask("/v1/steer").await).await;
    assert!(
        full.choices.is_empty() && full.why.contains("no place at the origin"),
        "{full:?}"
    );
    let refused = ask("/v1/content-steering").await;
    assert_eq!(
        (
            refused.status(),
            refused.headers()["retry-after"].to_str().unwrap()
        ),
        (StatusCode::SERVICE_UNAVAILABLE, "10")
    );
    let metrics = endpoint.get("/metrics", "").await.text().await.unwrap();
    for line in [
        "oca_control_origin_viewers 1",
        "oca_control_steer_decisions_total{to=\"origin\"} 1",
        "oca_control_steer_decisions_total{to=\"nowhere\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
