//! Samples -> medians -> table, limits, JSON.

use comfy_table::{Table, presets};

use super::slow::Held;
use crate::latency::median;
use crate::server::Kind;
use crate::tls::Suite;

/// CPU per GB against the bare loop that reads, checks and sends (docs/decisions/0009-cold-bounds.md).
const TO_FLOOR: f64 = 1.3;
/// With TLS, which both seal in their own process, against nginx with threads that read past the page cache.
const TLS_TO_NGINX: f64 = 0.95;
/// Bytes read from the device per byte sent.
const READ_PER_SENT: f64 = 1.05;
/// Bytes per second against fio with the same reads.
const TO_FIO: f64 = 0.90;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Who {
    NginxThreads,
    OcaUring,
    OcaEpoll,
    /// Content in memory.
    OcaUringHot,
    /// Likewise.
    OcaEpollHot,
    /// Without TLS only.
    FloorDisk,
    /// Likewise.
    FloorChecked,
}

impl Who {
    const ALL: [Self; 7] = [
        Self::NginxThreads,
        Self::OcaUring,
        Self::OcaEpoll,
        Self::OcaUringHot,
        Self::OcaEpollHot,
        Self::FloorDisk,
        Self::FloorChecked,
    ];

    /// Those that speak TLS, if it is to be spoken.
    pub(super) fn all(is_tls: bool) -> impl Iterator<Item = Self> {
        let speaks =
            move |who: &Self| !is_tls || !matches!(who, Self::FloorDisk | Self::FloorChecked);
        Self::ALL.into_iter().filter(speaks)
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::NginxThreads => Kind::NginxThreads,
            Self::OcaUring | Self::OcaUringHot => Kind::OcaUring,
            Self::OcaEpoll | Self::OcaEpollHot => Kind::OcaEpoll,
            Self::FloorDisk => Kind::FloorDisk,
            Self::FloorChecked => Kind::FloorChecked,
        }
    }

    pub(super) fn name(self) -> String {
        let from = if self.is_hot() { ", in memory" } else { "" };
        format!("{}{from}", self.kind().name())
    }

    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::NginxThreads => "nginx",
            Self::OcaUring => "uring",
            Self::OcaEpoll => "epoll",
            Self::OcaUringHot => "uring-hot",
            Self::OcaEpollHot => "epoll-hot",
            Self::FloorDisk => "floor-disk",
            Self::FloorChecked => "floor-checked",
        }
    }

    pub(super) fn is_hot(self) -> bool {
        matches!(self, Self::OcaUringHot | Self::OcaEpollHot)
    }

    pub(super) fn is_cold_and_ours(self) -> bool {
        matches!(self, Self::OcaUring | Self::OcaEpoll)
    }
}

/// One server, one round.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Sample {
    pub(super) who: Who,
    pub(super) cpu_s_per_gb: f64,
    pub(super) read_per_sent: f64,
    pub(super) bytes_per_second: f64,
    pub(super) p99_us: u32,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// None: without TLS.
    suite: Option<Suite>,
    pub(super) samples: Vec<Sample>,
    /// Bytes per second of each round.
    pub(super) fio: Vec<f64>,
    pub(super) held: Vec<(Who, Held)>,
}

/// A figure and what it was to be.
#[derive(Debug, serde::Serialize)]
struct Limit {
    what: String,
    is: f64,
    at_most: Option<f64>,
    at_least: Option<f64>,
}

impl Limit {
    fn is_kept(&self) -> bool {
        self.at_most.is_none_or(|most| self.is <= most)
            && self.at_least.is_none_or(|least| self.is >= least)
    }

    fn text(&self) -> String {
        let (word, bound) = match (self.at_most, self.at_least) {
            (Some(most), _) => ("at most", most),
            (None, least) => ("at least", least.unwrap_or_default()),
        };
        format!("{}: {:.3}, {word} {bound}", self.what, self.is)
    }
}

impl Report {
    pub(super) fn new(suite: Option<Suite>) -> Self {
        Self {
            suite,
            ..Self::default()
        }
    }

    fn median_of(&self, who: Who, figure: fn(&Sample) -> f64) -> f64 {
        let of_one = self.samples.iter().filter(|sample| sample.who == who);
        median(of_one.map(figure))
    }

    fn limits(&self) -> Vec<Limit> {
        let ours = Who::ALL.into_iter().filter(|who| who.is_cold_and_ours());
        let mut limits: Vec<Limit> = ours.flat_map(|who| self.limits_of(who)).collect();
        limits.extend(self.held.iter().map(|(who, held)| Limit {
            what: format!("{}: most bytes read and not sent / budget", who.name()),
            is: held.most_bytes as f64 / held.budget_bytes as f64,
            at_most: Some(1.0),
            at_least: None,
        }));
        limits
    }

    /// With TLS, neither content in memory nor a disk without a server is what it is to be compared with.
    fn limits_of(&self, who: Who) -> Vec<Limit> {
        let cpu = |who| self.median_of(who, |sample| sample.cpu_s_per_gb);
        let rate = self.median_of(who, |sample| sample.bytes_per_second);
        let at_most = |what: &str, is, most| Limit {
            what: format!("{}: {what}", who.name()),
            is,
            at_most: Some(most),
            at_least: None,
        };
        let read_per_sent = at_most(
            "bytes read / sent",
            self.median_of(who, |sample| sample.read_per_sent),
            READ_PER_SENT,
        );
        if self.suite.is_some() {
            let to_nginx = cpu(who) / cpu(Who::NginxThreads);
            return vec![
                at_most("CPU / nginx (threads)", to_nginx, TLS_TO_NGINX),
                read_per_sent,
            ];
        }
        let to_floor = cpu(who) / cpu(Who::FloorChecked);
        let to_fio = Limit {
            what: format!("{}: bytes/s / fio", who.name()),
            is: rate / median(self.fio.iter().copied()),
            at_most: None,
            at_least: Some(TO_FIO),
        };
        vec![
            at_most("CPU / floor (disk, checked)", to_floor, TO_FLOOR),
            read_per_sent,
            to_fio,
        ]
    }

    /// The limits that were not kept.
    pub(super) fn missed(&self) -> Vec<String> {
        let limits = self.limits();
        let missed = limits.iter().filter(|limit| !limit.is_kept());
        missed.map(Limit::text).collect()
    }

    /// To standard output.
    pub(super) fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([
            "server",
            "CPU s/GB",
            "read / sent",
            "MB/s",
            "p99 us",
        ]);
        for who in Who::all(self.suite.is_some()) {
            let of = |figure| self.median_of(who, figure);
            table.add_row([
                who.name(),
                format!("{:.3}", of(|sample| sample.cpu_s_per_gb)),
                format!("{:.3}", of(|sample| sample.read_per_sent)),
                format!("{:.0}", of(|sample| sample.bytes_per_second) / 1e6),
                format!("{:.0}", of(|sample| f64::from(sample.p99_us))),
            ]);
        }
        println!("{table}");
        if let Some(suite) = self.suite {
            println!("TLS 1.3, {}, certificate ECDSA P-256", suite.name());
        }
        println!("fio: {:.0} MB/s", median(self.fio.iter().copied()) / 1e6);
        for (who, held) in &self.held {
            println!(
                "{}: {} slow viewers, at most {} of {} bytes read and not sent; those who read got {:.0} MB/s",
                who.name(),
                held.slow_viewers,
                held.most_bytes,
                held.budget_bytes,
                held.quick_bytes_per_second / 1e6
            );
        }
        for limit in self.limits() {
            let kept = if limit.is_kept() { "kept  " } else { "MISSED" };
            println!("{kept} {}", limit.text());
        }
    }

    /// Samples and limits as JSON.
    pub(super) fn document(&self) -> serde_json::Value {
        serde_json::json!({
            "suite": self.suite,
            "samples": self.samples,
            "fio_bytes_per_second": self.fio,
            "slow_viewers": self.held,
            "limits": self.limits(),
            "missed": self.missed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(cpu: f64) -> Report {
        let sample = |who: Who, cpu_s_per_gb| Sample {
            who,
            cpu_s_per_gb,
            read_per_sent: 1.0,
            bytes_per_second: 95.0,
            p99_us: 1,
        };
        Report {
            samples: vec![
                sample(Who::NginxThreads, 0.4),
                sample(Who::OcaUring, cpu),
                sample(Who::OcaEpoll, 0.12),
                sample(Who::FloorChecked, 0.1),
            ],
            suite: None,
            fio: vec![100.0],
            held: Vec::new(),
        }
    }

    #[test]
    fn what_is_missed_is_named() {
        assert_eq!(report(0.12).missed(), Vec::<String>::new());
        let missed = report(0.25).missed();
        assert_eq!(
            missed,
            ["oca (uring): CPU / floor (disk, checked): 2.500, at most 1.3"]
        );
    }
}
