//! Standard output: what cannot be written there is an error, but for a reader who has gone, as in `.. | head`.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// One line, or several.
///
/// # Errors
/// What the system says, as of a file on a full disk.
pub fn line(text: impl Display) -> io::Result<()> {
    written(writeln!(io::stdout().lock(), "{text}"))
}

/// As it is.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// What came of writing there.
///
/// # Errors
/// As of [`line()`].
pub fn written(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match error.kind() {
        ErrorKind::BrokenPipe => Ok(()),
        kind => Err(io::Error::new(
            kind,
            format!("cannot write to standard output: {error}"),
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_who_has_gone_is_no_error_and_a_full_disk_is_one() {
        assert!(written(Err(ErrorKind::BrokenPipe.into())).is_ok());
        let full = written(Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let said = full.to_string();
        assert!(
            said.starts_with("cannot write to standard output: "),
            "{said}"
        );
    }
}
