//! From a key to its line, and from a place in the text to its key.
//!
//! A key path is written with dots, and with numbers for the members of lists: `tier.1.devices.0`.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The parsed text with the place of every key and value.
pub(super) struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, toml::de::Error> {
        Ok(Self {
            text,
            root: DeTable::parse(text)?,
        })
    }

    /// The line, from 1, of the key at `path`, or of the nearest thing around it that is written down.
    pub(super) fn line_of(&self, path: &str) -> usize {
        let mut at = 0;
        let mut value: Option<&Spanned<DeValue<'_>>> = None;
        for step in path.split('.') {
            let table = match value {
                None => Some(self.root.get_ref()),
                Some(value) => value.get_ref().as_table(),
            };
            let entry = match (table, value.and_then(|value| value.get_ref().as_array())) {
                (Some(table), _) => table.iter().find(|(key, _)| key.get_ref() == step),
                (None, Some(array)) => {
                    let member = step.parse().ok().and_then(|index: usize| array.get(index));
                    let Some(member) = member else { break };
                    at = member.span().start;
                    value = Some(member);
                    continue;
                }
                (None, None) => None,
            };
            let Some((key, next)) = entry else { break };
            at = key.span().start;
            value = Some(next);
        }
        line_at(self.text, at)
    }

    /// The path of the smallest key or value whose text spans `place`.
    pub(super) fn path_at(&self, place: &Range<usize>) -> String {
        let mut smallest = (usize::MAX, String::new());
        visit_table(self.root.get_ref(), "", &mut |span, path| {
            if span.start <= place.start && place.end <= span.end && span.len() < smallest.0 {
                smallest = (span.len(), path.to_owned());
            }
        });
        smallest.1
    }
}

/// The line, from 1, of a byte offset.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// `tier.1.devices.0` as a reader writes it: `tier.devices`.
pub(super) fn shown(path: &str) -> String {
    let words: Vec<&str> = path
        .split('.')
        .filter(|step| step.parse::<usize>().is_err())
        .collect();
    words.join(".")
}

fn visit_table(table: &DeTable<'_>, path: &str, visit: &mut dyn FnMut(Range<usize>, &str)) {
    for (key, value) in table {
        let own = join(path, key.get_ref());
        visit(key.span(), &own);
        visit_value(value, &own, visit);
    }
}

fn visit_value(
    value: &Spanned<DeValue<'_>>,
    path: &str,
    visit: &mut dyn FnMut(Range<usize>, &str),
) {
    visit(value.span(), path);
    match value.get_ref() {
        DeValue::Table(table) => visit_table(table, path, visit),
        DeValue::Array(members) => {
            for (index, member) in members.iter().enumerate() {
                visit_value(member, &join(path, &index.to_string()), visit);
            }
        }
        _ => {}
    }
}

fn join(path: &str, step: &str) -> String {
    if path.is_empty() {
        step.to_owned()
    } else {
        format!("{path}.{step}")
    }
}
