//! Samples that say nothing: taken again, a few times.

use std::fmt;

use anyhow::Result;

/// So often a sample is taken, until it is not void.
const TRIES: u32 = 4;

/// Why a sample says nothing of the server.
#[derive(Debug)]
pub(crate) struct Void(pub(crate) String);

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "void: {}", self.0)
    }
}

impl std::error::Error for Void {}

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
