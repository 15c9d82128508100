//! The pages of `docs/formats/` show what these programs read and write.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Debug;

use protocol::control::{Answer, Report};
use protocol::demand::Expected;
use protocol::steer::{DrainLease, DrainWish, RouteTable};
use protocol::{fill, operator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use support::line;

/// The blocks of that language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let rest = page.split(fence.as_str()).skip(1).collect::<Vec<_>>();
    let blocks = rest.into_iter().filter_map(|rest| rest.split("```").next());
    blocks.collect()
}

/// What is shown is read, and written in the same bytes.
fn both_ways<T: Serialize + DeserializeOwned + Debug>(shown: &str) -> T {
    let line = line(shown);
    let read: T = serde_json::from_str(&line).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), line);
    read
}

#[test]
fn reports_answers_routes_and_drains() {
    let shown = blocks(include_str!("../../docs/formats/report.md"), "json");
    let report: Report = both_ways(shown[0]);
    let answer: Answer = both_ways(shown[1]);
    assert_eq!(
        answer.known,
        Some((report.started, report.inventory.revision))
    );
    let table: RouteTable = both_ways(shown[2]);
    assert_eq!(table.lines(), "192.0.2.0/24 2 100\n2001:db8::/32 0 0\n");
    assert!(table.routes.is_sorted());
    both_ways::<DrainWish>(shown[3]);
    both_ways::<DrainLease>(shown[4]);
    assert_eq!(shown.len(), 5);
}

#[test]
fn expected_demand() {
    let shown = blocks(include_str!("../../docs/formats/demand.md"), "json")[0];
    let read = Expected::parse(shown.as_bytes()).unwrap();
    assert_eq!(read.text(), line(shown).as_bytes());
    let newer = shown.replace("\"format\":2", "\"format\":3");
    let problem = Expected::parse(newer.as_bytes()).unwrap_err().to_string();
    assert!(problem.contains("install the newer release"), "{problem}");
}

/// What the document says is held by tests beside the code that writes it.
#[test]
fn hints_are_those_of_their_tests() {
    let shown = blocks(include_str!("../../docs/formats/steering.md"), "json")[0];
    assert_eq!(shown, include_str!("../../steering/tests/hints/ok.json"));
}

/// The names in the first column of a table of requests.
fn listed(section: &str) -> BTreeSet<String> {
    let rows = section.lines().filter_map(|row| row.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next());
    names.map(str::to_owned).collect()
}

/// Reads and writes each line that is shown; gives the names of the requests.
fn shown<Q, A>(section: &str) -> BTreeSet<String>
where
    Q: Serialize + DeserializeOwned,
    A: Serialize + DeserializeOwned,
{
    let mut requests = BTreeSet::new();
    for line in blocks(section, "text")[0].lines() {
        let (side, line) = line.split_at(2);
        let written = match side {
            "> " => operator::encode(&operator::decode::<Q>(line.as_bytes()).unwrap()),
            _ => operator::encode(&operator::decode::<A>(line.as_bytes()).unwrap()),
        };
        assert_eq!(String::from_utf8(written).unwrap(), format!("{line}\n"));
        let fields: serde_json::Value = serde_json::from_str(line).unwrap();
        requests.extend(fields["request"].as_str().map(str::to_owned));
    }
    requests
}

#[test]
fn lines_of_the_operator_sockets() {
    let page = include_str!("../../docs/formats/operator.md");
    let (daemon, agent) = page.split_once("The fill agent listens").unwrap();
    let requests = shown::<operator::Request, operator::Response>(daemon);
    assert_eq!(requests, listed(daemon));
    let requests = shown::<fill::Request, fill::Response>(agent);
    assert_eq!(requests, listed(agent));
}
