//! A model of file systems: from the calls that a program made, every state that a power cut can leave.
//!
//! Each folder below the recorded one is a file system of its own. Bytes that were written and not synced are there, or not, or in
//! part; names keep to one of two rules, [`Names`]. A call that has not come back counts as unfinished: the last of a prefix.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::random::Random;
use crate::trace::Call;

/// In which order names become durable.
#[derive(Clone, Copy, Debug)]
pub enum Names {
    /// In that in which they were made: one journal per file system (ext4, XFS). To sync a file or a folder makes its own names
    /// durable, and all that was done before them.
    InOrder,
    /// Each folder for itself: what POSIX promises. Only to sync a folder makes the names in it durable.
    ByFolder,
}

/// What becomes of that which is not durable.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Kept,
    Lost,
    /// Each piece for itself: kept, lost, or torn.
    Mixed,
}

type Node = usize;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    File(Node),
    Folder,
}

#[derive(Debug)]
enum Op {
    Create {
        at: PathBuf,
        node: Node,
    },
    Folder {
        at: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        what: Entry,
    },
    Unlink {
        at: PathBuf,
    },
    Write {
        node: Node,
        offset: u64,
        bytes: Vec<u8>,
        is_synced: bool,
    },
    Length {
        node: Node,
        length: u64,
    },
    Reserve {
        node: Node,
        length: u64,
    },
    Sync {
        node: Node,
    },
    SyncFolder {
        at: PathBuf,
    },
    /// The program says that a step is done.
    Mark,
}

/// Folders and files with their bytes, by their path.
pub type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What a program did to the files below a folder.
pub struct Recording {
    start: BTreeMap<PathBuf, Entry>,
    /// What the files held at the start; nothing for those that were made later.
    nodes: Vec<Vec<u8>>,
    ops: Vec<Op>,
}

/// Reads all that is below a folder.
pub fn image(folder: &Path) -> Image {
    let mut image = Image::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let at = path.strip_prefix(folder).unwrap().to_path_buf();
            if path.is_dir() {
                image.insert(at, None);
                folders.push(path);
            } else {
                image.insert(at, Some(fs::read(&path).unwrap()));
            }
        }
    }
    image
}

/// Writes it below an empty folder.
pub fn write(image: &Image, folder: &Path) {
    for (at, bytes) in image {
        let path = folder.join(at);
        match bytes {
            None => fs::create_dir(path).unwrap(),
            Some(bytes) => fs::write(path, bytes).unwrap(),
        }
    }
}

impl Recording {
    /// `start` is what was below `folder` before the calls. Writes to `folder/marks` are marks.
    pub fn new(folder: &Path, start: Image, calls: &[Call]) -> Self {
        let mut nodes = Vec::new();
        let start = start.into_iter().map(|(at, bytes)| match bytes {
            None => (at, Entry::Folder),
            Some(bytes) => {
                nodes.push(bytes);
                (at, Entry::File(nodes.len() - 1))
            }
        });
        let start: BTreeMap<_, _> = start.collect();
        let mut recorder = Recorder {
            folder,
            names: start.clone(),
            open: BTreeMap::new(),
            nodes,
            ops: Vec::new(),
        };
        calls.iter().for_each(|call| recorder.take(call));
        Self {
            start,
            nodes: recorder.nodes,
            ops: recorder.ops,
        }
    }

    /// A cut is after so many calls, the last of which has not come back; the greatest is after all.
    pub fn cuts(&self) -> usize {
        self.ops.len() + 1
    }

    /// Steps that were done before the cut.
    pub fn marks(&self, cut: usize) -> usize {
        let before = self.ops.iter().take(cut);
        before.filter(|op| matches!(op, Op::Mark)).count()
    }

    /// The call that has not come back, in words.
    pub fn last(&self, cut: usize) -> String {
        match cut.checked_sub(1).and_then(|last| self.ops.get(last)) {
            Some(Op::Write {
                node,
                offset,
                bytes,
                ..
            }) => format!("write {} bytes at {offset} of {node}", bytes.len()),
            op => format!("{op:?}"),
        }
    }

    /// What is left if the power is cut.
    pub fn cut(&self, cut: usize, names: Names, fate: Fate, random: &mut Random) -> Image {
        let mut found = self.start.clone();
        let durable = self.durable_names(cut, names, fate, random);
        for op in self
            .ops
            .iter()
            .take(cut)
            .zip(durable)
            .filter_map(|(op, durable)| durable.then_some(op))
        {
            change_names(&mut found, op);
        }
        let has_folder = |at: &Path, found: &BTreeMap<PathBuf, Entry>| {
            at.ancestors()
                .skip(1)
                .all(|above| above == Path::new("") || found.get(above) == Some(&Entry::Folder))
        };
        let reachable = found.iter().filter(|(at, _)| has_folder(at, &found));
        let filled = reachable.map(|(at, entry)| match entry {
            Entry::Folder => (at.clone(), None),
            Entry::File(node) => (at.clone(), Some(self.bytes(*node, cut, fate, random))),
        });
        filled.collect()
    }

    /// For each call before the cut whether the names that it changed are changed afterwards.
    fn durable_names(
        &self,
        cut: usize,
        names: Names,
        fate: Fate,
        random: &mut Random,
    ) -> Vec<bool> {
        let domains = |op: &Op| -> Vec<PathBuf> {
            let of = |at: &Path| match names {
                Names::InOrder => at.iter().take(1).collect(),
                Names::ByFolder => at.parent().unwrap_or(Path::new("")).to_path_buf(),
            };
            match op {
                Op::Create { at, .. } | Op::Folder { at } | Op::Unlink { at } => vec![of(at)],
                Op::Rename { from, to, .. } => vec![of(from), of(to)],
                _ => Vec::new(),
            }
        };
        // Before these calls everything of a domain is durable.
        let mut least: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for (index, op) in self.ops.iter().enumerate().take(cut.saturating_sub(1)) {
            if let Some((domain, end)) = self.made_durable(index, op, names) {
                let known = least.entry(domain).or_default();
                *known = (*known).max(end);
            }
        }
        let mut ends: BTreeMap<PathBuf, usize> = BTreeMap::new();
        let mut is_durable = |op: &Op, index: usize| {
            domains(op).into_iter().any(|domain| {
                let least = least.get(&domain).copied().unwrap_or(0);
                let end = ends.entry(domain).or_insert_with(|| match fate {
                    Fate::Kept => cut,
                    Fate::Lost => least,
                    Fate::Mixed => least + random.below((cut - least.min(cut) + 1) as u64) as usize,
                });
                index < *end
            })
        };
        self.ops
            .iter()
            .take(cut)
            .enumerate()
            .map(|(index, op)| is_durable(op, index))
            .collect()
    }

    /// Which names a sync makes durable: those of a domain that were changed by calls before the given one.
    fn made_durable(&self, index: usize, op: &Op, names: Names) -> Option<(PathBuf, usize)> {
        match (names, op) {
            (Names::ByFolder, Op::SyncFolder { at }) => Some((at.clone(), index)),
            (Names::InOrder, Op::SyncFolder { at }) => {
                let touches = |path: &Path| path == at || path.parent() == Some(at);
                self.last_name_before(index, touches, None)
                    .map(|end| (at.iter().take(1).collect(), end))
            }
            (Names::InOrder, Op::Sync { node }) => {
                let end = self.last_name_before(index, |_| false, Some(*node))?;
                let at = self.ops[end - 1].place()?;
                Some((at.iter().take(1).collect(), end))
            }
            _ => None,
        }
    }

    fn last_name_before(
        &self,
        index: usize,
        touches: impl Fn(&Path) -> bool,
        of: Option<Node>,
    ) -> Option<usize> {
        let is_meant = |op: &Op| match op {
            Op::Create { at, node } => touches(at) || of == Some(*node),
            Op::Folder { at } | Op::Unlink { at } => touches(at),
            Op::Rename { from, to, what } => {
                touches(from) || touches(to) || of.is_some_and(|node| *what == Entry::File(node))
            }
            _ => false,
        };
        self.ops[..index]
            .iter()
            .rposition(is_meant)
            .map(|last| last + 1)
    }

    /// What a file holds after a cut.
    fn bytes(&self, node: Node, cut: usize, fate: Fate, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.nodes[node].clone();
        let syncs = |op: &Op| matches!(op, Op::Sync { node: synced } if *synced == node);
        let returned = &self.ops[..cut.saturating_sub(1).min(self.ops.len())];
        let synced = returned.iter().rposition(syncs).unwrap_or(0);
        for (index, op) in self.ops.iter().enumerate().take(cut) {
            let own_sync = matches!(
                op,
                Op::Write {
                    is_synced: true,
                    ..
                }
            ) && index + 1 < cut;
            let fate = if index < synced || own_sync {
                Fate::Kept
            } else {
                fate
            };
            match op {
                Op::Write {
                    node: of,
                    offset,
                    bytes: new,
                    ..
                } if *of == node => {
                    put(&mut bytes, *offset as usize, new, fate, random);
                }
                Op::Length { node: of, length } if *of == node && is_kept(fate, random) => {
                    bytes.resize(*length as usize, 0);
                }
                Op::Reserve { node: of, length } if *of == node && is_kept(fate, random) => {
                    let length = bytes.len().max(*length as usize);
                    bytes.resize(length, 0);
                }
                _ => {}
            }
        }
        bytes
    }
}

impl Op {
    fn place(&self) -> Option<&Path> {
        match self {
            Self::Create { at, .. }
            | Self::Folder { at }
            | Self::Unlink { at }
            | Self::Rename { to: at, .. } => Some(at),
            _ => None,
        }
    }
}

fn is_kept(fate: Fate, random: &mut Random) -> bool {
    match fate {
        Fate::Kept => true,
        Fate::Lost => false,
        Fate::Mixed => random.below(2) == 0,
    }
}

/// What a disk writes as one.
const SECTOR: usize = 512;

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8], fate: Fate, random: &mut Random) {
    let is_torn = matches!(fate, Fate::Mixed) && random.below(3) == 0;
    if !is_torn {
        if is_kept(fate, random) {
            overwrite(bytes, offset, new);
        }
        return;
    }
    let piece = [SECTOR, 4096, 65536][random.below(3) as usize];
    for (index, new) in new.chunks(piece).enumerate() {
        if random.below(2) == 0 {
            overwrite(bytes, offset + index * piece, new);
        }
    }
}

fn overwrite(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

fn change_names(names: &mut BTreeMap<PathBuf, Entry>, op: &Op) {
    match op {
        Op::Create { at, node } => drop(names.insert(at.clone(), Entry::File(*node))),
        Op::Folder { at } => drop(names.insert(at.clone(), Entry::Folder)),
        Op::Unlink { at } => drop(names.remove(at)),
        Op::Rename { from, to, what } => {
            if names.get(from) == Some(what) {
                names.remove(from);
            }
            names.insert(to.clone(), *what);
            if *what == Entry::Folder {
                let below: Vec<_> = names
                    .keys()
                    .filter(|at| at.starts_with(from))
                    .cloned()
                    .collect();
                for at in below {
                    if let (Some(entry), Ok(rest)) = (names.remove(&at), at.strip_prefix(from)) {
                        names.insert(to.join(rest), entry);
                    }
                }
            }
        }
        _ => {}
    }
}

/// An open file or folder.
enum Open {
    File {
        node: Node,
        offset: u64,
        is_synced: bool,
    },
    Folder(PathBuf),
    Marks,
}

struct Recorder<'a> {
    folder: &'a Path,
    names: BTreeMap<PathBuf, Entry>,
    open: BTreeMap<i64, Open>,
    nodes: Vec<Vec<u8>>,
    ops: Vec<Op>,
}

impl Recorder<'_> {
    fn take(&mut self, call: &Call) {
        match call.name.as_str() {
            "openat" => self.open(call),
            "close" => drop(self.open.remove(&call.number(0))),
            "lseek" => {
                if let Some(Open::File { offset, .. }) = self.open.get_mut(&call.number(0)) {
                    *offset = call.result as u64;
                }
            }
            "write" => self.write(call, call.arguments[1].len() > 2, None, || call.text(1)),
            "writev" => self.write(call, true, None, || call.vectors()),
            "pwrite64" => self.write(call, true, Some(call.number(3) as u64), || call.text(1)),
            "pwritev" => {
                let offset = call.arguments.last().unwrap().parse().unwrap();
                self.write(call, true, Some(offset), || call.vectors());
            }
            "ftruncate" => self.on_file(call, |node| Op::Length {
                node,
                length: call.number(1) as u64,
            }),
            "fallocate" => {
                assert_eq!(call.arguments[1], "0", "{:?}", call.arguments);
                let length = (call.number(2) + call.number(3)) as u64;
                self.on_file(call, |node| Op::Reserve { node, length });
            }
            "fsync" | "fdatasync" => match self.open.get(&call.number(0)) {
                Some(Open::File { node, .. }) => self.ops.push(Op::Sync { node: *node }),
                Some(Open::Folder(at)) => self.ops.push(Op::SyncFolder { at: at.clone() }),
                _ => {}
            },
            "rename" => self.rename(&call.text(0), &call.text(1)),
            "unlink" => self.unlink(&call.text(0)),
            "mkdir" => {
                if let Some(at) = self.place(&call.text(0)) {
                    self.name(Op::Folder { at });
                }
            }
            other => panic!("the model does not know of {other}{:?}", call.arguments),
        }
    }

    fn place(&self, path: &[u8]) -> Option<PathBuf> {
        let path = Path::new(std::str::from_utf8(path).unwrap());
        path.strip_prefix(self.folder).ok().map(Path::to_path_buf)
    }

    fn name(&mut self, op: Op) {
        change_names(&mut self.names, &op);
        self.ops.push(op);
    }

    fn open(&mut self, call: &Call) {
        let (flags, descriptor) = (&call.arguments[2], call.result);
        self.open.remove(&descriptor);
        let Some(at) = self.place(&call.text(1)) else {
            return;
        };
        if at == Path::new("marks") {
            self.open.insert(descriptor, Open::Marks);
            return;
        }
        let node = match self.names.get(&at) {
            _ if at == Path::new("") => return,
            Some(Entry::Folder) => {
                self.open.insert(descriptor, Open::Folder(at));
                return;
            }
            Some(Entry::File(node)) => {
                if flags.contains("O_TRUNC") {
                    self.ops.push(Op::Length {
                        node: *node,
                        length: 0,
                    });
                }
                *node
            }
            None => {
                assert!(
                    flags.contains("O_CREAT"),
                    "{} was made by nobody",
                    at.display()
                );
                self.nodes.push(Vec::new());
                let node = self.nodes.len() - 1;
                self.name(Op::Create { at, node });
                node
            }
        };
        assert!(
            !flags.contains("O_APPEND"),
            "the model knows of no appending"
        );
        let is_synced = flags.contains("SYNC");
        self.open.insert(
            descriptor,
            Open::File {
                node,
                offset: 0,
                is_synced,
            },
        );
    }

    fn on_file(&mut self, call: &Call, op: impl FnOnce(Node) -> Op) {
        if let Some(Open::File { node, .. }) = self.open.get(&call.number(0)) {
            self.ops.push(op(*node));
        }
    }

    fn write(
        &mut self,
        call: &Call,
        is_any: bool,
        at: Option<u64>,
        bytes: impl FnOnce() -> Vec<u8>,
    ) {
        match self.open.get_mut(&call.number(0)) {
            Some(Open::Marks) => self.ops.push(Op::Mark),
            Some(Open::File {
                node,
                offset,
                is_synced,
            }) if is_any => {
                let mut bytes = bytes();
                bytes.truncate(call.result as usize);
                let place = at.unwrap_or(*offset);
                if at.is_none() {
                    *offset += bytes.len() as u64;
                }
                self.ops.push(Op::Write {
                    node: *node,
                    offset: place,
                    bytes,
                    is_synced: *is_synced,
                });
            }
            _ => {}
        }
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) {
        if let (Some(from), Some(to)) = (self.place(from), self.place(to)) {
            let what = self.names[&from];
            self.name(Op::Rename { from, to, what });
        }
    }

    fn unlink(&mut self, path: &[u8]) {
        if let Some(at) = self.place(path) {
            self.name(Op::Unlink { at });
        }
    }
}
