//! Objects as they are served: 136 bytes for one with a single column, in one allocation. The file of a column is made by its
//! device's service when it is first read.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use platform::stored_file::{FileRef, Files, Locked, StoredFile};

use super::places::{Place, Places};
use super::served::Served;
use crate::column::ColumnSource;
use crate::ids::{DeviceId, ETag, ObjectId};
use crate::limits::MAX_STRIPE_WIDTH;
use crate::stripe::StripeLayout;

/// An object with its columns.
///
/// `repr(C)`: what every response writes, `served` and the counts of the `Arc` around all this, lies together in memory.
#[derive(Debug)]
#[repr(C)]
pub struct Object {
    /// What viewers got of it. An object that is placed anew begins at nothing; what was counted of the one before is
    /// found in that one.
    pub served: Served,
    /// Its name.
    pub id: ObjectId,
    /// Where `places` of its columns are.
    pub(super) devices: Arc<Places>,
    /// The copy that comes first.
    pub first: ObjectCopy,
    /// Further copies, in their order; none, of most objects.
    pub others: Box<[ObjectCopy]>,
}

/// One copy of an object.
#[derive(Debug)]
pub struct ObjectCopy {
    /// How it is cut into `columns`.
    pub layout: StripeLayout,
    /// One for each column of the layout.
    pub columns: Columns,
    /// Generation in which a column was written last.
    pub(super) written: u64,
}

/// The columns of a copy.
#[derive(Debug)]
pub enum Columns {
    /// Most objects lie on one device.
    One([Column; 1]),
    /// The others.
    Several(Box<[Column]>),
}

/// One column of a copy. A range that needs one on a device that is not here is answered 503, not 404.
#[derive(Debug)]
pub struct Column {
    pub(super) file: OnceLock<Arc<StoredFile>>,
    /// The bits of an `f32`.
    expected_share: AtomicU32,
    pub(super) place: Place,
}

impl Object {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.first.layout.size()
    }

    /// Its entity tag.
    pub fn etag(&self) -> ETag {
        self.id.etag()
    }

    /// All copies, in their order.
    pub fn copies(&self) -> impl Iterator<Item = &ObjectCopy> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The copy with this place in [`copies`](Self::copies).
    pub fn copy(&self, number: usize) -> Option<&ObjectCopy> {
        match number.checked_sub(1) {
            None => Some(&self.first),
            Some(other) => self.others.get(other),
        }
    }

    /// The columns of all copies.
    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        self.copies().flat_map(|copy| &*copy.columns)
    }

    /// Whether one of its copies is.
    pub fn is_whole(&self) -> bool {
        self.copies().any(ObjectCopy::is_whole)
    }

    /// The device of one of its columns, also of one that is not here.
    pub fn device_of(&self, column: &Column) -> Option<DeviceId> {
        self.devices.id(column.place)
    }

    /// The file of a column, if it is here. No allocation.
    pub fn file(self: &Arc<Self>, copy: usize, column: usize) -> Option<FileRef> {
        self.copy(copy)?.columns.get(column)?.device()?;
        let number = copy * MAX_STRIPE_WIDTH + column;
        Some(FileRef::new(Arc::<Self>::clone(self), number as u16))
    }

    fn numbered(&self, number: u16) -> (&ObjectCopy, usize) {
        let number = usize::from(number);
        let copy = self.copy(number / MAX_STRIPE_WIDTH);
        let copy = copy.expect("`file` gives out numbers of columns that are here");
        (copy, number % MAX_STRIPE_WIDTH)
    }

    /// The file of a column that is here, made if it was not yet.
    pub(super) fn made<'a>(&'a self, copy: &'a ObjectCopy, column: usize) -> &'a Arc<StoredFile> {
        let of = &copy.columns[column];
        let make = || {
            let root = Arc::clone(self.devices.root(of.place));
            let source = ColumnSource::new(root, self.id, column as u8, copy.layout);
            StoredFile::new(of.place.number(), Box::new(source))
        };
        let file = of.file.get_or_init(make);
        file.expect(f32::from_bits(of.expected_share.load(Relaxed)));
        file
    }
}

impl Files for Object {
    fn device(&self, number: u16) -> usize {
        let (copy, column) = self.numbered(number);
        copy.columns[column].place.number()
    }

    fn length(&self, number: u16) -> u64 {
        let (copy, column) = self.numbered(number);
        copy.layout.column_length(column)
    }

    fn is_bad(&self, number: u16) -> bool {
        let (copy, column) = self.numbered(number);
        copy.columns[column].is_bad()
    }

    fn stored(self: Arc<Self>, number: u16) -> Arc<StoredFile> {
        let (copy, column) = self.numbered(number);
        Arc::clone(self.made(copy, column))
    }
}

impl ObjectCopy {
    /// Whether every column is on a device that is here and no block of it was found bad.
    pub fn is_whole(&self) -> bool {
        let is_whole = |column: &Column| column.device().is_some() && !column.is_bad();
        self.columns.iter().all(is_whole)
    }
}

impl Column {
    pub(super) fn new(place: Place) -> Self {
        Self {
            file: OnceLock::new(),
            expected_share: AtomicU32::new(0),
            place,
        }
    }

    /// The same column in another value of its object: the same file, if it was made.
    pub(super) fn again(&self, place: Place) -> Self {
        Self {
            file: self.file.clone(),
            expected_share: AtomicU32::new(self.expected_share.load(Relaxed)),
            place,
        }
    }

    /// Number of its device; none if that is not here.
    pub fn device(&self) -> Option<usize> {
        self.place.here()
    }

    /// Whether a block of it was found bad.
    pub fn is_bad(&self) -> bool {
        self.file.get().is_some_and(|file| file.is_bad())
    }

    /// The locked piece that holds the byte at `offset` of the column; see [`StoredFile::locked`].
    pub fn locked(&self, offset: u64) -> Option<Locked<'_>> {
        self.file.get()?.locked(offset)
    }

    /// Says what share of all that is read is expected of each byte of it.
    pub fn expect(&self, share: f32) {
        self.expected_share.store(share.to_bits(), Relaxed);
        if let Some(file) = self.file.get() {
            file.expect(share);
        }
    }
}

impl Deref for Columns {
    type Target = [Column];

    fn deref(&self) -> &[Column] {
        match self {
            Self::One(one) => one,
            Self::Several(several) => several,
        }
    }
}

impl FromIterator<Column> for Columns {
    fn from_iter<T: IntoIterator<Item = Column>>(columns: T) -> Self {
        let several: Vec<Column> = columns.into_iter().collect();
        match <[Column; 1]>::try_from(several) {
            Ok(one) => Self::One(one),
            Err(several) => Self::Several(several.into()),
        }
    }
}

/// Bytes that an object with one column costs, with the counts of its `Arc`.
const OBJECT_BYTES: usize = 16 + size_of::<Object>();
const _: () = assert!(OBJECT_BYTES <= 136);
