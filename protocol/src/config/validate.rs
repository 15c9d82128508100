//! From what is typed to what it means: defaults are filled in, relations are checked. All problems are found, not the first.

mod address;
mod bgp;
mod tier;
mod tls;

use std::path::{Component, Path};

use super::error::Problem;
use super::file::{Written, WrittenAppliance};
use super::locate::{Document, shown};
use super::value::{Auto, OnMiss};
use super::{Appliance, Config, Fill};
use crate::limits::{
    ACCESS_LOG_MIN, ACCESS_LOGS_MAX, PACING_MIN, REPORTS_MISSED, RUN_DIR_MAX_BYTES, SCRUB_RATE_MIN,
    WORKERS_MAX,
};
use crate::paths::Paths;
use crate::units::{BitRate, Interval};

/// Collects problems and finds their lines.
pub(super) struct Findings<'d, 't> {
    document: &'d Document<'t>,
    problems: Vec<Problem>,
}

impl<'d, 't> Findings<'d, 't> {
    pub(super) fn new(document: &'d Document<'t>) -> Self {
        Self {
            document,
            problems: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Something is wrong with the key at `path` (`tier.1.stripe_unit`).
    fn add(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            line: Some(self.document.line_of(path)),
            key: shown(path),
            message: message.into(),
        });
    }

    fn line_of(&self, path: &str) -> usize {
        self.document.line_of(path)
    }
}

/// The meaning of the file. What is wrong is in `findings`; with findings, the value is of no use.
pub(super) fn resolve(written: Written, paths: &Paths, findings: &mut Findings<'_, '_>) -> Config {
    let tiers = tier::resolve(written.tier, findings);
    let config = Config {
        appliance: appliance(written.appliance, paths, findings),
        listen: written.listen,
        tls: written.tls,
        workers: written.workers,
        tiers,
        serve: written.serve,
        log: written.log,
        control: written.control,
        fill: written.fill,
        scrub: written.scrub,
        steering: written.steering,
        bgp: written.bgp,
    };
    address::listen(&config, findings);
    address::steering(&config, findings);
    bgp::bgp(&config, findings);
    tls::tls(&config, findings);
    workers(&config, findings);
    serve(&config, findings);
    pacing(&config, findings);
    log(&config, findings);
    control(&config, findings);
    fill(&config, findings);
    scrub(&config, findings);
    config
}

/// The files that the configuration names are there. Whether they can be read is the business of the program that reads them;
/// certificates and keys are the daemon's alone, and may be where no other program sees them.
pub(super) fn named_files(config: &Config, findings: &mut Findings<'_, '_>) {
    let mut look = |key: &str, path: &Path| {
        let missing = std::fs::metadata(path)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if missing {
            findings.add(
                key,
                format!(
                    "\"{}\" does not exist; allowed: a file that is there",
                    path.display()
                ),
            );
        }
    };
    let Some(control) = &config.control else {
        return;
    };
    for (index, key) in control.keys.iter().enumerate() {
        look(&format!("control.keys.{index}"), key);
    }
    let own = control.client.as_ref();
    let origin_ca = config
        .fill
        .as_ref()
        .and_then(|fill| fill.origin_ca.as_ref());
    for (key, file) in [
        ("control.token_file", control.token_file.as_ref()),
        ("control.ca", control.ca.as_ref()),
        ("control.client.cert", own.map(|own| &own.cert)),
        ("control.client.key", own.map(|own| &own.key)),
        ("fill.origin_ca", origin_ca),
    ] {
        if let Some(file) = file {
            look(key, file);
        }
    }
}

fn appliance(
    written: WrittenAppliance,
    paths: &Paths,
    findings: &mut Findings<'_, '_>,
) -> Appliance {
    name(&written.id, "appliance.id", findings);
    if let Some(site) = &written.site {
        name(site, "appliance.site", findings);
    }
    let site = written
        .site
        .unwrap_or_else(|| match written.id.split_once('.') {
            Some((_, site)) => site.to_owned(),
            None => written.id.clone(),
        });
    let appliance = Appliance {
        id: written.id,
        site,
        state_dir: written.state_dir.unwrap_or_else(|| paths.state_dir.into()),
        run_dir: written.run_dir.unwrap_or_else(|| paths.run_dir.into()),
    };
    absolute(&appliance.state_dir, "appliance.state_dir", findings);
    absolute(&appliance.run_dir, "appliance.run_dir", findings);
    let length = appliance.run_dir.as_os_str().len();
    if length > RUN_DIR_MAX_BYTES {
        findings.add(
            "appliance.run_dir",
            format!("has {length} bytes; allowed: {RUN_DIR_MAX_BYTES}, as the names of sockets in it are bounded"),
        );
    }
    appliance
}

/// Names go into metrics, file names and BGP tools: labels of letters, digits and dashes, joined by dots.
fn name(text: &str, path: &str, findings: &mut Findings<'_, '_>) {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        findings.add(
            path,
            format!("\"{text}\" is not a name; allowed: letters, digits, \"-\" and \"_\", in parts joined by dots"),
        );
    }
}

fn absolute(folder: &Path, path: &str, findings: &mut Findings<'_, '_>) {
    let plain = folder
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !folder.is_absolute() || !plain {
        findings.add(
            path,
            format!(
                "\"{}\" is not a full path; allowed: a path from \"/\" on, without \"..\"",
                folder.display()
            ),
        );
    }
}

fn workers(config: &Config, findings: &mut Findings<'_, '_>) {
    if let Auto::Fixed(count) = config.workers.count
        && !(1..=WORKERS_MAX).contains(&count)
    {
        findings.add(
            "workers.count",
            format!("is {count}; allowed: \"auto\" or 1 to {WORKERS_MAX}"),
        );
    }
    let Auto::Fixed(in_flight) = config.workers.in_flight else {
        return;
    };
    let least: u64 = config
        .tiers
        .iter()
        .map(|tier| 2 * tier.read_unit.bytes() * tier.devices.len() as u64)
        .sum();
    if in_flight.bytes() < least {
        let least = crate::units::ByteSize::from_bytes(least);
        findings.add(
            "workers.in_flight",
            format!("is {in_flight}; allowed: \"auto\" or at least two read units of every device, here {least}"),
        );
    }
}

fn serve(config: &Config, findings: &mut Findings<'_, '_>) {
    let serve = &config.serve;
    if let OnMiss::Redirect(url) = &serve.on_miss {
        http_url(url, "serve.on_miss", findings);
    }
    for (key, most) in [
        ("serve.max_connections", serve.max_connections),
        (
            "serve.max_connections_per_address",
            serve.max_connections_per_address,
        ),
    ] {
        if most.fixed() == Some(0) {
            findings.add(key, "is 0; allowed: \"auto\" or 1 and more");
        }
    }
    for (key, interval) in [
        ("serve.head_timeout", serve.head_timeout),
        ("serve.idle_timeout", serve.idle_timeout),
        ("serve.send_timeout", serve.send_timeout),
        ("serve.min_rate_window", serve.min_rate_window),
        ("steering.hint_lifetime", config.steering.hint_lifetime),
    ] {
        if !(Interval::from_seconds(1)..=Interval::from_seconds(3600)).contains(&interval) {
            findings.add(key, format!("is {interval}; allowed: 1 s to 1 h"));
        }
    }
    if serve.stop_bound > Interval::from_seconds(3600) {
        findings.add(
            "serve.stop_bound",
            format!("is {}; allowed: 0 s to 1 h", serve.stop_bound),
        );
    }
    let drain = config.steering.drain_bound;
    if !(Interval::from_seconds(1)..=Interval::from_seconds(86_400)).contains(&drain) {
        findings.add(
            "steering.drain_bound",
            format!("is {drain}; allowed: 1 s to 1 d"),
        );
    }
}

fn pacing(config: &Config, findings: &mut Findings<'_, '_>) {
    let (pacing, min_rate) = (config.serve.pacing, config.serve.min_rate);
    if let Some(rate) = pacing.rate
        && rate < PACING_MIN
    {
        findings.add(
            "serve.pacing.rate",
            format!("is {rate}; allowed: {PACING_MIN} or more, or leave it out for no bound"),
        );
    }
    // Whoever is held to a rate must not be let go for being slow.
    let slowest = if pacing.cmcd {
        Some(PACING_MIN)
    } else {
        pacing.rate
    };
    let most = slowest.map(|rate| BitRate::from_bits_per_second(rate.bits_per_second() / 2));
    if let Some(most) = most
        && min_rate > most
    {
        findings.add(
            "serve.min_rate",
            format!("is {min_rate}; allowed with this serve.pacing: at most {most}"),
        );
    }
}

fn log(config: &Config, findings: &mut Findings<'_, '_>) {
    let Some(access) = &config.log.access else {
        return;
    };
    absolute(&access.path, "log.access.path", findings);
    if !(1..=100).contains(&access.sample.percent()) {
        findings.add(
            "log.access.sample",
            format!("is {}; allowed: 1 % to 100 %", access.sample),
        );
    }
    if access.rotate.bytes() != 0 && access.rotate < ACCESS_LOG_MIN {
        findings.add(
            "log.access.rotate",
            format!(
                "is {}; allowed: {ACCESS_LOG_MIN} or more, or \"0 B\" to leave it to another program",
                access.rotate
            ),
        );
    }
    if access.keep > ACCESS_LOGS_MAX {
        findings.add(
            "log.access.keep",
            format!("is {}; allowed: 0 to {ACCESS_LOGS_MAX}", access.keep),
        );
    }
}

fn control(config: &Config, findings: &mut Findings<'_, '_>) {
    let Some(control) = &config.control else {
        return;
    };
    http_url(&control.url, "control.url", findings);
    if control.keys.is_empty() {
        findings.add(
            "control.keys",
            "is empty; allowed: one or more files with Ed25519 public keys",
        );
    }
    let least = control.report_interval.times(REPORTS_MISSED);
    if let Some(strict) = control.strict.filter(|strict| *strict < least) {
        findings.add(
            "control.strict",
            format!("is {strict}; allowed: at least three times report_interval, here {least}"),
        );
    }
}

fn http_url(url: &str, path: &str, findings: &mut Findings<'_, '_>) {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let clean = url.bytes().all(|byte| byte.is_ascii_graphic());
    if !clean || host.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
        findings.add(
            path,
            format!("\"{url}\" is not a URL; allowed: https://HOST/.. or http://HOST/.."),
        );
    }
}

fn fill(config: &Config, findings: &mut Findings<'_, '_>) {
    let Some(fill) = &config.fill else { return };
    if !is_window(&fill.window) {
        findings.add(
            "fill.window",
            format!(
                "\"{}\" is not a window; allowed: HH:MM-HH:MM with two different times; \"00:00-24:00\" is always open",
                fill.window
            ),
        );
    }
    if config.control.is_none() {
        findings.add(
            "fill",
            "there is no [control]; allowed: a section [control], which says what is to be fetched",
        );
    }
    let zone = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '+' | '-');
    if fill.timezone.is_empty() || !fill.timezone.chars().all(zone) {
        findings.add(
            "fill.timezone",
            format!(
                "\"{}\" is not a time zone; allowed: a name as in \"Europe/Berlin\"",
                fill.timezone
            ),
        );
    }
    if fill.rate.is_some_and(|rate| rate.bits_per_second() == 0) {
        findings.add(
            "fill.rate",
            "is 0 bit/s; allowed: more, or leave it out to fetch nothing",
        );
    }
    fill_bounds(fill, findings);
}

fn scrub(config: &Config, findings: &mut Findings<'_, '_>) {
    let (rate, every) = (config.scrub.rate, config.scrub.every);
    if rate < SCRUB_RATE_MIN {
        findings.add(
            "scrub.rate",
            format!("is {rate}; allowed: {SCRUB_RATE_MIN} or more; `ocactl scrub pause` ends it for a while"),
        );
    }
    if every < Interval::from_seconds(1) {
        findings.add("scrub.every", format!("is {every}; allowed: 1 s or more"));
    }
}

fn fill_bounds(fill: &Fill, findings: &mut Findings<'_, '_>) {
    if fill.high_watermark.percent() > 99 {
        findings.add("fill.high_watermark", "is above 99 %; allowed: 2 % to 99 %");
    }
    if fill.low_watermark >= fill.high_watermark || fill.low_watermark.percent() == 0 {
        findings.add(
            "fill.low_watermark",
            format!(
                "is {}; allowed: 1 % to less than high_watermark, which is {}",
                fill.low_watermark, fill.high_watermark
            ),
        );
    }
    if fill.max_evict_per_day.percent() > 100 {
        findings.add("fill.max_evict_per_day", "is above 100 %");
    }
    if !(1..=256).contains(&fill.parallel) {
        findings.add("fill.parallel", "is not between 1 and 256");
    }
    for (key, interval) in [
        ("fill.manifest_interval", fill.manifest_interval),
        ("fill.takedown_interval", fill.takedown_interval),
    ] {
        if interval.duration() < std::time::Duration::from_millis(100) {
            findings.add(key, format!("is {interval}; allowed: 100 ms or more"));
        }
    }
    // What is taken down must be gone within a minute, with some seconds to carry it out.
    if fill.takedown_interval > Interval::from_seconds(50) {
        findings.add(
            "fill.takedown_interval",
            format!("is {}; allowed: at most 50 s", fill.takedown_interval),
        );
    }
}

fn is_window(text: &str) -> bool {
    let ends = text
        .split_once('-')
        .map(|(from, to)| (from.trim(), to.trim()));
    match ends {
        Some(("00:00", "24:00")) => true,
        Some((from, to)) => {
            let (from, to) = (minute_of_day(from), minute_of_day(to));
            from.is_some() && to.is_some() && from != to
        }
        None => false,
    }
}

fn minute_of_day(text: &str) -> Option<u32> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let (hour, minute) = (
        two_digits(hour).then_some(hour)?,
        two_digits(minute).then_some(minute)?,
    );
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}
