//! A viewer that asks at a steady rate, on one connection: a request that is late because of the one before counts from when it was due.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use platform::watch::Watch;

use super::RANGE_BYTES;
use crate::latency::{Latencies, Summary};
use crate::load::{Answer, Check, Connection, Object, Random, SILENCE};

/// Asks for ranges of `objects` for `length`, so many in a second. How long they took, and how many there were in a second.
///
/// Errors: a connection that fails, a wrong response, silence.
pub(super) fn watch(
    address: SocketAddr,
    objects: &[Object],
    per_second: u32,
    length: Duration,
) -> Result<(Summary, f64)> {
    let mut connection = Connection::open(address, Check::Length)?;
    let mut watch = Watch::new()?;
    watch.add(connection.socket().as_fd(), 0)?;
    let (mut random, mut latencies) = (Random::new(0x0CA), Latencies::default());
    let (begun, interval) = (Instant::now(), Duration::from_secs(1) / per_second);
    let mut due = begun;
    while begun.elapsed() < length {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let object = &objects[random.below(objects.len() as u64) as usize];
        let unit = random.below(object.size / RANGE_BYTES);
        connection.request(object, unit * RANGE_BYTES, RANGE_BYTES)?;
        match answer(&mut connection, &mut watch)? {
            Answer::Served => latencies.record(due.elapsed()),
            other => bail!("{other:?} instead of the range"),
        }
        due += interval;
    }
    let requests = latencies.count() as f64 / begun.elapsed().as_secs_f64();
    Ok((latencies.summary(), requests))
}

fn answer(connection: &mut Connection<'_>, watch: &mut Watch) -> Result<Answer> {
    loop {
        if watch.wait(SILENCE)? == 0 {
            bail!("the server has sent nothing for {SILENCE:?}");
        }
        let answer = connection.advance().context("a viewer")?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
}
