//! Samples -> medians -> table with ratios, and JSON.

use comfy_table::{CellAlignment, Table, presets};

use super::shape::Shape;
use crate::latency::median;
use crate::load::Outcome;
use crate::server::Kind;
use crate::tls::Suite;

/// With TLS, CPU per GB of ours against nginx's in its own process.
const TLS_TO_NGINX: f64 = 0.95;

/// One server, one shape, one round.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Sample {
    server: Kind,
    shape: Shape,
    requests: u64,
    bytes: u64,
    seconds: f64,
    figures: Figures,
}

/// What is compared.
#[derive(Debug, Clone, Copy, serde::Serialize)]
struct Figures {
    cpu_s_per_gb: f64,
    cpu_us_per_request: f64,
    requests_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    /// Share of its core that the server used.
    server_busy: f64,
    /// The same of the client: near 1, the rate says more of it than of the server.
    client_busy: f64,
}

impl Sample {
    /// Times in seconds of CPU.
    pub(super) fn new(
        server: Kind,
        shape: Shape,
        outcome: &Outcome,
        server_cpu: f64,
        client_cpu: f64,
    ) -> Self {
        let seconds = outcome.elapsed.as_secs_f64();
        let figures = Figures {
            cpu_s_per_gb: server_cpu / (outcome.bytes as f64 / 1e9),
            cpu_us_per_request: server_cpu * 1e6 / outcome.requests as f64,
            requests_per_second: outcome.requests_per_second(),
            p50_us: f64::from(outcome.latency.p50_us),
            p99_us: f64::from(outcome.latency.p99_us),
            max_us: f64::from(outcome.latency.max_us),
            server_busy: server_cpu / seconds,
            client_busy: client_cpu / seconds,
        };
        Self {
            server,
            shape,
            requests: outcome.requests,
            bytes: outcome.bytes,
            seconds,
            figures,
        }
    }
}

/// Medians of one server in one shape.
#[derive(Debug, Clone, serde::Serialize)]
struct Row {
    shape: Shape,
    server: Kind,
    median: Figures,
    /// CPU per GB against the peer's, if that ran.
    to_nginx: Option<f64>,
    to_lighttpd: Option<f64>,
    to_floor: Option<f64>,
}

/// Everything of a run.
#[derive(Debug, serde::Serialize)]
pub(super) struct Report {
    suite: Option<Suite>,
    samples: Vec<Sample>,
    medians: Vec<Row>,
    missed: Vec<String>,
}

impl Report {
    pub(super) fn of(samples: Vec<Sample>, suite: Option<Suite>) -> Self {
        let medians = rows(&samples);
        let asked = medians.iter().filter(|_| suite.is_some());
        Self {
            suite,
            missed: asked.filter_map(Row::miss).collect(),
            medians,
            samples,
        }
    }

    /// Where ours was dearer than it may be.
    pub(super) fn missed(&self) -> &[String] {
        &self.missed
    }
}

impl Row {
    fn miss(&self) -> Option<String> {
        let ratio = self.to_nginx.filter(|&ratio| ratio > TLS_TO_NGINX)?;
        let (shape, server) = (self.shape, self.server);
        server.is_ours().then(|| {
            format!(
                "{shape}, {}: {ratio:.3} of nginx's CPU, at most {TLS_TO_NGINX}",
                server.name()
            )
        })
    }
}

/// In the order of the samples.
fn rows(samples: &[Sample]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for sample in samples {
        let (shape, server) = (sample.shape, sample.server);
        if rows
            .iter()
            .any(|row| row.shape == shape && row.server == server)
        {
            continue;
        }
        let Some(median) = medians(samples, shape, server) else {
            continue;
        };
        let to = |peer| {
            medians(samples, shape, peer).map(|of_peer| median.cpu_s_per_gb / of_peer.cpu_s_per_gb)
        };
        rows.push(Row {
            shape,
            server,
            median,
            to_nginx: to(Kind::Nginx),
            to_lighttpd: to(Kind::Lighttpd),
            to_floor: to(Kind::Floor),
        });
    }
    rows
}

fn medians(samples: &[Sample], shape: Shape, server: Kind) -> Option<Figures> {
    let chosen: Vec<&Figures> = samples
        .iter()
        .filter(|sample| sample.shape == shape && sample.server == server)
        .map(|sample| &sample.figures)
        .collect();
    if chosen.is_empty() {
        return None;
    }
    let of = |figure: fn(&Figures) -> f64| median(chosen.iter().map(|figures| figure(figures)));
    Some(Figures {
        cpu_s_per_gb: of(|figures| figures.cpu_s_per_gb),
        cpu_us_per_request: of(|figures| figures.cpu_us_per_request),
        requests_per_second: of(|figures| figures.requests_per_second),
        p50_us: of(|figures| figures.p50_us),
        p99_us: of(|figures| figures.p99_us),
        max_us: of(|figures| figures.max_us),
        server_busy: of(|figures| figures.server_busy),
        client_busy: of(|figures| figures.client_busy),
    })
}

impl Report {
    /// The table, to standard output.
    pub(super) fn print(&self) {
        println!("{}", self.table());
        if let Some(suite) = self.suite {
            println!("TLS 1.3, {}, certificate ECDSA P-256", suite.name());
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([
            "shape",
            "server",
            "CPU s/GB",
            "CPU us/request",
            "requests/s",
            "p99 us",
            "max us",
            "server busy",
            "client busy",
            "CPU / nginx",
            "CPU / lighttpd",
            "CPU / floor",
        ]);
        for row in &self.medians {
            let ratio =
                |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
            let figures = row.median;
            table.add_row([
                row.shape.to_string(),
                row.server.name().to_owned(),
                format!("{:.3}", figures.cpu_s_per_gb),
                format!("{:.1}", figures.cpu_us_per_request),
                format!("{:.0}", figures.requests_per_second),
                format!("{:.0}", figures.p99_us),
                format!("{:.0}", figures.max_us),
                format!("{:.0} %", figures.server_busy * 100.0),
                format!("{:.0} %", figures.client_busy * 100.0),
                ratio(row.to_nginx),
                ratio(row.to_lighttpd),
                ratio(row.to_floor),
            ]);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Summary;
    use std::time::Duration;

    fn sample(server: Kind, server_cpu: f64) -> Sample {
        let latency = Summary {
            p50_us: 1,
            p99_us: 2,
            max_us: 3,
        };
        let outcome = Outcome {
            requests: 1_000_000,
            bytes: 2_000_000_000,
            elapsed: Duration::from_secs(4),
            latency,
            missed_share: 0.0,
        };
        let shape = "16KiBx64".parse().unwrap();
        Sample::new(server, shape, &outcome, server_cpu, 1.0)
    }

    #[test]
    fn medians_are_compared_with_the_peers_that_ran() {
        let samples = [
            sample(Kind::Nginx, 2.0),
            sample(Kind::OcaUring, 1.0),
            sample(Kind::Nginx, 40.0),
            sample(Kind::OcaUring, 0.5),
            sample(Kind::Nginx, 1.0),
            sample(Kind::OcaUring, 9.0),
        ];
        let rows = rows(&samples);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].median.cpu_s_per_gb, 1.0);
        assert_eq!(rows[1].to_nginx, Some(0.5));
        assert_eq!(rows[1].to_lighttpd, None);
        assert_eq!(rows[1].median.cpu_us_per_request, 1.0);
        assert_eq!(rows[1].median.client_busy, 0.25);
    }

    #[test]
    fn only_with_tls_there_is_an_aim() {
        let samples = || vec![sample(Kind::Nginx, 1.0), sample(Kind::OcaEpoll, 0.96)];
        assert!(Report::of(samples(), None).missed().is_empty());
        let with = Report::of(samples(), Some(Suite::Aes128));
        let expected = "16KiBx64, oca (epoll): 0.960 of nginx's CPU, at most 0.95";
        assert_eq!(with.missed(), [expected]);
    }
}
