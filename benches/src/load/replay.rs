//! The requests of a trace, in its order, on some connections.

use std::os::fd::AsFd;

use anyhow::{Result, bail, ensure};
use platform::watch::Watch;

use super::connection::{Answer, Connection, Range};
use super::{Check, SILENCE, Target};

/// Asks for all of `ranges` on so many connections and returns when the last byte has come.
///
/// Errors: a connection that fails, a wrong response, silence.
pub(crate) fn replay<'a>(
    target: &Target,
    connections: usize,
    mut ranges: impl Iterator<Item = Range<'a>>,
) -> Result<()> {
    let mut watch = Watch::new()?;
    let mut open = Vec::with_capacity(connections);
    let mut pending = 0;
    for range in ranges.by_ref().take(connections) {
        let mut connection = Connection::open(target, Check::Length)?;
        watch.add(connection.socket().as_fd(), open.len() as u64)?;
        connection.request(range)?;
        open.push(connection);
        pending += 1;
    }
    while pending > 0 {
        let count = watch.wait(SILENCE)?;
        ensure!(count > 0, "the server has sent nothing for {SILENCE:?}");
        for ready in 0..count {
            let connection = &mut open[watch.key(ready) as usize];
            match connection.advance()? {
                None => continue,
                Some(Answer::Served) => {}
                Some(other) => bail!("{other:?} instead of what was asked for"),
            }
            ensure!(!connection.must_reopen(), "the server closes connections");
            match ranges.next() {
                Some(range) => connection.request(range)?,
                None => pending -= 1,
            }
        }
    }
    Ok(())
}
