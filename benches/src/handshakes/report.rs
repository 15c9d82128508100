//! Samples -> medians -> table, aims, JSON.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use super::shaker::{Resuming, Shaken};
use crate::latency::median;
use crate::server::Kind;
use crate::tls::{KeyKind, Version};

/// Handshakes per second of CPU time of ours, against nginx's.
const LEAST_TO_NGINX: f64 = 1.0;

/// Which handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(super) struct Case {
    pub(super) key: KeyKind,
    pub(super) version: Version,
    pub(super) resuming: Resuming,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.resuming {
            Resuming::Never => "full",
            Resuming::Always => "resumed",
        };
        let (key, version) = (self.key.name(), self.version.name());
        write!(f, "TLS {version}, {key}, {how}")
    }
}

/// One server, one case, one round.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Sample {
    server: Kind,
    case: Case,
    handshakes: u64,
    figures: Figures,
}

/// What is compared.
#[derive(Debug, Clone, Copy, serde::Serialize)]
struct Figures {
    per_cpu_second: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    /// Share of its core that the server used.
    server_busy: f64,
    /// The same of the client: near 1, the rate and the latencies say more of it than of the server.
    client_busy: f64,
}

impl Sample {
    /// Times in seconds of CPU.
    pub(super) fn new(
        server: Kind,
        case: Case,
        shaken: &Shaken,
        server_cpu: f64,
        client_cpu: f64,
    ) -> Self {
        let seconds = shaken.elapsed.as_secs_f64();
        let handshakes = shaken.handshakes as f64;
        Self {
            server,
            case,
            handshakes: shaken.handshakes,
            figures: Figures {
                per_cpu_second: handshakes / server_cpu,
                per_second: handshakes / seconds,
                p50_us: f64::from(shaken.latency.p50_us),
                p99_us: f64::from(shaken.latency.p99_us),
                server_busy: server_cpu / seconds,
                client_busy: client_cpu / seconds,
            },
        }
    }
}

/// Medians of one server in one case.
#[derive(Debug, serde::Serialize)]
struct Row {
    case: Case,
    server: Kind,
    median: Figures,
    /// Handshakes per second of CPU time against nginx's, if that ran.
    to_nginx: Option<f64>,
}

/// Everything of a run.
#[derive(Debug, serde::Serialize)]
pub(super) struct Report {
    samples: Vec<Sample>,
    medians: Vec<Row>,
    missed: Vec<String>,
}

impl Report {
    pub(super) fn of(samples: Vec<Sample>) -> Self {
        let medians = rows(&samples);
        Self {
            missed: medians.iter().filter_map(Row::miss).collect(),
            medians,
            samples,
        }
    }

    /// Where ours made fewer than it has to.
    pub(super) fn missed(&self) -> &[String] {
        &self.missed
    }

    /// The table, to standard output.
    pub(super) fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([
            "handshakes",
            "server",
            "per CPU second",
            "CPU us each",
            "per second",
            "p50 us",
            "p99 us",
            "server busy",
            "client busy",
            "to nginx",
        ]);
        for row in &self.medians {
            let figures = row.median;
            table.add_row([
                row.case.to_string(),
                row.server.name().to_owned(),
                format!("{:.0}", figures.per_cpu_second),
                format!("{:.0}", 1e6 / figures.per_cpu_second),
                format!("{:.0}", figures.per_second),
                format!("{:.0}", figures.p50_us),
                format!("{:.0}", figures.p99_us),
                format!("{:.0} %", figures.server_busy * 100.0),
                format!("{:.0} %", figures.client_busy * 100.0),
                row.to_nginx
                    .map_or("-".into(), |ratio| format!("{ratio:.2}")),
            ]);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
    }
}

/// In the order of the samples.
fn rows(samples: &[Sample]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for &Sample { case, server, .. } in samples {
        if rows
            .iter()
            .any(|row| row.case == case && row.server == server)
        {
            continue;
        }
        let Some(median) = medians(samples, case, server) else {
            continue;
        };
        let nginx = medians(samples, case, Kind::Nginx);
        rows.push(Row {
            case,
            server,
            median,
            to_nginx: nginx.map(|nginx| median.per_cpu_second / nginx.per_cpu_second),
        });
    }
    rows
}

fn medians(samples: &[Sample], case: Case, server: Kind) -> Option<Figures> {
    let chosen: Vec<&Figures> = samples
        .iter()
        .filter(|sample| sample.case == case && sample.server == server)
        .map(|sample| &sample.figures)
        .collect();
    if chosen.is_empty() {
        return None;
    }
    let of = |figure: fn(&Figures) -> f64| median(chosen.iter().map(|figures| figure(figures)));
    Some(Figures {
        per_cpu_second: of(|figures| figures.per_cpu_second),
        per_second: of(|figures| figures.per_second),
        p50_us: of(|figures| figures.p50_us),
        p99_us: of(|figures| figures.p99_us),
        server_busy: of(|figures| figures.server_busy),
        client_busy: of(|figures| figures.client_busy),
    })
}

impl Row {
    fn miss(&self) -> Option<String> {
        let ratio = self.to_nginx.filter(|&ratio| ratio < LEAST_TO_NGINX)?;
        let (case, server) = (self.case, self.server);
        server.is_ours().then(|| {
            format!(
                "{case}, {}: {ratio:.3} of nginx's, at least {LEAST_TO_NGINX}",
                server.name()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::latency::Summary;

    #[test]
    fn ours_may_not_make_fewer_than_nginx() {
        let sample = |server, resuming, cpu| {
            let shaken = Shaken {
                handshakes: 1000,
                elapsed: Duration::from_secs(2),
                latency: Summary {
                    p50_us: 1,
                    p99_us: 2,
                    max_us: 3,
                },
            };
            let case = Case {
                key: KeyKind::Ecdsa,
                version: Version::Tls13,
                resuming,
            };
            Sample::new(server, case, &shaken, cpu, 1.0)
        };
        let report = Report::of(vec![
            sample(Kind::Nginx, Resuming::Never, 1.0),
            sample(Kind::OcaUring, Resuming::Never, 1.0),
            sample(Kind::Nginx, Resuming::Always, 1.0),
            sample(Kind::OcaUring, Resuming::Always, 1.25),
        ]);
        let expected = "TLS 1.3, ECDSA P-256, resumed, oca (uring): 0.800 of nginx's, at least 1";
        assert_eq!(report.missed(), [expected]);
    }
}
