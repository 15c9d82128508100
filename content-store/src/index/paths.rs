//! Paths, in pages: each holds those whose hashes begin alike, their texts end to end. Immutable; a change makes a new page.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::object::Object;

/// A part of all paths, in the order of their tags: 28 bytes for each and its text.
#[derive(Debug)]
pub struct PathPage {
    tags: Box<[u32]>,
    entries: Box<[Record]>,
    texts: Box<str>,
    words: Box<[Words]>,
}

#[derive(Debug)]
struct Record {
    object: Arc<Object>,
    modified_s: u64,
    /// Where its text ends: it begins where the one before ends.
    end: u32,
    words: u32,
}

/// What the response heads of some paths have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Words {
    pub(super) content_type: Arc<str>,
    pub(super) cache_control: Arc<str>,
}

/// A path: the object, and what the response head says about it.
///
/// It holds its page; who drops the last one frees that, which must never be a worker.
#[derive(Clone)]
pub struct Entry {
    page: Arc<PathPage>,
    number: usize,
}

/// A path on its way into a page.
pub(super) struct Draft<'a> {
    pub(super) tag: u32,
    pub(super) path: &'a str,
    pub(super) object: Arc<Object>,
    pub(super) words: Words,
    pub(super) modified_s: u64,
}

impl PathPage {
    /// A page of these; none of none.
    pub(super) fn of(mut drafts: Vec<Draft<'_>>) -> Option<Arc<Self>> {
        if drafts.is_empty() {
            return None;
        }
        drafts.sort_unstable_by_key(|draft| draft.tag);
        let mut texts = String::with_capacity(drafts.iter().map(|draft| draft.path.len()).sum());
        let mut words: Vec<Words> = Vec::new();
        let tags = drafts.iter().map(|draft| draft.tag).collect();
        let record = |draft: Draft<'_>| {
            texts.push_str(draft.path);
            let known = words.iter().position(|known| *known == draft.words);
            let number = known.unwrap_or(words.len());
            if known.is_none() {
                words.push(draft.words);
            }
            Record {
                object: draft.object,
                modified_s: draft.modified_s,
                end: texts.len() as u32,
                words: number as u32,
            }
        };
        let entries = drafts.into_iter().map(record).collect();
        Some(Arc::new(Self {
            tags,
            entries,
            texts: texts.into(),
            words: words.into(),
        }))
    }

    pub(super) fn find(self: &Arc<Self>, tag: u32, path: &[u8]) -> Option<Entry> {
        let first = self.tags.partition_point(|before| *before < tag);
        let same = self.tags[first..].iter().take_while(|same| **same == tag);
        let mut numbers = (first..).zip(same).map(|(number, _)| number);
        let number = numbers.find(|number| self.text(*number).as_bytes() == path)?;
        Some(Entry {
            page: Arc::clone(self),
            number,
        })
    }

    fn text(&self, number: usize) -> &str {
        let start = match number.checked_sub(1) {
            Some(before) => self.entries[before].end,
            None => 0,
        };
        &self.texts[start as usize..self.entries[number].end as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.tags.len()
    }

    /// All of it, to be put into another page.
    pub(super) fn drafts(&self) -> impl Iterator<Item = Draft<'_>> {
        self.entries
            .iter()
            .enumerate()
            .map(|(number, record)| Draft {
                tag: self.tags[number],
                path: self.text(number),
                object: Arc::clone(&record.object),
                words: self.words[record.words as usize].clone(),
                modified_s: record.modified_s,
            })
    }

    /// Its entries.
    pub(super) fn entries(self: &Arc<Self>) -> impl Iterator<Item = Entry> {
        (0..self.len()).map(|number| Entry {
            page: Arc::clone(self),
            number,
        })
    }
}

impl Entry {
    fn record(&self) -> &Record {
        &self.page.entries[self.number]
    }

    fn words(&self) -> &Words {
        &self.page.words[self.record().words as usize]
    }

    /// The path, percent-decoded.
    pub fn path(&self) -> &str {
        self.page.text(self.number)
    }

    /// What it leads to.
    pub fn object(&self) -> &Arc<Object> {
        &self.record().object
    }

    /// Value of `Content-Type`.
    pub fn content_type(&self) -> &str {
        &self.words().content_type
    }

    /// Value of `Cache-Control`.
    pub fn cache_control(&self) -> &str {
        &self.words().cache_control
    }

    /// Seconds since 1970 for `Last-Modified`.
    pub fn modified_s(&self) -> u64 {
        self.record().modified_s
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("path", &self.path())
            .field("object", &self.object().id)
            .finish_non_exhaustive()
    }
}

/// Equal header values share one allocation, as far as they come into an index together.
#[derive(Default)]
pub(super) struct SharedWords(HashSet<Arc<str>, RandomState>);

impl SharedWords {
    pub(super) fn words(&mut self, content_type: &str, cache_control: &str) -> Words {
        Words {
            content_type: self.shared(content_type),
            cache_control: self.shared(cache_control),
        }
    }

    fn shared(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.0.get(word) {
            return Arc::clone(known);
        }
        let word: Arc<str> = word.into();
        self.0.insert(Arc::clone(&word));
        word
    }
}
