//! What an audience has seen, summed up.

use std::time::Duration;

use super::audience::{Tally, Viewer};
use super::rule::Rule;
use crate::latency::{Latencies, Summary};

/// Of one run.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Seen {
    /// Of whole segments.
    pub(super) bytes: u64,
    pub(super) segments: u64,
    /// Requests that failed.
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// How late the generator was.
    pub(super) lateness: Summary,
    /// The viewers of each rule that there was.
    pub(super) groups: Vec<Group>,
}

/// The viewers of one rule.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Group {
    pub(super) rule: Rule,
    pub(super) viewers: usize,
    /// Those who saw a picture, and how long it took them.
    pub(super) started: usize,
    pub(super) start_time: Summary,
    pub(super) rebuffers: u64,
    pub(super) rebuffer_seconds: f64,
    pub(super) mean_quality: f64,
    pub(super) least_quality: f64,
}

impl Seen {
    pub(super) fn of(viewers: &[Viewer<'_>], tally: Tally, end: Duration) -> Self {
        let groups = Rule::ALL.iter().filter_map(|&rule| {
            let of_rule = viewers.iter().filter(|viewer| viewer.rule == rule);
            Group::of(rule, &of_rule.collect::<Vec<_>>(), end)
        });
        Self {
            bytes: tally.bytes,
            segments: tally.segments,
            errors: tally.errors,
            first_error: tally.first_error,
            lateness: tally.lateness.summary(),
            groups: groups.collect(),
        }
    }

    pub(super) fn rebuffers(&self) -> u64 {
        self.groups.iter().map(|group| group.rebuffers).sum()
    }

    /// Viewers who saw nothing.
    pub(super) fn not_started(&self) -> usize {
        let groups = self.groups.iter();
        groups.map(|group| group.viewers - group.started).sum()
    }

    /// Of all requests that came to an end.
    pub(super) fn error_rate(&self) -> f64 {
        self.errors as f64 / (self.errors + self.segments).max(1) as f64
    }
}

impl Group {
    /// `None` of nobody.
    fn of(rule: Rule, viewers: &[&Viewer<'_>], end: Duration) -> Option<Self> {
        let qualities: Vec<f64> = viewers
            .iter()
            .map(|viewer| viewer.quality.score(viewer.playback.waited(end)))
            .collect();
        let least_quality = qualities.iter().copied().reduce(f64::min)?;
        let mut starts = Latencies::default();
        for viewer in viewers {
            if let Some(took) = viewer.playback.start_time() {
                starts.record(took);
            }
        }
        let playbacks = viewers.iter().map(|viewer| &viewer.playback);
        Some(Self {
            rule,
            viewers: viewers.len(),
            started: starts.count() as usize,
            start_time: starts.summary(),
            rebuffers: playbacks
                .clone()
                .map(|one| u64::from(one.rebuffers()))
                .sum(),
            rebuffer_seconds: playbacks.map(|one| one.rebuffered().as_secs_f64()).sum(),
            mean_quality: qualities.iter().sum::<f64>() / qualities.len() as f64,
            least_quality,
        })
    }
}
