//! What a manifest must fulfil beyond its form. A manifest that fails is refused whole: it was built wrongly.

use std::collections::{HashMap, HashSet};

use super::{Manifest, SiteRate, Source, Tombstone, Wanted};
use crate::limits::{
    COPIES_MAX, OBJECT_MAX_BYTES, PATH_MAX_BYTES, SOURCE_URL_MAX_BYTES, SOURCES_MAX,
};
use crate::root::Root;

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A path that no appliance serves.
    #[error("the path {path:?} {problem}")]
    Path {
        /// The path, cut to 80 characters.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two entries for one path.
    #[error("the path {0:?} is there twice")]
    PathTwice(String),
    /// One root with two sizes.
    #[error("the object {0} has two sizes")]
    TwoSizes(Root),
    /// Larger than an object may be.
    #[error("the object {root} of {size} bytes is larger than {OBJECT_MAX_BYTES}")]
    Size {
        /// The object.
        root: Root,
        /// Its size.
        size: u64,
    },
    /// Zero or too many copies.
    #[error("{copies} copies of {path:?}; allowed are 1 to {COPIES_MAX}")]
    Copies {
        /// The path.
        path: String,
        /// Copies asked for.
        copies: u8,
    },
    /// A value that cannot stand in a response head.
    #[error("{value:?} cannot be the value of a header field")]
    HeaderValue {
        /// The value, cut to 80 characters.
        value: String,
    },
    /// [`super::Wanted::via`] leads nowhere, or not to a peer.
    #[error("{path:?} is to come via source {via}, which is not a peer of the list")]
    Via {
        /// The path.
        path: String,
        /// The index.
        via: u16,
    },
    /// Both wanted and taken down.
    #[error("{0:?} is wanted and taken down at once")]
    WantedTombstone(String),
    /// Too many sources, or one without a usable address.
    #[error("the source {name:?} {problem}")]
    Source {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Built after it ends, or shared by nobody.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl Manifest {
    /// Checks what its form does not tell: paths, sizes, sources, contradictions. Linear in its objects.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.not_after <= self.built_at {
            return Err(Invalid::Contradiction("it ends before it was built"));
        }
        let none = |rate: SiteRate| rate.appliances == 0 || rate.bits_per_second == 0;
        if self.site_rate.is_some_and(none) {
            return Err(Invalid::Contradiction(
                "the site's rate is nothing, or shared by no appliance",
            ));
        }
        check_sources(&self.sources)?;
        let paths = self.check_objects()?;
        check_tombstones(&self.tombstones)?;
        let both = |tombstone: &&Tombstone| paths.get(&*tombstone.path) == Some(&tombstone.root);
        match self.tombstones.iter().find(both) {
            Some(tombstone) => Err(Invalid::WantedTombstone(cut(&tombstone.path))),
            None => Ok(()),
        }
    }

    /// Gives where each path shall lead.
    fn check_objects(&self) -> Result<HashMap<&str, Root>, Invalid> {
        let mut sizes: HashMap<Root, u64> = HashMap::with_capacity(self.objects.len());
        let mut paths = HashMap::with_capacity(self.objects.len());
        for wanted in &self.objects {
            wanted.check(&self.sources)?;
            if paths.insert(&*wanted.path, wanted.root).is_some() {
                return Err(Invalid::PathTwice(cut(&wanted.path)));
            }
            if *sizes.entry(wanted.root).or_insert(wanted.size) != wanted.size {
                return Err(Invalid::TwoSizes(wanted.root));
            }
        }
        Ok(paths)
    }
}

impl Wanted {
    fn check(&self, sources: &[Source]) -> Result<(), Invalid> {
        check_path(&self.path)?;
        if self.size > OBJECT_MAX_BYTES {
            return Err(Invalid::Size {
                root: self.root,
                size: self.size,
            });
        }
        if !(1..=COPIES_MAX).contains(&self.copies) {
            return Err(Invalid::Copies {
                path: cut(&self.path),
                copies: self.copies,
            });
        }
        check_header_value(&self.content_type)?;
        if let Some(value) = &self.cache_control {
            check_header_value(value)?;
        }
        let is_peer = |via: u16| matches!(sources.get(usize::from(via)), Some(Source::Peer { .. }));
        match self.via {
            Some(via) if !is_peer(via) => Err(Invalid::Via {
                path: cut(&self.path),
                via,
            }),
            _ => Ok(()),
        }
    }
}

/// Checks the paths of tombstones.
pub(super) fn check_tombstones(tombstones: &[Tombstone]) -> Result<(), Invalid> {
    tombstones
        .iter()
        .try_for_each(|tombstone| check_path(&tombstone.path))
}

/// Checks that a path may stand in a manifest.
///
/// # Errors
/// What is wrong with it.
pub fn check_path(path: &str) -> Result<(), Invalid> {
    let problem = if !path.starts_with('/') {
        "does not begin with /"
    } else if path.len() > PATH_MAX_BYTES {
        "is longer than 1024 bytes"
    } else if path.chars().any(char::is_control) {
        "has a control character"
    } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        "has a segment . or .."
    } else {
        return Ok(());
    };
    Err(Invalid::Path {
        path: cut(path),
        problem,
    })
}

fn check_header_value(value: &str) -> Result<(), Invalid> {
    // RFC 9110 section 5.5: field-vchar and blanks between them.
    let visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if value.len() <= 256 && value.trim() == value && value.bytes().all(visible) {
        return Ok(());
    }
    Err(Invalid::HeaderValue { value: cut(value) })
}

fn check_sources(sources: &[Source]) -> Result<(), Invalid> {
    let mut names = HashSet::new();
    for source in sources {
        let problem = if names.len() == SOURCES_MAX {
            "is one more than an appliance takes"
        } else if source.name().is_empty() || source.name().len() > 253 {
            "has no name of 1 to 253 bytes"
        } else if !names.insert((source.kind(), source.name())) {
            "is there twice"
        } else if !has_address(source) {
            "has no address, or one that is not http:// or https:// with a host"
        } else {
            continue;
        };
        return Err(Invalid::Source {
            name: cut(source.name()),
            problem,
        });
    }
    Ok(())
}

fn has_address(source: &Source) -> bool {
    match source {
        Source::Peer { urls, .. } | Source::Upstream { urls, .. } => {
            !urls.is_empty() && urls.iter().all(|url| is_usable_url(url))
        }
        Source::Http { url, .. } => is_usable_url(url),
        Source::S3 {
            endpoint, bucket, ..
        } => is_usable_url(endpoint) && !bucket.is_empty(),
        Source::Control => true,
    }
}

/// Whether a source can be asked at this base URL.
#[must_use]
pub fn is_usable_url(url: &str) -> bool {
    let host = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
        && url.len() <= SOURCE_URL_MAX_BYTES
        && url.bytes().all(|byte| byte.is_ascii_graphic())
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
