//! Which certificate is for a name: an exact one before a wildcard, an earlier one in the configuration before a later one.

use std::collections::HashMap;

/// Names of all certificates, by position.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<String, usize>,
    /// What stands behind `*.`.
    below: HashMap<String, usize>,
}

impl Names {
    /// `of` gives each certificate's names in lower case, in the order of the configuration.
    pub(super) fn new<'n>(of: impl Iterator<Item = &'n [String]>) -> Self {
        let mut names = Self::default();
        for (position, own) in of.enumerate() {
            for name in own {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut names.below, parent),
                    None => (&mut names.exact, name.as_str()),
                };
                table.entry(name.to_owned()).or_insert(position);
            }
        }
        names
    }

    /// `None`: no certificate is for this name. A wildcard stands for one whole label (RFC 9525, section 6.3).
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let parent = || self.below.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(parent).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_before_wildcard_and_first_before_later() {
        let of: [&[&str]; 4] = [
            &["first.example", "*.video.example"],
            &["a.video.example", "*.deep.video.example"],
            &["first.example", "*.video.example", "video.example"],
            &[],
        ];
        let of = of.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let names = Names::new(of.iter().map(Vec::as_slice));
        let table = [
            ("first.example", Some(0)),
            ("FIRST.Example", Some(0)),
            ("first.example.", Some(0)),
            ("b.video.example", Some(0)),
            ("a.video.example", Some(1)),
            ("A.VIDEO.EXAMPLE", Some(1)),
            ("b.a.video.example", None),
            ("x.deep.video.example", Some(1)),
            ("deep.video.example", Some(0)),
            ("video.example", Some(2)),
            ("example", None),
            ("*.video.example", Some(0)),
            ("", None),
            (".", None),
            ("192.0.2.1", None),
        ];
        for (name, expected) in table {
            assert_eq!(names.find(name), expected, "{name:?}");
        }
    }
}
