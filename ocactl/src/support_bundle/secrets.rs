//! What must not leave the machine: the words in the files that the configuration names as secret, and what looks like a password in
//! any text.

use std::path::PathBuf;

use protocol::config::Config;

use crate::doctor;

/// What stands in the place of a secret.
const REMOVED: &str = "REMOVED";

/// A shorter line is no secret, and would be found everywhere.
const LEAST_CHARACTERS: usize = 6;

/// What goes before a secret in logs and addresses.
const MARKS: [&str; 4] = ["bearer ", "token=", "password=", "secret="];

pub(super) struct Secrets {
    words: Vec<String>,
    /// Files that could not be read.
    pub(super) unread: Vec<PathBuf>,
}

impl Secrets {
    /// The secrets of an appliance.
    pub(super) fn of(config: Option<&Config>) -> Self {
        let mut secrets = Self {
            words: Vec::new(),
            unread: Vec::new(),
        };
        for file in config.map(doctor::secret_files).unwrap_or_default() {
            match std::fs::read_to_string(file) {
                Ok(text) => secrets.words.extend(words(&text)),
                Err(_) => secrets.unread.push(file.to_path_buf()),
            }
        }
        // Of two secrets one of which begins with the other, the longer one goes first.
        secrets
            .words
            .sort_by_key(|word| std::cmp::Reverse(word.len()));
        secrets
    }

    /// The text without them.
    pub(super) fn removed_from(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for word in &self.words {
            text = text.replace(word, REMOVED);
        }
        let lines = text
            .split_inclusive('\n')
            .map(|line| marked(&addressed(line)));
        lines.collect()
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().map(str::trim);
    let secret = lines.filter(|line| line.len() >= LEAST_CHARACTERS && !line.starts_with("-----"));
    secret.map(str::to_owned)
}

/// Without user and password in addresses: RFC 3986 section 3.2.1.
fn addressed(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let authority = after.find(|it: char| it.is_whitespace() || "/?#\"'<>".contains(it));
        let (authority, further) = after.split_at(authority.unwrap_or(after.len()));
        match authority.rsplit_once('@') {
            Some((_, host)) => out.push_str(&format!("{REMOVED}@{host}")),
            None => out.push_str(authority),
        }
        rest = further;
    }
    out + rest
}

/// Without what follows a mark.
fn marked(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(end) = end_of_mark(rest) {
        let (before, after) = rest.split_at(end);
        out.push_str(before);
        let length = after.find(|it: char| it.is_whitespace() || "\"'&,;".contains(it));
        let (secret, further) = after.split_at(length.unwrap_or(after.len()));
        if !secret.is_empty() {
            out.push_str(REMOVED);
        }
        rest = further;
    }
    out + rest
}

/// Where the first mark ends. Lengths in bytes stay what they are, as only ASCII is made lower.
fn end_of_mark(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let ends = MARKS
        .iter()
        .filter_map(|mark| Some(lower.find(mark)? + mark.len()));
    ends.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_addresses_and_behind_marks_go() {
        for (line, without) in [
            (
                "GET https://ada:pw@control.example/x?y",
                "GET https://REMOVED@control.example/x?y",
            ),
            (
                "no user: https://control.example/@x",
                "no user: https://control.example/@x",
            ),
            (
                "Authorization: Bearer abc.def\n",
                "Authorization: Bearer REMOVED\n",
            ),
            (
                "/play?token=abc&x=1 Password=\"\"",
                "/play?token=REMOVED&x=1 Password=\"\"",
            ),
            ("ü secret=ü.", "ü secret=REMOVED"),
        ] {
            let secrets = Secrets {
                words: Vec::new(),
                unread: Vec::new(),
            };
            assert_eq!(secrets.removed_from(line), without);
        }
    }

    #[test]
    fn lines_of_secret_files_go_wherever_they_are() {
        let words: Vec<String> =
            words("-----BEGIN KEY-----\nMIGHAgEAMB\n-----END KEY-----\n\nabc\n").collect();
        assert_eq!(words, ["MIGHAgEAMB"]);
        let secrets = Secrets {
            words,
            unread: Vec::new(),
        };
        assert_eq!(secrets.removed_from("x=MIGHAgEAMB."), "x=REMOVED.");
    }
}
