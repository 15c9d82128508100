//! Words, numbers and tables in 80 columns.

use std::fmt::Write;

use crate::output::bytes;

/// The widest line.
pub(crate) const COLUMNS: usize = 80;

/// Where the text of a line with a label begins.
const LABEL: usize = 11;

/// A line with a label, or several; nothing if there is nothing to say.
pub(crate) fn labelled(label: &str, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    wrapped(&format!("{label:<LABEL$}{text}"), LABEL)
}

/// Text in lines of at most [`COLUMNS`], all but the first one indented.
pub(crate) fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for (index, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if index > 0 && used + 1 + width > COLUMNS && used > indent {
            let _ = write!(lines, "\n{:indent$}{word}", "");
            used = indent + width;
        } else {
            let blank = if index > 0 { " " } else { "" };
            let _ = write!(lines, "{blank}{word}");
            used += blank.len() + width;
        }
    }
    lines
}

/// The end of a text that is too long: in a path, the end tells more than the beginning.
pub(crate) fn end_of(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(length + 1 - width).collect();
    format!("…{kept}")
}

/// The beginning of a text that is too long.
pub(crate) fn start_of(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{}…", kept.trim_end())
}

/// The parts that say something, each on lines of its own.
pub(crate) fn joined(parts: &[String], between: &str) -> String {
    let said: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    said.join(between)
}

/// Bits per second in three digits or so, as in `1.20 Gbit/s`.
pub(crate) fn rate(bits: u64) -> String {
    let units = [
        (1_000_000_000_000, "Tbit/s"),
        (1_000_000_000, "Gbit/s"),
        (1_000_000, "Mbit/s"),
        (1000, "kbit/s"),
    ];
    let Some((size, name)) = units.into_iter().find(|(size, _)| bits >= *size) else {
        return format!("{bits} bit/s");
    };
    let hundredths = u128::from(bits) * 100 / u128::from(size);
    let (whole, part) = (hundredths / 100, hundredths % 100);
    match whole {
        0..10 => format!("{whole}.{part:02} {name}"),
        10..100 => format!("{whole}.{} {name}", part / 10),
        _ => format!("{whole} {name}"),
    }
}

/// As in `[######--------]  41 %`.
pub(crate) fn bar(done: u64, all: u64) -> String {
    const CELLS: u128 = 40;
    let (done, all) = (u128::from(done.min(all)), u128::from(all.max(1)));
    let full = usize::try_from(done * CELLS / all).unwrap_or(0);
    let percent = done * 100 / all;
    format!(
        "[{}{}] {percent:>3} %",
        "#".repeat(full),
        "-".repeat(40 - full)
    )
}

/// As in `1.20 TiB of 2.90 TiB`.
pub(crate) fn of(done: u64, all: u64) -> String {
    format!("{} of {}", bytes(done), bytes(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_goes_on_under_its_label() {
        let text = "the manifest 1.43 has 400 objects, fewer than half of the 1000 of the last accepted one, 1.42";
        assert_eq!(
            labelled("held", text),
            "held       the manifest 1.43 has 400 objects, fewer than half of the 1000 of the\n\
             \x20          last accepted one, 1.42"
        );
        let word = "a".repeat(100);
        assert_eq!(labelled("x", &word), format!("x          {word}"));
        assert_eq!(labelled("x", ""), "");
    }

    #[test]
    fn rates_have_three_digits() {
        for (bits, text) in [
            (0, "0 bit/s"),
            (999, "999 bit/s"),
            (1000, "1.00 kbit/s"),
            (12_345_678, "12.3 Mbit/s"),
            (412_000_000, "412 Mbit/s"),
            (1_200_000_000, "1.20 Gbit/s"),
            (u64::MAX, "18446744 Tbit/s"),
        ] {
            assert_eq!(rate(bits), text);
        }
    }

    #[test]
    fn bars_and_cuts() {
        assert_eq!(
            bar(1, 4),
            format!("[{}{}]  25 %", "#".repeat(10), "-".repeat(30))
        );
        assert_eq!(bar(9, 4), format!("[{}] 100 %", "#".repeat(40)));
        assert!(bar(0, 0).ends_with("  0 %"));
        assert_eq!(end_of("/title/a.mp4", 6), "…a.mp4");
        assert_eq!(start_of("nobody listens", 8), "nobody…");
        assert_eq!(end_of("/a", 2), "/a");
    }
}
