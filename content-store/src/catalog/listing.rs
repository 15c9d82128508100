//! A page of the paths, in their order, without decoding the others.

use std::collections::{BinaryHeap, HashMap};

use super::reader::{StoredPath, decode_object};
use super::record::prefix;
use super::{CatalogProblem, CatalogReader, Key, ObjectRecord, Published};
use crate::entry::PathEntry;
use crate::ids::{Generation, ObjectId};

/// Some of the paths.
#[derive(Debug)]
pub struct Listing {
    /// Of this generation.
    pub generation: Generation,
    /// The first ones in order, with what they lead to.
    pub paths: Vec<(PathEntry, ObjectRecord)>,
    /// How many come after them.
    pub more: usize,
}

impl CatalogReader {
    /// The first `limit` of the paths that are wanted. Copies what is published, about 310 B for each object, and decodes what it gives.
    ///
    /// # Errors
    /// As of [`load`](Self::load).
    pub fn list(
        &mut self,
        limit: usize,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Listing, CatalogProblem> {
        let published = self.published()?;
        let (first, count) = first(&published, limit, is_wanted)?;
        let decoded = first.iter().map(|(_, stored)| stored.decode());
        let paths: Vec<(ObjectId, PathEntry)> = decoded.collect::<Result<_, _>>()?;
        let mut records: HashMap<ObjectId, Option<ObjectRecord>> =
            paths.iter().map(|(object, _)| (*object, None)).collect();
        published.each(prefix::OBJECT, |key, payload| {
            if let key @ Key::Object(object) = Key::parse(key)?
                && let Some(record) = records.get_mut(&object)
            {
                *record = Some(decode_object(key, payload)?);
            }
            Ok(())
        })?;
        let with_record = |(object, entry)| Some((entry, records.get(&object)?.clone()?));
        Ok(Listing {
            generation: published.generation()?,
            more: count - paths.len(),
            paths: paths.into_iter().filter_map(with_record).collect(),
        })
    }
}

type Found<'a> = (&'a str, StoredPath<'a>);

/// The first of the paths that are wanted, in order, and how many are.
fn first(
    published: &Published,
    limit: usize,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<(Vec<Found<'_>>, usize), CatalogProblem> {
    let (mut first, mut count) = (BinaryHeap::new(), 0);
    published.each_path(|path, stored| {
        if is_wanted(path) {
            count += 1;
            first.push((path, stored));
            if first.len() > limit {
                first.pop();
            }
        }
    })?;
    Ok((first.into_sorted_vec(), count))
}
