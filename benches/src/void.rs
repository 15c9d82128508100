//! Samples that say nothing: taken again, a few times.

use std::fmt;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::process::TICKS_PER_SECOND;

/// So often a sample is taken, until it is not void.
const TRIES: u32 = 12;

/// The most of a sample's time that the host may take from this (virtual) machine: a p99 is made of the slowest hundredth.
const MOST_STOLEN: f64 = 0.005;

/// Why a sample says nothing of the server.
#[derive(Debug)]
pub(crate) struct Void(pub(crate) String);

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "void: {}", self.0)
    }
}

impl std::error::Error for Void {}

/// Takes a sample that is void if the host of a virtual machine took the cores from it meanwhile.
///
/// Errors: of `take`; [`Void`]; `/proc/stat` cannot be read.
pub(crate) fn undisturbed<T>(take: impl FnOnce() -> Result<T>) -> Result<T> {
    let (before, begun) = (stolen_ticks()?, Instant::now());
    let taken = take()?;
    let seconds = (stolen_ticks()? - before) as f64 / TICKS_PER_SECOND;
    let stolen = seconds / begun.elapsed().as_secs_f64();
    if stolen > MOST_STOLEN {
        let why = format!("the host took {:.1} % of a core", stolen * 100.0);
        return Err(Void(why).into());
    }
    Ok(taken)
}

/// "steal" of all cores together, in ticks: the eighth figure of the first line of proc_stat(5).
fn stolen_ticks() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let figure = text.split_ascii_whitespace().nth(8);
    figure
        .and_then(|figure| figure.parse().ok())
        .context("/proc/stat has no figure of stolen time")
}

/// What came of all tries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tried<T> {
    /// None: it stayed void.
    pub(crate) taken: Option<T>,
    /// Why it was taken again.
    pub(crate) voids: Vec<String>,
}

/// Errors: of `take`, all but [`Void`].
pub(crate) fn take_again<T>(mut take: impl FnMut() -> Result<T>) -> Result<Tried<T>> {
    let mut voids = Vec::new();
    for _ in 0..TRIES {
        match take() {
            Ok(taken) => {
                let taken = Some(taken);
                return Ok(Tried { taken, voids });
            }
            Err(error) if error.is::<Void>() => {
                eprintln!("{error:#}");
                voids.push(format!("{error:#}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Tried { taken: None, voids })
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, bail};

    use super::*;

    #[test]
    fn the_time_that_a_host_took_is_known() {
        let before = stolen_ticks().unwrap();
        assert!(stolen_ticks().unwrap() >= before);
    }

    #[test]
    fn only_what_is_void_is_taken_again_and_not_for_ever() {
        fn void<T>() -> Result<T> {
            Err(Void("too late".into())).context("alone")
        }
        let mut tries = 0;
        let second = take_again(|| {
            tries += 1;
            if tries < 2 { void() } else { Ok(tries) }
        });
        let expected = Tried {
            taken: Some(2),
            voids: vec!["alone: void: too late".to_owned()],
        };
        assert_eq!(second.unwrap(), expected);
        let never = take_again(void::<()>).unwrap();
        assert_eq!((never.taken, never.voids.len()), (None, TRIES as usize));
        assert!(take_again(|| -> Result<()> { bail!("no server") }).is_err());
    }
}
