//! Looks over the pages of a catalog before LMDB maps it.
//!
//! LMDB trusts its pages: a page number or length that a bad disk has changed makes it read or jump outside of the map, and the
//! process dies by a signal. So the whole tree is walked first with plain reads: page numbers, flags, bounds of nodes, order of
//! keys, and that no page is used twice or free as well. Values are not looked at: each has its own checksum.
//! Layout of pages as in `mdb.c` of LMDB 0.9, data version 1, 64-bit words; the same on every 64-bit little-endian machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::CatalogProblem;

const MAGIC: u32 = 0xBEEF_C0DE;
const DATA_VERSION: u32 = 1;
const PAGE_HEAD: usize = 16;
const NODE_HEAD: usize = 8;
const META_BYTES: usize = 136;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const OVERFLOW: u16 = 0x04;
const META: u16 = 0x08;
/// Bits that the writer leaves on pages that it writes (`P_DIRTY`, `P_KEEP`) and that mean nothing on disk.
const TRANSIENT: u16 = 0x10 | 0x8000;
const BIG_DATA: u16 = 0x01;
const NO_PAGE: u64 = u64::MAX;
const MAX_DEPTH: usize = 32;
/// Commits of a writer may outrun a walk; the walk is tried again so often.
const TRIES: usize = 5;

/// Walks the newest committed tree of the catalog in `folder`; an absent or empty file is fine, LMDB fills it.
pub(super) fn check(folder: &Path) -> Result<(), CatalogProblem> {
    let path = folder.join("data.mdb");
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|source| CatalogProblem::io(folder, source))?,
    };
    if file
        .metadata()
        .map_err(|source| CatalogProblem::io(folder, source))?
        .len()
        == 0
    {
        return Ok(());
    }
    let problem = |found: Bad| match found {
        Bad::Page(cause) => CatalogProblem::corrupt(folder, cause),
        Bad::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            CatalogProblem::corrupt(folder, "data.mdb is shorter than it says")
        }
        Bad::Io(source) => CatalogProblem::io(folder, source),
    };
    let mut seen = None;
    for _ in 0..TRIES {
        let meta = Meta::newest(&file);
        let transaction = meta.as_ref().ok().map(|meta| meta.transaction);
        match meta.and_then(|meta| walk(&file, &meta)) {
            Err(found) if seen == Some(transaction) => return Err(problem(found)),
            Err(_) => seen = Some(transaction),
            Ok(()) => return Ok(()),
        }
    }
    let busy = io::Error::new(
        io::ErrorKind::ResourceBusy,
        "it changes faster than it can be looked over",
    );
    Err(CatalogProblem::io(folder, busy))
}

enum Bad {
    Page(String),
    Io(io::Error),
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn bad<T>(page: u64, cause: &str) -> Result<T, Bad> {
    Err(Bad::Page(format!("page {page}: {cause}")))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(
        *bytes[at..]
            .first_chunk()
            .expect("callers stay inside of the page"),
    )
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(
        *bytes[at..]
            .first_chunk()
            .expect("callers stay inside of the page"),
    )
}

/// The head of the database: two pages take turns, the one with the higher transaction holds.
struct Meta {
    page_bytes: usize,
    /// Which of the two it is, 0 or 1.
    head: u64,
    free: Root,
    main: Root,
    last_page: u64,
    transaction: u64,
}

/// A tree: its first page, and how many records it has.
struct Root {
    page: u64,
    records: u64,
}

impl Root {
    fn at(bytes: &[u8]) -> Self {
        Self {
            records: u64_at(bytes, 32),
            page: u64_at(bytes, 40),
        }
    }
}

impl Meta {
    fn newest(file: &File) -> Result<Self, Bad> {
        let first = Self::read(file, 0)?;
        let second = Self::read(file, first.page_bytes as u64)?;
        if first.page_bytes != second.page_bytes {
            return bad(1, "the two heads disagree about the page size");
        }
        // Transaction n writes head n % 2, so the heads are one apart; only a new file has two that are 0. A head with a changed
        // number would hide the newest commit.
        let apart = first.transaction.abs_diff(second.transaction);
        let (older, newest) = if second.transaction > first.transaction {
            (first, second)
        } else {
            (second, first)
        };
        let is_in_turn = newest.transaction % 2 == newest.head && older.head != newest.head;
        if newest.transaction > 0 && !(apart == 1 && is_in_turn) {
            return bad(newest.head, "the two heads are not of consecutive commits");
        }
        Ok(newest)
    }

    fn read(file: &File, offset: u64) -> Result<Self, Bad> {
        let mut page = [0; PAGE_HEAD + META_BYTES];
        file.read_exact_at(&mut page, offset)?;
        let meta = &page[PAGE_HEAD..];
        if u16_at(&page, 10) & META == 0
            || u32_at(meta, 0) != MAGIC
            || u32_at(meta, 4) != DATA_VERSION
        {
            return Err(Bad::Page(
                "data.mdb does not begin like an LMDB file".into(),
            ));
        }
        let page_bytes = u32_at(meta, 24) as usize;
        if !page_bytes.is_power_of_two() || !(512..=65536).contains(&page_bytes) {
            return Err(Bad::Page(format!("a page size of {page_bytes} bytes")));
        }
        Ok(Self {
            page_bytes,
            head: u64::from(offset > 0),
            free: Root::at(&meta[24..]),
            main: Root::at(&meta[72..]),
            last_page: u64_at(meta, 120),
            transaction: u64_at(meta, 128),
        })
    }
}

fn walk(file: &File, meta: &Meta) -> Result<(), Bad> {
    let pages = meta
        .last_page
        .checked_add(1)
        .filter(|pages| *pages < 1 << 32);
    let pages = pages.ok_or_else(|| Bad::Page(format!("{} pages", meta.last_page)))?;
    let length = file.metadata()?.len();
    // The file may end before its last pages if those are free, so only their order of size is checked here.
    if pages / 4 > length / meta.page_bytes as u64 + 1024 {
        return Err(Bad::Page(format!(
            "{pages} pages in a file of {length} bytes"
        )));
    }
    let mut walk = Walk {
        file,
        meta,
        used: vec![false; pages as usize],
        free: Vec::new(),
        records: 0,
    };
    walk.used[..2.min(pages as usize)].fill(true);
    walk.tree(&meta.main, Tree::Main)?;
    walk.tree(&meta.free, Tree::Free)?;
    for page in std::mem::take(&mut walk.free) {
        walk.take(page, 1)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tree {
    /// Our records, keys in the order of their bytes.
    Main,
    /// Lists of free pages by transaction.
    Free,
}

struct Walk<'a> {
    file: &'a File,
    meta: &'a Meta,
    used: Vec<bool>,
    free: Vec<u64>,
    /// Records of the tree so far.
    records: u64,
}

/// A node of a page, taken apart and inside of its bounds.
struct Node<'a> {
    key: &'a [u8],
    /// The rest of the page from the node's data on.
    rest: &'a [u8],
    low: u32,
    flags: u16,
}

impl Walk<'_> {
    fn tree(&mut self, root: &Root, tree: Tree) -> Result<(), Bad> {
        self.records = 0;
        if root.page != NO_PAGE {
            self.page(root.page, tree, &[], None, 0)?;
        }
        if self.records == root.records {
            Ok(())
        } else {
            bad(root.page, "its tree has lost or won records")
        }
    }

    /// Marks pages as used, each only once.
    fn take(&mut self, first: u64, count: u64) -> Result<(), Bad> {
        let end = first
            .checked_add(count)
            .filter(|end| *end <= self.used.len() as u64);
        let Some(end) = end else {
            return bad(first, "it lies beyond the end");
        };
        for page in first..end {
            if std::mem::replace(&mut self.used[page as usize], true) {
                return bad(page, "it is used twice");
            }
        }
        Ok(())
    }

    fn read(&self, number: u64) -> Result<Vec<u8>, Bad> {
        let mut page = vec![0; self.meta.page_bytes];
        self.file
            .read_exact_at(&mut page, number * self.meta.page_bytes as u64)?;
        if u64_at(&page, 0) != number {
            return bad(number, "it says another number");
        }
        Ok(page)
    }

    /// Checks a page and what is below it; its keys are at least `low` and below `high`.
    fn page(
        &mut self,
        number: u64,
        tree: Tree,
        low: &[u8],
        high: Option<&[u8]>,
        depth: usize,
    ) -> Result<(), Bad> {
        self.take(number, 1)?;
        let page = self.read(number)?;
        let flags = u16_at(&page, 10) & !TRANSIENT;
        let (lower, upper) = (
            usize::from(u16_at(&page, 12)),
            usize::from(u16_at(&page, 14)),
        );
        if depth >= MAX_DEPTH || (flags != BRANCH && flags != LEAF) {
            return bad(number, "it is neither branch nor leaf");
        }
        if lower < PAGE_HEAD
            || lower > upper
            || upper > page.len()
            || !lower.is_multiple_of(2)
            || lower == PAGE_HEAD
        {
            return bad(number, "its bounds are wrong");
        }
        let count = (lower - PAGE_HEAD) / 2;
        let mut last: &[u8] = low;
        for index in 0..count {
            let Some(node) = node_at(&page, index, upper) else {
                return bad(number, "a node is out of its bounds");
            };
            // The first key of a branch stands for everything below the second, whatever it says.
            let key = if flags == BRANCH && index == 0 {
                low
            } else {
                node.key
            };
            let ordered = index == 0 && key >= last || key > last;
            if tree == Tree::Main && !(ordered && high.is_none_or(|high| key < high)) {
                return bad(number, "its keys are out of order");
            }
            last = key;
            if flags == LEAF {
                self.leaf(number, &node, tree)?;
            } else {
                let next = (index + 1 < count)
                    .then(|| node_at(&page, index + 1, upper))
                    .flatten();
                let high = next.as_ref().map(|next| next.key).or(high);
                let child = u64::from(node.low) | u64::from(node.flags) << 32;
                self.page(child, tree, key, high, depth + 1)?;
            }
        }
        Ok(())
    }

    fn leaf(&mut self, number: u64, node: &Node<'_>, tree: Tree) -> Result<(), Bad> {
        self.records += 1;
        let length = node.low as usize;
        if node.flags & !BIG_DATA != 0 {
            return bad(number, "a node has unknown flags");
        }
        if node.flags & BIG_DATA == 0 {
            let Some(data) = node.rest.get(..length) else {
                return bad(number, "a value is out of its bounds");
            };
            return if tree == Tree::Free {
                self.free_list(number, data)
            } else {
                Ok(())
            };
        }
        let Some(first) = node.rest.first_chunk() else {
            return bad(number, "a value is out of its bounds");
        };
        let first = u64::from_le_bytes(*first);
        let count = (PAGE_HEAD - 1 + length) / self.meta.page_bytes + 1;
        self.take(first, count as u64)?;
        let head = self.read(first)?;
        if u16_at(&head, 10) & !TRANSIENT != OVERFLOW
            || u64::from(u32_at(&head, 12)) != count as u64
        {
            return bad(first, "it is no overflow page of its length");
        }
        if tree == Tree::Main {
            return Ok(());
        }
        let mut data = vec![0; length];
        self.file.read_exact_at(
            &mut data,
            first * self.meta.page_bytes as u64 + PAGE_HEAD as u64,
        )?;
        self.free_list(number, &data)
    }

    /// A list of free pages: its count, then their numbers. They are marked last, when all used pages are known.
    fn free_list(&mut self, number: u64, data: &[u8]) -> Result<(), Bad> {
        let (words, _) = data.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let listed = words
            .split_first()
            .and_then(|(count, pages)| pages.get(..usize::try_from(*count).ok()?));
        let Some(listed) = listed else {
            return bad(number, "a list of free pages is too short");
        };
        self.free.extend_from_slice(listed);
        Ok(())
    }
}

fn node_at(page: &[u8], index: usize, upper: usize) -> Option<Node<'_>> {
    let at = usize::from(u16_at(page, PAGE_HEAD + 2 * index));
    if at < upper {
        return None;
    }
    let node = page.get(at..).filter(|node| node.len() >= NODE_HEAD)?;
    let key_bytes = usize::from(u16_at(node, 6));
    let (key, rest) = node[NODE_HEAD..].split_at_checked(key_bytes)?;
    Some(Node {
        key,
        rest,
        low: u32_at(node, 0),
        flags: u16_at(node, 4),
    })
}
