//! Objects, in pages by the first bits of their names. Immutable; a change makes a new page, which shares the objects.

use std::sync::Arc;

use super::Spot;
use super::object::Object;
use crate::ids::ObjectId;

/// A part of all objects, in the order of their names: 12 bytes for each, and the object.
#[derive(Debug)]
pub struct ObjectPage {
    tags: Box<[u32]>,
    objects: Box<[Arc<Object>]>,
}

impl ObjectPage {
    /// A page of these, which are in order; none of none.
    pub(super) fn of(objects: Vec<Arc<Object>>) -> Option<Arc<Self>> {
        if objects.is_empty() {
            return None;
        }
        let tag = |object: &Arc<Object>| Spot::of_object(&object.id).tag;
        Some(Arc::new(Self {
            tags: objects.iter().map(tag).collect(),
            objects: objects.into(),
        }))
    }

    pub(super) fn find(&self, tag: u32, id: &ObjectId) -> Option<&Arc<Object>> {
        let first = self.tags.partition_point(|before| *before < tag);
        let from_first = self.tags[first..].iter().zip(&self.objects[first..]);
        let mut same = from_first.take_while(|(other, _)| **other == tag);
        same.find(|(_, object)| object.id == *id)
            .map(|(_, object)| object)
    }

    /// All of them, in the order of their names.
    pub fn objects(&self) -> std::slice::Iter<'_, Arc<Object>> {
        self.objects.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Bytes of its objects.
    pub(super) fn bytes(&self) -> u64 {
        self.objects().map(|object| object.size()).sum()
    }

    /// Objects of `page` that are not in `other`.
    pub(super) fn missing_in(other: Option<&Self>, page: Option<&Self>) -> Vec<Arc<Object>> {
        let is_missing = |object: &&Arc<Object>| {
            let tag = Spot::of_object(&object.id).tag;
            let same = other.and_then(|other| other.find(tag, &object.id));
            !same.is_some_and(|same| Arc::ptr_eq(same, object))
        };
        let objects = page.into_iter().flat_map(Self::objects);
        objects.filter(is_missing).cloned().collect()
    }
}
