//! `oca-bench isolation`: a slow, frozen or failing device must not be felt by viewers of another one.
//!
//! [`place`] -> [`case`] -> pairs of samples, alone and beside -> [`report`]: what was missed ends the program with an error.
//!
//! Two cores: the server's, and that of clients and fill. What is hot lies on a healthy device and in memory; what is cold on the ill
//! one. In a pair, the hot load runs alone, then again while the device is ill, cold clients ask for what is on it, and perhaps a fill
//! writes to it. A sample is void if the device was not as ill as it was to be ([`place::Proof`]), the load generator too late for some
//! of its requests, or, of ours, the host of this machine took the cores from it: it is taken again a few times ([`crate::void`]), and if it
//! stays void, that is an error at the end.
//!
//! Linux and root only: loop devices, control groups, FUSE, mount namespaces.

mod case;
pub(crate) mod disk;
mod fill;
mod layout;
mod mirror;
pub(crate) mod place;
mod probe;
mod report;
mod throttle;
mod trace;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::load::crowd::{Choice, Crowd, Plan, Tally};
use crate::load::{self, Check, Load, MOST_MISSED, Rate, Until, Window};
use crate::server::{self, Kind, Server, Setting};
use crate::setup::{self, Setup};
use crate::tls::{KeyKind, Security, Suite};
use crate::void::{Void, take_again, undisturbed};
use case::{Case, What};
use fill::Fill;
use layout::{Eight, Mishap};
use place::{Ground, Place};
use report::{Pair, Row, Trial};
use trace::{Longest, Trace};

/// The hot load.
const HOT_BYTES: u64 = 64 << 10;
const HOT_CONNECTIONS: usize = 8;

/// What a cold client asks for at once.
const COLD_BYTES: u64 = 256 << 10;

/// Before a peer is looked at: what it had in memory or in hand when the device fell ill is not what this is about. Ours is looked at from
/// the first moment.
const PEER_SETTLES: Duration = Duration::from_millis(300);

/// After a spell, all is as before within this.
const CALM_BOUND: Duration = Duration::from_secs(40);

/// Traced runs, until in one of them no call was too long.
const TRACES: u32 = 3;

/// How often a fill tries again when the device answers with errors.
const TRIES_PER_SECOND: u32 = 200;

/// With a fill beside, or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Beside {
    Fill,
    NoFill,
}

/// `oca-bench isolation`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What is wrong with the one device that is cold; none: nothing
    #[arg(long, value_delimiter = ',', num_args = 0.., default_values = ["slow", "seeks", "frozen", "silent", "errors", "state-silent", "state-errors", "state-truncated"])]
    cases: Vec<Case>,
    /// One of eight devices of one tier, of ours; none: not at all
    #[arg(long, value_delimiter = ',', num_args = 0.., default_values = ["slow", "frozen", "silent", "removed"])]
    eight: Vec<Mishap>,
    /// Which servers
    #[arg(long, value_delimiter = ',', default_values = ["nginx", "nginx-threads", "lighttpd", "oca-uring", "oca-epoll"])]
    servers: Vec<Kind>,
    /// Cold clients
    #[arg(long, value_delimiter = ',', default_values = ["32", "512"])]
    clients: Vec<usize>,
    /// Whether a fill writes to the device
    #[arg(long, value_delimiter = ',', default_values = ["no-fill", "fill"])]
    beside: Vec<Beside>,
    /// Pairs of samples of ours; the median of their ratios counts
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// The same of others: they are there for contrast
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    peer_pairs: u32,
    /// Hot requests asked for, of what the server serves alone as fast as it can; 1: all, as fast as it can
    #[arg(long, default_value_t = 0.5, value_parser = setup::share)]
    share: f64,
    /// Length of one sample; twice as long where the device hangs
    #[arg(long, default_value_t = 0.6, value_parser = setup::seconds)]
    seconds: f64,
    /// TLS 1.3 with this suite, in all of it
    #[arg(long)]
    tls: Option<Suite>,
    #[command(flatten)]
    setup: Setup,
    /// A new folder for devices, contents and configurations (8 GiB of memory at most are mounted there); default: one among the temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    place::enter_namespace()?;
    let ground = Ground::make(arguments.folder.clone())?;
    let make = |suite| Security::make(&ground.keys(), suite, KeyKind::Ecdsa);
    let run = Run {
        security: arguments.tls.map(make).transpose()?,
        arguments,
        programs: arguments.setup.programs()?,
        cores: arguments.setup.cores()?,
    };
    // All that is not a server stays on the clients' core.
    platform::cpu::pin_to_core(run.cores.1)?;
    let mut rows = Vec::new();
    for what in [What::Disk, What::Mirror, What::State] {
        let cases = arguments.cases.iter().copied();
        let cases: Vec<Case> = cases.filter(|case| case.what() == what).collect();
        if !cases.is_empty() {
            rows.extend(run.at(&Place::make(&ground, what)?, what, &cases)?);
        }
    }
    let mut eights = Vec::new();
    for &mishap in &arguments.eight {
        let ours = arguments.servers.iter().filter(|kind| kind.is_ours());
        for &kind in ours {
            let about = || format!("{}, one of eight {mishap:?}", kind.name());
            let tried = take_again(|| Eight::make(&ground, mishap)?.run(kind, &run));
            let row = tried.with_context(about)?.taken;
            eights.push(row.context("stayed void").with_context(about)?);
            eprintln!("{}", about());
        }
    }
    drop(ground);
    report::print(&rows);
    layout::print(&eights);
    if let Some(suite) = arguments.tls {
        println!("TLS 1.3, {}, certificate ECDSA P-256", suite.name());
    }
    let all = serde_json::json!({ "suite": arguments.tls, "two": rows, "eight": eights });
    arguments.setup.write(&all)?;
    let mut misses = report::misses(&rows);
    misses.extend(layout::misses(&eights));
    ensure!(misses.is_empty(), "missed:\n  {}", misses.join("\n  "));
    Ok(())
}

struct Run<'a> {
    arguments: &'a Arguments,
    programs: PathBuf,
    security: Option<Security>,
    /// Of the servers, and of the clients.
    cores: (usize, usize),
}

impl Run<'_> {
    /// All servers, one after another.
    fn at(&self, place: &Place<'_>, what: What, cases: &[Case]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let concerned = |kind: &&Kind| kind.is_ours() || what != What::State;
        for &kind in self.arguments.servers.iter().filter(concerned) {
            let appliance = place.appliance(kind);
            let objects = [&place.hot[..], &place.cold].concat();
            let mut server = server::start(
                kind,
                &Setting {
                    folder: &place.folder.join(kind.short()),
                    content: &place.content,
                    objects: &objects,
                    place: &self.cores.0.into(),
                    host: Ipv4Addr::LOCALHOST.into(),
                    programs: &self.programs,
                    tls: self.security.as_ref(),
                    appliance: Some(&appliance),
                },
            )?;
            server.warm(&place.hot)?;
            for &case in cases {
                self.with(place, &mut server, case, &mut rows)
                    .with_context(|| format!("{}, {}", kind.name(), case.name()))?;
            }
        }
        Ok(rows)
    }

    /// One server and one case: all numbers of clients, with and without a fill.
    fn with(
        &self,
        place: &Place<'_>,
        server: &mut Server,
        case: Case,
        rows: &mut Vec<Row>,
    ) -> Result<()> {
        // The state disk has no viewers, and nobody fills it.
        let (clients, besides) = match case.what() {
            What::State => (&[0][..], &[Beside::NoFill][..]),
            What::Disk | What::Mirror => (&self.arguments.clients[..], &self.arguments.beside[..]),
        };
        for &cold_clients in clients {
            for &beside in besides {
                let trial = Trial {
                    server: server.kind,
                    case,
                    cold_clients,
                    fill: beside == Beside::Fill,
                };
                let begun = Instant::now();
                let row = self.row(place, server, trial);
                // Half an hour of others is not lost for it.
                rows.push(row.unwrap_or_else(|error| Row::broken(trial, &error)));
                eprintln!("{trial}: {:.0} s", begun.elapsed().as_secs_f64());
            }
        }
        Ok(())
    }

    fn row(&self, place: &Place<'_>, server: &mut Server, trial: Trial) -> Result<Row> {
        let tries = (trial.case == Case::Errors).then_some(TRIES_PER_SECOND);
        let start = || Fill::start(place.patient.mount(), self.cores.1, tries);
        let fill = trial.fill.then(start).transpose()?;
        let mut trying = Trying {
            run: self,
            place,
            server,
            trial,
            fill,
            rate: Rate::Full,
        };
        if self.arguments.share < 1.0 {
            trying.await_hot()?;
            let full = trying.look()?.requests_per_second;
            ensure!(
                full > 0.0,
                "no hot request was answered alone: there is no rate to take a share of"
            );
            trying.rate = Rate::PerSecond(full * self.arguments.share);
        }
        let ours = trial.server.is_ours();
        let count = if ours {
            self.arguments.pairs
        } else {
            self.arguments.peer_pairs
        };
        let mut row = Row::of(trial);
        for _ in 0..count {
            let pair = row.note(take_again(|| trying.pair())?);
            row.pairs.extend(pair);
        }
        if ours {
            row.longest_call = row.note(take_again(|| trying.trace())?);
        }
        drop(trying);
        let ended = server.process.ended()?;
        row.died = ended.map(|status| format!("the server has ended: {status}"));
        Ok(row)
    }

    /// A device that hangs is looked at for longer: until it is no longer trusted, and on.
    fn length(&self, case: Case) -> Duration {
        let length = Duration::from_secs_f64(self.arguments.seconds);
        if case.hangs() { 2 * length } else { length }
    }
}

struct Trying<'a> {
    run: &'a Run<'a>,
    place: &'a Place<'a>,
    server: &'a Server,
    trial: Trial,
    fill: Option<Fill>,
    /// Of the hot load.
    rate: Rate,
}

impl Trying<'_> {
    fn pair(&self) -> Result<Pair> {
        let crowd = self.crowd()?;
        if !self.trial.server.is_ours() {
            self.await_hot()?;
            self.place.forget()?;
        }
        let ours = self.trial.server.is_ours();
        let alone = if ours {
            undisturbed(|| self.look())
        } else {
            self.look()
        }?;
        let mut spell = self.fall_ill()?;
        crowd.ask();
        let beside = if ours {
            undisturbed(|| self.look())
        } else {
            std::thread::sleep(PEER_SETTLES);
            // A peer may well refuse, and that is nothing less than to be silent.
            Ok(self.look().unwrap_or(Window {
                requests_per_second: 0.0,
                worst: self.run.length(self.trial.case),
                missed_share: 0.0,
            }))
        };
        let proof = spell.proof();
        let cold = self.calm(crowd, spell)?;
        let pair = Pair::new(alone, beside?, proof?, cold);
        let missed = pair.missed_share();
        if missed > MOST_MISSED {
            let why = format!(
                "the generator missed {:.1} % of the requests",
                missed * 100.0
            );
            return Err(Void(why).into());
        }
        Ok(pair)
    }

    fn fall_ill(&self) -> Result<place::Spell<'_, '_>> {
        let spell = self.place.fall_ill(self.trial.case, self.fill.as_ref());
        if spell.is_err() {
            // The next try begins with a device that is well.
            self.rest()?;
            self.await_well()?;
        }
        spell
    }

    /// The longest call of a worker while the device is ill. Somebody else may have taken the core from it in the middle of a call; a call
    /// that waits for a disk does so each time.
    fn trace(&self) -> Result<Longest> {
        let mut shortest: Option<Longest> = None;
        for _ in 0..TRACES {
            let longest = self.trace_once()?;
            if shortest
                .as_ref()
                .is_none_or(|it| longest.milliseconds < it.milliseconds)
            {
                shortest = Some(longest);
            }
            if shortest
                .as_ref()
                .is_some_and(|it| it.milliseconds < report::MOST_CALL_MS)
            {
                break;
            }
        }
        shortest.context("nothing was traced")
    }

    fn trace_once(&self) -> Result<Longest> {
        let crowd = self.crowd()?;
        let mut spell = self.fall_ill()?;
        let folder = self.place.folder.join(self.trial.server.short());
        let trace = Trace::attach(self.server.process.id(), self.run.cores.1, &folder)?;
        crowd.ask();
        let seen = undisturbed(|| self.look());
        let (longest, proof) = (trace.end(), spell.proof());
        self.calm(crowd, spell)?;
        seen?;
        proof?;
        longest
    }

    /// A peer may still be busy with the cold requests of the last time.
    fn await_hot(&self) -> Result<()> {
        let begun = Instant::now();
        while self.look_for(PEER_SETTLES)?.requests_per_second == 0.0 {
            ensure!(
                begun.elapsed() < CALM_BOUND,
                "nothing hot after {CALM_BOUND:?}"
            );
        }
        Ok(())
    }

    /// Connected, and silent.
    fn crowd(&self) -> Result<Crowd> {
        Crowd::gather(Plan {
            target: self.server.target.clone(),
            viewers: self.trial.cold_clients,
            objects: self.place.cold.clone(),
            choice: Choice::Any,
            range_bytes: COLD_BYTES,
            pace: None,
        })
    }

    fn look(&self) -> Result<Window> {
        self.look_for(self.run.length(self.trial.case))
    }

    fn look_for(&self, length: Duration) -> Result<Window> {
        let load = Load {
            target: &self.server.target,
            objects: &self.place.hot,
            connections: HOT_CONNECTIONS,
            range_bytes: HOT_BYTES,
            rate: self.rate,
            until: Until::Elapsed(length),
            check: Check::Length,
        };
        load::look(&load, length)
    }

    /// Ends the spell, and waits until all is as before. What came of the cold requests.
    fn calm(&self, mut crowd: Crowd, spell: place::Spell<'_, '_>) -> Result<Tally> {
        crowd.hush();
        self.rest()?;
        spell.end()?;
        // nginx may have lost a connection for good; its next pair has others.
        if self.trial.server.is_ours() {
            await_calm(
                "cold requests are not answered",
                || Ok(crowd.pending() == 0),
            )?;
        }
        self.await_well()?;
        let tallies = crowd.take();
        crowd.leave()?;
        Ok(tallies.into_iter().fold(Tally::default(), Tally::join))
    }

    fn rest(&self) -> Result<()> {
        self.fill.as_ref().map_or(Ok(()), Fill::rest)
    }

    fn await_well(&self) -> Result<()> {
        await_calm("the daemon does not trust its devices", || {
            self.server.devices_are_well()
        })
    }
}

fn await_calm(else_say: &str, is_calm: impl Fn() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !is_calm()? {
        ensure!(
            begun.elapsed() < CALM_BOUND,
            "{else_say} after {CALM_BOUND:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
