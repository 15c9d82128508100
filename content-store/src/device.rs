//! A device: a folder that is the root of its own file system, known by the identity file in it.
//!
//! A mount point without its identity file is an absent device, never an empty one: nothing is ever written to it.
//! Layout below the root: `oca-device.toml`, `objects/ab/cd/<object id>.col` and `.meta`, `staging/`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use platform::file::{self, Space};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::ids::{DeviceId, ObjectId};
use crate::limits::MAX_IDENTITY_BYTES;

mod blast;
mod intent;
mod left_alone;
mod problem;
mod returned;
mod seen;

pub use blast::Blast;
pub use intent::{INTENT_FILE, Intent, Intents, Wanted};
pub use left_alone::{leave_configured_alone, leave_silent_alone};
pub use problem::{Complaint, Condition, DeviceProblem};
pub use returned::Comparison;
pub use seen::{SEEN_FILE, Seen, SeenDevice};

/// Name of the identity file.
pub const IDENTITY_FILE: &str = "oca-device.toml";
/// The version of the layout that is written, and the newest that is used.
pub const DEVICE_FORMAT: u32 = 1;
const OBJECTS: &str = "objects";
const STAGING: &str = "staging";

/// A device whose identity was read. It may have vanished since: [`Device::probe`] looks again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    root: PathBuf,
    identity: Identity,
}

/// What the identity file says; see `docs/formats/device.md`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Version of the layout on this device.
    pub format: u32,
    /// Its name.
    pub id: DeviceId,
    /// When it was initialised, seconds since 1970.
    pub created: u64,
    /// The tier it was initialised for. Only a hint: the configuration decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// It may share its file system with other folders (a demo); otherwise it must be a mount point.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared_fs: bool,
}

/// How to initialise a device.
#[derive(Clone, Debug, Default)]
pub struct InitOptions {
    /// Now, seconds since 1970.
    pub now_s: u64,
    /// Tier hint.
    pub tier: Option<String>,
    /// Accept a folder that is not the root of its own file system.
    pub shared_fs: bool,
}

/// What [`look_at_all`] found: the device and its file system's space.
pub type Looked = Result<(Device, Space), DeviceProblem>;

/// Opens all devices at once and asks whether they can be written, in the order of `roots`. One that hangs is said to after `wait`, and keeps nobody
/// waiting for the others. What an operator took offline is not touched.
pub fn look_at_all(roots: &[&Path], intents: &Intents, seen: &Seen, wait: Duration) -> Vec<Looked> {
    let mut looked = ask_all(roots, intents, wait, look);
    // In the place of what was removed another device may be.
    let mut seen = seen.clone();
    intents.removed().for_each(|removed| seen.forget(&removed));
    seen.find(looked.iter().flatten().map(|(device, _)| device));
    for found in &mut looked {
        let Ok((device, _)) = found else { continue };
        let refused = intents.refuse(device).or_else(|| seen.refuse(device));
        if let Some(problem) = refused {
            *found = Err(problem);
        }
    }
    looked
}

/// Opens all devices at once, in the order of `roots`; waits as [`look_at_all`] does.
pub(crate) fn open_all(
    roots: &[&Path],
    intents: &Intents,
    wait: Duration,
) -> Vec<Result<Device, DeviceProblem>> {
    let opened = ask_all(roots, intents, wait, open).into_iter();
    let allowed = |device: Device| match intents.refuse(&device) {
        Some(problem) => Err(problem),
        None => Ok(device),
    };
    opened.map(|device| device.and_then(allowed)).collect()
}

type Asked<T> = Result<T, DeviceProblem>;

/// Each device is asked on a thread of its own.
fn ask_all<T: Send + 'static>(
    roots: &[&Path],
    intents: &Intents,
    wait: Duration,
    ask: fn(&Path) -> Asked<T>,
) -> Vec<Asked<T>> {
    let (sender, receiver) = mpsc::channel();
    let offline = |root: &&Path| intents.refuse_root(root);
    let mut found: Vec<Option<Asked<T>>> =
        roots.iter().map(|root| offline(root).map(Err)).collect();
    for (index, root) in roots.iter().enumerate() {
        if found[index].is_some() {
            continue;
        }
        let Some(asking) = Asking::begin(root, wait) else {
            continue;
        };
        let sender = sender.clone();
        std::thread::spawn(move || {
            // Whoever has given up waiting receives no more.
            let _ = sender.send((index, ask(&asking.0)));
        });
    }
    drop(sender);
    let deadline = Instant::now() + wait;
    while let Ok((index, asked)) =
        receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        found[index] = Some(asked);
    }
    let silent = |path: &&Path| DeviceProblem::Silent {
        path: path.to_path_buf(),
        waited_s: wait.as_secs(),
    };
    let found = found.into_iter().zip(roots);
    found
        .map(|(asked, root)| asked.unwrap_or_else(|| Err(silent(root))))
        .collect()
}

/// Questions that have no answer yet, with when they were asked.
static ASKING: Mutex<Vec<(PathBuf, Instant)>> = Mutex::new(Vec::new());

/// A question to the device at this path.
struct Asking(PathBuf, Instant);

impl Asking {
    /// `None` if one has waited for longer than `wait` already: another would hang beside it, and cost a thread as well.
    fn begin(root: &Path, wait: Duration) -> Option<Self> {
        let (now, mut asking) = (Instant::now(), asking());
        if asking
            .iter()
            .any(|(path, since)| path == root && now.duration_since(*since) >= wait)
        {
            return None;
        }
        asking.push((root.into(), now));
        Some(Self(root.into(), now))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut asking = asking();
        let own = |(path, since): &(PathBuf, Instant)| *path == self.0 && *since == self.1;
        if let Some(index) = asking.iter().position(own) {
            asking.swap_remove(index);
        }
    }
}

fn asking() -> MutexGuard<'static, Vec<(PathBuf, Instant)>> {
    // A list is whole after any panic.
    ASKING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look(root: &Path) -> Looked {
    let device = open(root)?;
    let space = device.check_writable()?;
    Ok((device, space))
}

/// Makes an empty folder into a device. What the folder holds already is never touched.
pub fn initialise(path: &Path, options: &InitOptions) -> Result<Device, DeviceProblem> {
    let unreadable = |source| DeviceProblem::Unreadable {
        path: path.into(),
        source,
    };
    match open(path) {
        Err(DeviceProblem::NoIdentity { .. }) => {}
        Ok(device) => {
            return Err(DeviceProblem::AlreadyInitialised {
                path: path.into(),
                id: device.id(),
            });
        }
        Err(problem) => return Err(problem),
    }
    refuse_other_content(path)?;
    if !options.shared_fs && !is_mount_point(path).map_err(unreadable)? {
        return Err(DeviceProblem::NotMounted { path: path.into() });
    }
    let identity = Identity {
        format: DEVICE_FORMAT,
        id: random_id().map_err(unreadable)?,
        created: options.now_s,
        tier: options.tier.clone(),
        shared_fs: options.shared_fs,
    };
    write_layout(path, &identity).map_err(unreadable)?;
    Ok(Device {
        root: path.into(),
        identity,
    })
}

/// Opens a configured device, whichever it is.
pub fn open(path: &Path) -> Result<Device, DeviceProblem> {
    if let Some(problem) = left_alone::refuse(path) {
        return Err(problem);
    }
    let identity = read_identity(path)?;
    let unreadable = |source| DeviceProblem::Unreadable {
        path: path.into(),
        source,
    };
    if !identity.shared_fs && !is_mount_point(path).map_err(unreadable)? {
        return Err(DeviceProblem::NotMounted { path: path.into() });
    }
    Ok(Device {
        root: path.into(),
        identity,
    })
}

/// Opens a configured device, unless an operator took it out of use: then it is not touched.
///
/// # Errors
/// Why it is not to be used; or what is wanted of devices cannot be read.
pub fn open_for_use(path: &Path, state_dir: &Path) -> Result<Device, StoreError> {
    let intents = Intents::read(state_dir)?;
    if let Some(problem) = intents.refuse_root(path) {
        return Err(problem.into());
    }
    let device = open(path)?;
    match intents.refuse(&device) {
        Some(problem) => Err(problem.into()),
        None => Ok(device),
    }
}

impl Device {
    /// Its name.
    pub fn id(&self) -> DeviceId {
        self.identity.id
    }

    /// The folder it was opened at.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What its identity file said.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Looks whether the same device is still here. Blocks as long as the device does; the device service calls it on
    /// a thread of its own.
    pub fn probe(&self) -> Result<(), DeviceProblem> {
        let found = open(&self.root)?.id();
        if found == self.id() {
            return Ok(());
        }
        Err(DeviceProblem::WrongIdentity {
            path: self.root.clone(),
            expected: self.id(),
            found,
        })
    }

    /// Room on its file system.
    pub fn space(&self) -> Result<Space, DeviceProblem> {
        file::space(&self.root).map_err(|source| DeviceProblem::Unreadable {
            path: self.root.clone(),
            source,
        })
    }

    /// Like [`probe`](Self::probe), and the file system must take writes.
    pub fn check_writable(&self) -> Result<Space, DeviceProblem> {
        self.probe()?;
        let space = self.space()?;
        if space.read_only {
            Err(DeviceProblem::ReadOnly {
                path: self.root.clone(),
            })
        } else {
            Ok(space)
        }
    }

    /// Whether a file of an object is on it, or was. Blocks on it; one that cannot be asked is taken for one that holds some.
    pub fn holds_objects(&self) -> bool {
        match fs::read_dir(self.objects()) {
            Ok(mut folders) => folders.next().is_some(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// The folder of all objects.
    pub fn objects(&self) -> PathBuf {
        self.root.join(OBJECTS)
    }

    /// The folder of what is being written.
    pub fn staging(&self) -> PathBuf {
        self.root.join(STAGING)
    }

    /// The folder that holds the files of an object.
    pub fn folder(&self, object: &ObjectId) -> PathBuf {
        folder_below(&self.root, object)
    }

    /// The column file of an object on this device.
    pub fn column_path(&self, object: &ObjectId) -> PathBuf {
        column_path(&self.root, object)
    }

    /// The sidecar of that column.
    pub fn sidecar_path(&self, object: &ObjectId) -> PathBuf {
        sidecar_path(&self.root, object)
    }
}

fn folder_below(root: &Path, object: &ObjectId) -> PathBuf {
    let name = object.to_string();
    let mut path = root.join(OBJECTS);
    path.push(&name[..2]);
    path.push(&name[2..4]);
    path
}

/// Where the column of an object lies below the root of a device.
pub(crate) fn column_path(root: &Path, object: &ObjectId) -> PathBuf {
    folder_below(root, object).join(format!("{object}.col"))
}

/// Where its sidecar lies.
pub(crate) fn sidecar_path(root: &Path, object: &ObjectId) -> PathBuf {
    folder_below(root, object).join(format!("{object}.meta"))
}

fn read_identity(path: &Path) -> Result<Identity, DeviceProblem> {
    let unreadable = |source| DeviceProblem::Unreadable {
        path: path.into(),
        source,
    };
    let mut text = String::new();
    match File::open(path.join(IDENTITY_FILE)) {
        Ok(file) => file.take(MAX_IDENTITY_BYTES).read_to_string(&mut text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(match path.try_exists().map_err(unreadable)? {
                true => DeviceProblem::NoIdentity { path: path.into() },
                false => DeviceProblem::Missing { path: path.into() },
            });
        }
        Err(error) => Err(error),
    }
    .map_err(|source| match source.kind() {
        io::ErrorKind::InvalidData => bad_identity(path, &source),
        _ => unreadable(source),
    })?;
    parse_identity(path, &text)
}

fn bad_identity(path: &Path, cause: &dyn std::fmt::Display) -> DeviceProblem {
    DeviceProblem::BadIdentity {
        path: path.into(),
        cause: cause.to_string(),
    }
}

/// The first line of an identity file; the CRC-32 of the lines after it follows. A comment: releases before it read the file all the same.
const IDENTITY_HEAD: &str = "# Identity of an Open Cache Appliance device. Never copy or edit this file. Checksum of the rest: ";

/// A file without the line is one of an earlier release.
fn check_sum(text: &str) -> Result<(), &'static str> {
    let Some(rest) = text.strip_prefix(IDENTITY_HEAD) else {
        return Ok(());
    };
    let (sum, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    let holds = sum == format!("{:08x}", crc32fast::hash(rest.as_bytes()));
    holds.then_some(()).ok_or("its checksum does not hold")
}

/// The format is read first and alone, so that a file with keys of a newer one is said to be newer, not wrong.
fn parse_identity(path: &Path, text: &str) -> Result<Identity, DeviceProblem> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    check_sum(text).map_err(|cause| bad_identity(path, &cause))?;
    let Format { format } = toml::from_str(text).map_err(|error| bad_identity(path, &error))?;
    if format > DEVICE_FORMAT {
        return Err(DeviceProblem::NewerFormat {
            path: path.into(),
            found: format,
        });
    }
    toml::from_str(text).map_err(|error| bad_identity(path, &error))
}

/// A mount point has another device number than the folder that holds it, or is `/` itself.
fn is_mount_point(path: &Path) -> io::Result<bool> {
    let path = path.canonicalize()?;
    match path.parent() {
        Some(parent) => Ok(file::device_number(&path)? != file::device_number(parent)?),
        None => Ok(true),
    }
}

fn refuse_other_content(path: &Path) -> Result<(), DeviceProblem> {
    let unreadable = |source| DeviceProblem::Unreadable {
        path: path.into(),
        source,
    };
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        // A fresh ext4 has lost+found, a fresh UFS .snap; an interrupted initialisation left its own folders.
        let ours = [
            OBJECTS,
            STAGING,
            "lost+found",
            ".snap",
            "oca-device.toml.new",
        ];
        if !ours.iter().any(|known| name == *known) {
            return Err(DeviceProblem::NotEmpty {
                path: path.into(),
                found: name.to_string_lossy().into(),
            });
        }
    }
    Ok(())
}

/// The identity file comes last and by rename: a device without it is not yet one.
fn write_layout(path: &Path, identity: &Identity) -> io::Result<()> {
    fs::create_dir_all(path.join(OBJECTS))?;
    fs::create_dir_all(path.join(STAGING))?;
    let text = toml::to_string(identity).map_err(io::Error::other)?;
    let sum = crc32fast::hash(text.as_bytes());
    let fresh = path.join("oca-device.toml.new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{IDENTITY_HEAD}{sum:08x}")?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path.join(IDENTITY_FILE))?;
    file::sync_directory(path)
}

fn random_id() -> io::Result<DeviceId> {
    let mut id = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut id)?;
    Ok(DeviceId(id))
}
