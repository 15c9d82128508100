//! What the records of a catalog say of each other, those too that only the writer reads.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::Changed;
use super::reader::damaged;
use super::record::{decode_path, prefix, unseal};
use super::{CatalogProblem, CatalogReader, DoomedRecord, Key, ObjectRecord, path_key};
use crate::codec::{Decoder, Malformed};
use crate::ids::ObjectId;

impl CatalogReader {
    /// Reads every record, with its checksum, and says in words what they contradict each other in.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn contradictions(&mut self) -> Result<Vec<String>, CatalogProblem> {
        let copied = self.copy(&[
            prefix::HEAD,
            prefix::OBJECT,
            prefix::PATH,
            prefix::REFERENCE,
            prefix::DOOMED,
            prefix::PENDING,
            prefix::CHANGES,
        ])?;
        let mut seen = Seen::default();
        for (key, value) in copied.records() {
            let noted = seen.note(key, value);
            noted.map_err(|cause| damaged(self.folder(), key, cause))?;
        }
        Ok(seen.contradictions())
    }
}

#[derive(Default)]
struct Seen {
    objects: BTreeSet<ObjectId>,
    paths: BTreeMap<[u8; 32], (ObjectId, Box<str>)>,
    references: BTreeSet<(ObjectId, [u8; 32])>,
}

impl Seen {
    fn note(&mut self, key: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let payload = unseal(key, value).ok_or(Malformed::Contradiction)?;
        let mut from = Decoder::new(payload);
        match Key::parse(key)? {
            Key::Format => drop(from.u32()?),
            Key::Generation => drop(from.u64()?),
            Key::Object(object) => {
                ObjectRecord::decode(&mut from)?;
                self.objects.insert(object);
            }
            Key::Path(hash) => {
                let (object, entry) = decode_path(&mut from)?;
                if path_key(&entry.path) != hash {
                    return Err(Malformed::Contradiction);
                }
                self.paths.insert(hash, (object, entry.path));
            }
            Key::Reference(object, path) => drop(self.references.insert((object, path))),
            Key::Doomed(..) => drop(DoomedRecord::decode(&mut from)?),
            Key::Pending(_) => {}
            Key::Changes(_) => Changed::default().decode(&mut from)?,
        }
        from.finish()
    }

    fn contradictions(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (hash, (object, path)) in &self.paths {
            if !self.objects.contains(object) {
                words.push(format!(
                    "{path} leads to object {object}, which is not known"
                ));
            } else if !self.references.contains(&(*object, *hash)) {
                words.push(format!("object {object} does not know of its path {path}"));
            }
        }
        let mut led_to = BTreeSet::new();
        for (object, hash) in &self.references {
            if self.paths.get(hash).is_none_or(|(of, _)| of != object) {
                words.push(format!(
                    "object {object} knows of a path that does not lead to it"
                ));
            }
            led_to.insert(object);
        }
        let lonely = self
            .objects
            .iter()
            .filter(|object| !led_to.contains(object));
        words.extend(lonely.map(|object| format!("no path leads to object {object}")));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::super::Catalog;
    use super::*;
    use crate::catalog::CopyRecord;
    use crate::entry::PathEntry;
    use crate::ids::{DeviceId, Generation};
    use crate::limits::MIN_STRIPE_UNIT_BYTES;
    use crate::stripe::StripeLayout;

    const OBJECT: ObjectId = ObjectId([1; 32]);

    /// An object and its path, with what `lose` takes away.
    fn found(lose: impl FnOnce(&mut super::super::Edit<'_>)) -> Vec<String> {
        let state = tempfile::tempdir().unwrap();
        let folder = super::super::folder(state.path());
        let catalog = Catalog::open_or_create(&folder, Generation(1)).unwrap();
        let mut edit = catalog.edit().unwrap();
        let layout = StripeLayout::new(3, MIN_STRIPE_UNIT_BYTES, 1).unwrap();
        let copy = CopyRecord::new(1, layout, "hdd".into(), [DeviceId([2; 16])].into());
        let record = ObjectRecord::of_copies(OBJECT, vec![copy]);
        edit.put_object(&record).unwrap();
        let entry = PathEntry {
            path: "/a".into(),
            serial: 1,
            content_type: "b".into(),
            cache_control: "c".into(),
            modified_s: 1,
        };
        edit.put_path(&OBJECT, &entry).unwrap();
        edit.set_pending(&OBJECT).unwrap();
        lose(&mut edit);
        edit.commit().unwrap();
        CatalogReader::open(state.path())
            .unwrap()
            .contradictions()
            .unwrap()
    }

    #[test]
    fn each_record_that_is_lost_is_missed() {
        assert_eq!(found(|_| ()), Vec::<String>::new());
        let lost_object = found(|edit| edit.delete_object(&OBJECT).unwrap());
        assert!(
            lost_object[0].contains("/a leads to object"),
            "{lost_object:?}"
        );
        let path = path_key("/a");
        let lost_reference = found(|edit| edit.delete(&Key::Reference(OBJECT, path)).unwrap());
        assert_eq!(lost_reference.len(), 2, "{lost_reference:?}");
        assert!(lost_reference[0].contains("does not know of its path"));
        assert!(lost_reference[1].contains("no path leads to"));
        let lost_path = found(|edit| edit.delete(&Key::Path(path)).unwrap());
        assert!(
            lost_path[0].contains("does not lead to it"),
            "{lost_path:?}"
        );
    }
}
