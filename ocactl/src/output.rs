//! What a command found: as a table for a reader, as JSON for a program.

use std::io::{self, IsTerminal};

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets,
};
use serde::Serialize;

use crate::error::Failure;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Tables and sentences.
    Text,
    /// One JSON document.
    Json,
}

/// Something that can be printed both ways.
pub(crate) trait Report: Serialize {
    /// For a reader; without a newline at the end.
    fn text(&self) -> String;
}

/// Prints it to standard output.
pub(crate) fn print(format: Format, report: &impl Report) -> Result<(), Failure> {
    let text = match format {
        Format::Text => report.text(),
        Format::Json => serde_json::to_string_pretty(report)?,
    };
    line(&text)
}

/// One line, or several. A reader that has gone (`ocactl .. | head`) is no error.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    Ok(command_line::out::line(text)?)
}

/// A table without borders, so that columns can be cut with other tools. Long cells wrap on a terminal only.
pub(crate) fn table<const N: usize>(headings: [&str; N]) -> Table {
    let width = if io::stdout().is_terminal() {
        Table::new().width()
    } else {
        None
    };
    table_for(width, headings)
}

/// Cells wrap where the terminal has room for the headings at least: a letter a line is worse than lines that the terminal wraps.
fn table_for<const N: usize>(terminal: Option<u16>, headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings);
    let least = headings.map(|heading| heading.len() as u16 + PADDING);
    let wraps = terminal.filter(|width| *width >= least.iter().sum());
    table.set_content_arrangement(match wraps {
        Some(_) => ContentArrangement::Dynamic,
        None => ContentArrangement::Disabled,
    });
    if let Some(width) = wraps {
        table.set_width(width);
        let columns = table.column_iter_mut().zip(least);
        columns.for_each(|(column, least)| {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
        });
    }
    table
}

/// Blanks beside a cell.
const PADDING: u16 = 2;

/// The table as text, without blanks at the ends of lines.
pub(crate) fn rendered(table: &Table) -> String {
    let text = table.to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n")
}

/// A cell for a number.
pub(crate) fn number(value: impl ToString) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}

/// Bytes in three digits or so, as in `1.4 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Seconds as in `3 d 4 h`, the two largest parts.
pub(crate) fn seconds(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = units
        .iter()
        .position(|(size, _)| seconds >= *size)
        .unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, name) in units.iter().skip(first).take(2) {
        if rest >= *size || parts.is_empty() {
            parts.push(format!("{} {name}", rest / size));
        }
        rest %= size;
    }
    parts.join(" ")
}

/// Seconds since 1970 as a date, as in `2026-11-21 04:20:00 UTC`.
pub(crate) fn utc(since_1970: u64) -> String {
    let (days, second) = (since_1970 / 86_400, since_1970 % 86_400);
    // Days from civil, turned round: years begin in March, so that the leap day is the last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02} UTC",
        second % 60
    )
}

/// "1 file", "2 files".
pub(crate) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_the_civil_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_790_000_000, "2026-09-21 14:13:20 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn cells_wrap_on_a_terminal_that_has_room_for_the_headings() {
        let lines = |width| {
            let mut table = table_for(width, ["DEVICE", "STATE", "CAUSE"]);
            table.add_row(vec![
                "/srv/oca/nvme0",
                "failed",
                "it has not answered for 2 s",
            ]);
            let text = rendered(&table);
            assert!(text.starts_with("DEVICE"), "{text}");
            text.lines().count()
        };
        for (width, expected) in [(None, 2), (Some(200), 2), (Some(12), 2)] {
            assert_eq!(lines(width), expected, "{width:?}");
        }
        assert!((3..8).contains(&lines(Some(36))), "{}", lines(Some(36)));
    }

    #[test]
    fn seconds_are_said_in_two_parts() {
        for (number, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3601, "1 h"),
            (7380, "2 h 3 min"),
            (90_061, "1 d 1 h"),
        ] {
            assert_eq!(seconds(number), text);
        }
    }
}
