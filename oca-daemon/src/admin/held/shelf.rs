//! An index of records that no file stands behind.

use std::sync::Arc;

use content_store::catalog::{CatalogReader, Changes, ColumnSet, CopyRecord, ObjectRecord};
use content_store::{
    DeviceId, Generation, Index, IndexDevice, Object, ObjectId, Store, StoreConfig, StripeLayout,
    TierConfig, TierRole,
};

const UNIT: u64 = 1 << 20;

/// What is published.
pub(crate) struct Shelf {
    pub(crate) index: Index,
}

/// Two devices are here, a third one is not.
pub(crate) fn ids() -> Vec<Option<DeviceId>> {
    (0..3).map(|number| Some(device(number))).collect()
}

fn device(number: u8) -> DeviceId {
    DeviceId([number + 1; 16])
}

/// An object's name. They spread over the pages.
pub(crate) fn id(number: u32) -> ObjectId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
    ObjectId(id)
}

/// A copy of so many bytes, with a column on each of these devices.
fn copy(placed: u64, size: u64, on: &[u8]) -> CopyRecord {
    CopyRecord {
        placed,
        layout: StripeLayout::new(size, UNIT, on.len()).unwrap(),
        tier: "nvme".into(),
        devices: on.iter().map(|number| device(*number)).collect(),
        bad: ColumnSet::default(),
        repaired: 0,
    }
}

impl Shelf {
    pub(crate) fn new() -> Self {
        Self::with_devices(2)
    }

    /// An object of so many bytes, of which each of the first devices has a copy; those on `bad` are known to be damaged.
    pub(crate) fn copied(size: u64, copies: usize, bad: &[usize]) -> Arc<Object> {
        let copy = |on: usize| {
            let mut columns = ColumnSet::default();
            if bad.contains(&on) {
                columns.insert(0);
            }
            CopyRecord {
                bad: columns,
                ..copy(1 + on as u64, size, &[on as u8])
            }
        };
        let object = id(size as u32);
        let record = ObjectRecord {
            object,
            size,
            copies: (0..copies).map(copy).collect(),
        };
        let changes = Changes {
            generation: Generation(1),
            objects: [(object, Some(record))].into(),
            ..Changes::default()
        };
        let index = Self::with_devices(copies as u8)
            .index
            .changed(&changes)
            .index;
        let mut pages = index.object_pages().flatten();
        let page = pages.find_map(|page| page.objects().next());
        Arc::clone(page.unwrap())
    }

    fn with_devices(count: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tier = TierConfig {
            name: "nvme".into(),
            role: TierRole::Hot,
            stripe_unit: UNIT,
            read_unit: 256 << 10,
            stripe_width: 1,
            devices: vec![folder.path().join("away")],
        };
        let config = StoreConfig {
            state_dir: folder.path().into(),
            tiers: vec![tier],
            program: "test".into(),
        };
        drop(Store::open(config).unwrap());
        let published = CatalogReader::open(folder.path()).unwrap().published();
        let devices = (0..count).map(|number| IndexDevice {
            id: Some(device(number)),
            root: format!("/d{number}").into(),
        });
        let devices: Vec<IndexDevice> = devices.collect();
        let built = Index::build(&published.unwrap(), &devices, None).unwrap();
        Self { index: built.index }
    }

    /// Each object is now on these devices, or gone, where there are none.
    pub(crate) fn commit<'a>(&mut self, objects: impl IntoIterator<Item = (u32, &'a [u8])>) {
        let generation = Generation(self.index.generation().0 + 1);
        let record = |number: u32, on: &[u8]| ObjectRecord {
            object: id(number),
            size: UNIT * on.len() as u64,
            copies: vec![copy(generation.0, UNIT * on.len() as u64, on)],
        };
        let changed = objects
            .into_iter()
            .map(|(number, on)| (id(number), (!on.is_empty()).then(|| record(number, on))));
        let changes = Changes {
            generation,
            objects: changed.collect(),
            ..Changes::default()
        };
        self.index = self.index.changed(&changes).index;
    }

    /// Objects of the largest page.
    pub(crate) fn largest_page(&self) -> usize {
        let pages = self.index.object_pages().flatten();
        pages.map(|page| page.objects().len()).max().unwrap_or(0)
    }
}
