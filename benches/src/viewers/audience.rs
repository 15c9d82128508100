//! Viewers at work: one thread, one [`Watch`], and a list of who wants something when.
//!
//! `Plan` -> [`watch`] -> `Seen`. Each viewer arrives at a random moment, turns to a title by its popularity, somewhere in it, and
//! asks for segment after segment as the buffer has room; at the end of a title comes another one. What fails is counted and asked for again,
//! as players do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use platform::watch::Watch;

use super::playback::Playback;
use super::quality::Quality;
use super::rule::Rule;
use super::seen::Seen;
use super::titles::Titles;
use crate::latency::Latencies;
use crate::load::{Answer, Check, Connection, Random, Target};

/// A segment that failed is asked for again so much later.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the viewers do.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) server: &'a Target,
    pub(super) titles: &'a Titles,
    /// The n-th viewer follows the rule number n, over and over.
    pub(super) rules: &'a [Rule],
    pub(super) viewers: usize,
    /// Of the best rendition.
    pub(super) segment_bytes: u64,
    /// Play-out time of a segment.
    pub(super) segment: Duration,
    /// The buffer that viewers keep.
    pub(super) target: Duration,
    /// Viewers arrive evenly at random within this time from the begin.
    pub(super) arrivals: Duration,
    pub(super) length: Duration,
    pub(super) seed: u64,
}

pub(super) struct Viewer<'a> {
    pub(super) rule: Rule,
    pub(super) playback: Playback,
    pub(super) quality: Quality,
    connection: Option<Connection<'a>>,
    title: usize,
    /// Number of the next segment in the title.
    next: u64,
    /// Rendition and length of the segment under way.
    asked: Option<(usize, u64)>,
}

/// Lets the audience watch for `plan.length`. What is under way then is given up.
///
/// Errors: none of a viewer's, they are counted; titles shorter than a segment.
pub(super) fn watch(plan: &Plan<'_>) -> Result<Seen> {
    let mut audience = Audience::gather(plan)?;
    audience.run()?;
    Ok(audience.seen())
}

struct Audience<'a> {
    plan: &'a Plan<'a>,
    /// Segments in a title.
    segments: u64,
    watch: Watch,
    viewers: Vec<Viewer<'a>>,
    /// Who wants the next segment, and when.
    due: BinaryHeap<Reverse<(Duration, usize)>>,
    random: Random,
    begun: Instant,
    tally: Tally,
}

/// Of all viewers together.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) bytes: u64,
    pub(super) segments: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// How late this program was: for a request that was due, and for the last one of the sockets that were ready together.
    pub(super) lateness: Latencies,
}

impl<'a> Audience<'a> {
    fn gather(plan: &'a Plan<'a>) -> Result<Self> {
        let segments = plan.titles.segments(plan.segment_bytes)?;
        let mut random = Random::new(plan.seed);
        let mut due = BinaryHeap::with_capacity(plan.viewers);
        let mut viewers = Vec::with_capacity(plan.viewers);
        for number in 0..plan.viewers {
            let arrives = plan.arrivals.mul_f64(random.share());
            due.push(Reverse((arrives, number)));
            viewers.push(Viewer {
                rule: plan.rules[number % plan.rules.len()],
                playback: Playback::new(arrives, plan.segment, plan.target),
                quality: Quality::default(),
                connection: None,
                title: plan.titles.choose(&mut random),
                next: random.below(segments),
                asked: None,
            });
        }
        Ok(Self {
            plan,
            segments,
            watch: Watch::new()?,
            viewers,
            due,
            random,
            begun: Instant::now(),
            tally: Tally::default(),
        })
    }

    fn run(&mut self) -> Result<()> {
        loop {
            let now = self.begun.elapsed();
            if now >= self.plan.length {
                return Ok(());
            }
            let next = self.due.peek().map_or(self.plan.length, |next| next.0.0);
            let until = next.min(self.plan.length);
            let ready = self.watch.wait(until.saturating_sub(now))?;
            let turn = self.begun.elapsed();
            for place in 0..ready {
                self.take(self.watch.key(place) as usize);
            }
            if ready > 0 {
                self.tally.lateness.record(self.begun.elapsed() - turn);
            }
            self.ask_all_due();
        }
    }

    /// Takes what has come for a viewer.
    fn take(&mut self, number: usize) {
        let Some(connection) = &mut self.viewers[number].connection else {
            return;
        };
        match connection.advance() {
            Ok(None) => {}
            Ok(Some(Answer::Served)) => self.fetched(number),
            Ok(Some(answer)) => self.failed(number, &anyhow!("{answer:?}")),
            Err(error) => self.failed(number, &error),
        }
    }

    fn fetched(&mut self, number: usize) {
        let now = self.begun.elapsed();
        let viewer = &mut self.viewers[number];
        let Some((rendition, bytes)) = viewer.asked.take() else {
            return;
        };
        viewer.playback.fetched(now);
        viewer.quality.fetched(rendition);
        viewer.next += 1;
        if viewer.next == self.segments {
            viewer.title = self.plan.titles.choose(&mut self.random);
            viewer.next = 0;
        }
        self.due
            .push(Reverse((viewer.playback.wants_at(now), number)));
        self.tally.segments += 1;
        self.tally.bytes += bytes;
    }

    fn failed(&mut self, number: usize, error: &anyhow::Error) {
        let viewer = &mut self.viewers[number];
        viewer.connection = None;
        viewer.asked = None;
        self.tally.errors += 1;
        self.tally
            .first_error
            .get_or_insert_with(|| format!("{error:#}"));
        self.due
            .push(Reverse((self.begun.elapsed() + RETRY_AFTER, number)));
    }

    fn ask_all_due(&mut self) {
        while let Some(&Reverse((at, number))) = self.due.peek() {
            let now = self.begun.elapsed();
            if at > now {
                return;
            }
            self.due.pop();
            self.tally.lateness.record(now - at);
            if let Err(error) = self.ask(number, now) {
                self.failed(number, &error);
            }
        }
    }

    fn ask(&mut self, number: usize, now: Duration) -> Result<()> {
        let plan = self.plan;
        let viewer = &mut self.viewers[number];
        let buffered = viewer.playback.buffered(now);
        let rendition = viewer.rule.choose(buffered, plan.target, plan.segment);
        let segment = plan
            .titles
            .segment(viewer.title, rendition, viewer.next, plan.segment_bytes);
        viewer.asked = Some((rendition, segment.length));
        let kept = viewer.connection.take().filter(|kept| !kept.must_reopen());
        let connection = match kept {
            Some(kept) => viewer.connection.insert(kept),
            None => {
                let opened = Connection::open(plan.server, Check::Length)?;
                let socket = opened.socket().as_fd();
                self.watch.add(socket, number as u64).context("epoll")?;
                viewer.connection.insert(opened)
            }
        };
        connection.request(segment)
    }

    fn seen(mut self) -> Seen {
        let end = self.plan.length;
        for viewer in &mut self.viewers {
            viewer.playback.end(end);
        }
        Seen::of(&self.viewers, self.tally, end)
    }
}

#[cfg(test)]
mod tests;
