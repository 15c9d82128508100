//! The shrink guard: a manifest can be authentic and still be a mistake.
//!
//! ```text
//! (summary of the last accepted manifest, summary of the new one, what its plan evicts) -> Accept | Hold(why, with the numbers)
//! ```
//!
//! A held manifest changes nothing: what is held is served, the last accepted manifest is filled further, takedowns go on. The
//! operator lets it through with `ocactl fill accept SERIAL`.

use std::cmp::Ordering;

use protocol::manifest::{Manifest, Serial};
use protocol::root::Root;
use protocol::units::Percent;

/// What the guard compares of a manifest. 32 B per object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its number.
    pub serial: Serial,
    /// Bytes of its objects, each counted once.
    pub bytes: u64,
    /// Its objects, sorted, each once.
    roots: Vec<Root>,
}

impl Summary {
    /// Of a manifest.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let mut objects: Vec<(Root, u64)> = manifest
            .objects
            .iter()
            .map(|wanted| (wanted.root, wanted.size))
            .collect();
        objects.sort_unstable();
        objects.dedup_by_key(|(root, _)| *root);
        Self {
            serial: manifest.serial,
            bytes: objects.iter().map(|(_, size)| size).sum(),
            roots: objects.into_iter().map(|(root, _)| root).collect(),
        }
    }

    /// Objects, each counted once.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.roots.len() as u64
    }

    /// Objects that are in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> u64 {
        let (mut ours, mut theirs) = (self.roots.iter().peekable(), other.roots.iter().peekable());
        let mut common = 0;
        while let (Some(our), Some(their)) = (ours.peek(), theirs.peek()) {
            let order = our.cmp(their);
            common += u64::from(order == Ordering::Equal);
            if order != Ordering::Greater {
                ours.next();
            }
            if order != Ordering::Less {
                theirs.next();
            }
        }
        common
    }
}

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The last manifest that was accepted; `None`: there was none.
    pub last: Option<&'a Summary>,
    /// The new one.
    pub new: &'a Summary,
    /// Objects on the box.
    pub held_objects: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// Of the held objects, those that the new manifest wants.
    pub held_wanted_objects: u64,
    /// Bytes that the plan for the new manifest evicts.
    pub evict_bytes: u64,
    /// Bytes evicted since midnight.
    pub evicted_today_bytes: u64,
    /// `fill.max_evict_per_day`.
    pub max_evict_per_day: Percent,
}

/// What is done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is acted upon.
    Accept,
    /// It waits for an operator.
    Hold {
        /// Why, with the numbers, in one sentence.
        why: String,
    },
}

/// Judges. Serial, signature and validity were checked before.
#[must_use]
pub fn judge(question: &Question<'_>) -> Verdict {
    let reason = objects_vanish(question).or_else(|| evicts_too_much(question));
    match reason {
        Some(why) => Verdict::Hold { why },
        None => Verdict::Accept,
    }
}

fn objects_vanish(question: &Question<'_>) -> Option<String> {
    let new = question.new.objects();
    let Some(last) = question.last else {
        let stranger = question.held_objects > 0 && question.held_wanted_objects == 0;
        return stranger.then(|| {
            format!(
                "it is the first manifest of this box, and wants none of the {} objects that the box holds",
                question.held_objects
            )
        });
    };
    let before = last.objects();
    if before > 0 && new == 0 {
        return Some(format!(
            "it is empty, where manifest {} wanted {before} objects",
            last.serial
        ));
    }
    if new < before.div_ceil(2) {
        return Some(format!(
            "it wants {new} objects, fewer than half of the {before} of manifest {}",
            last.serial
        ));
    }
    let common = last.common(question.new);
    (common < before.div_ceil(2)).then(|| {
        format!(
            "it wants only {common} of the {before} objects of manifest {}, fewer than half",
            last.serial
        )
    })
}

fn evicts_too_much(question: &Question<'_>) -> Option<String> {
    let left = evictable_today(
        question.held_bytes,
        question.evicted_today_bytes,
        question.max_evict_per_day,
    );
    (question.evict_bytes > left).then(|| {
        format!(
            "its plan evicts {} of the {} bytes that are held, {} were evicted today, and fill.max_evict_per_day is {}",
            question.evict_bytes,
            question.held_bytes,
            question.evicted_today_bytes,
            question.max_evict_per_day
        )
    })
}

/// Bytes that may still be evicted today: the share is of what the box held before today's evictions.
#[must_use]
pub fn evictable_today(held_bytes: u64, evicted_today_bytes: u64, max_per_day: Percent) -> u64 {
    let before = u128::from(held_bytes) + u128::from(evicted_today_bytes);
    let allowed = before * u128::from(max_per_day.percent()) / 100;
    let left = allowed.saturating_sub(u128::from(evicted_today_bytes));
    u64::try_from(left).unwrap_or(u64::MAX)
}
