//! What a manifest must fulfil beyond its form. A manifest that fails is refused whole: it was built wrongly.

use std::collections::{HashMap, HashSet};

use super::{Manifest, Source, Tombstone};
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
        if self.site_rate.is_some_and(|rate| rate.appliances == 0) {
            return Err(Invalid::Contradiction(
                "the site's rate is shared by no appliance",
            ));
        }
        check_sources(&self.sources)?;
        let mut sizes: HashMap<Root, u64> = HashMap::with_capacity(self.objects.len());
        let mut paths: HashMap<&str, Root> = HashMap::with_capacity(self.objects.len());
        for wanted in &self.objects {
            check_path(&wanted.path)?;
            if paths.insert(&wanted.path, wanted.root).is_some() {
                return Err(Invalid::PathTwice(cut(&wanted.path)));
            }
            if wanted.size > OBJECT_MAX_BYTES {
                return Err(Invalid::Size {
                    root: wanted.root,
                    size: wanted.size,
                });
            }
            if *sizes.entry(wanted.root).or_insert(wanted.size) != wanted.size {
                return Err(Invalid::TwoSizes(wanted.root));
            }
            if !(1..=COPIES_MAX).contains(&wanted.copies) {
                return Err(Invalid::Copies {
                    path: cut(&wanted.path),
                    copies: wanted.copies,
                });
            }
            check_header_value(&wanted.content_type)?;
            wanted
                .cache_control
                .as_deref()
                .map_or(Ok(()), check_header_value)?;
            let via = wanted
                .via
                .map(|via| (via, self.sources.get(usize::from(via))));
            if let Some((via, source)) = via
                && !matches!(source, Some(Source::Peer { .. }))
            {
                return Err(Invalid::Via {
                    path: cut(&wanted.path),
                    via,
                });
            }
        }
        check_tombstones(&self.tombstones)?;
        let both = |tombstone: &&Tombstone| paths.get(&*tombstone.path) == Some(&tombstone.root);
        match self.tombstones.iter().find(both) {
            Some(tombstone) => Err(Invalid::WantedTombstone(cut(&tombstone.path))),
            None => Ok(()),
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
    let wrong = |source: &Source, problem| {
        Err(Invalid::Source {
            name: cut(source.name()),
            problem,
        })
    };
    let mut names = HashSet::new();
    for source in sources {
        let urls: Vec<&str> = match source {
            Source::Peer { urls, .. } | Source::Upstream { urls, .. } => {
                urls.iter().map(String::as_str).collect()
            }
            Source::Http { url, .. } => vec![url],
            Source::S3 { endpoint, .. } => vec![endpoint],
            Source::Control => Vec::new(),
        };
        let usable = |url: &&str| {
            url.len() <= SOURCE_URL_MAX_BYTES
                && (url.starts_with("http://") || url.starts_with("https://"))
        };
        if names.len() == SOURCES_MAX {
            return wrong(source, "is one more than an appliance takes");
        }
        if source.name().is_empty() || source.name().len() > 253 {
            return wrong(source, "has no name of 1 to 253 bytes");
        }
        if !names.insert((source.kind(), source.name())) {
            return wrong(source, "is there twice");
        }
        if !urls.iter().all(usable) {
            return wrong(source, "has an address that is not http:// or https://");
        }
    }
    Ok(())
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
