//! What the tables share.

/// The line of a text that was laid out for readers: without line breaks and the blanks before each line.
pub(crate) fn line(text: &str) -> String {
    text.lines().map(str::trim_start).collect()
}
