//! An error as one sentence.

use std::error::Error;

/// An error and its causes, from the outside in. What was said already is left out: many an error says its cause itself.
#[must_use]
pub fn in_full(error: &(dyn Error + 'static)) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !sentence.contains(&words) {
            sentence.push_str(": ");
            sentence.push_str(&words);
        }
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::io;

    use super::*;

    /// What it says, and why.
    #[derive(Debug)]
    struct Failed(&'static str, Option<Box<dyn Error>>);

    impl fmt::Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failed {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref()
        }
    }

    #[test]
    fn each_cause_is_said_once() {
        let full = || Box::new(io::Error::other("the disk is full"));
        for (words, said) in [
            (
                "cannot write b",
                "no backup: cannot write b: the disk is full",
            ),
            ("b: the disk is full", "no backup: b: the disk is full"),
        ] {
            let inner = Failed(words, Some(full()));
            let error = Failed("no backup", Some(Box::new(inner)));
            assert_eq!(in_full(&error), said);
        }
        assert_eq!(in_full(&Failed("no backup", None)), "no backup");
    }
}
