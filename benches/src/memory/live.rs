//! The trace by HTTP, one server after another, each in a control group that may use so much memory, on a disk of its own.
//!
//! What counts is the same for all: bytes that the disk was read, whatever for (content, read-ahead, bringing pieces into memory,
//! tables of checksums), against bytes of bodies sent. The limit is on all that a server uses: page cache, its own memory, the kernel's
//! for it. Ours is told to lock what is left of it when buffers and program have their share.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::report::{PARTS_OF_A_DAY, Served};
use super::trace::{Request, Shape};
use crate::content;
use crate::isolation::disk::{attach, detach, run};
use crate::load::replay::replay;
use crate::load::{Object, Range};
use crate::process::Place;
use crate::server::appliance::{Appliance, Import, Tier};
use crate::server::{self, Kind, Setting};

/// Connections of the client.
const CONNECTIONS: usize = 16;

/// Our buffers for bytes read and not yet sent.
const IN_FLIGHT_MIB: u64 = 16;

/// Our program, its tables, its connections, and the kernel's memory for them.
const PROGRAM_MIB: u64 = 40;

/// What the kernel reads ahead on a disk unless told otherwise. A loop device here would have 20 times as much, to the harm of
/// whoever uses the page cache.
const READ_AHEAD_KIB: u64 = 128;

/// The conditions, the same for each server.
pub(crate) struct Conditions<'a> {
    pub(crate) shape: Shape,
    pub(crate) limit_mib: u64,
    /// Empty; on a disk that has room for the library twice.
    pub(crate) folder: &'a Path,
    pub(crate) programs: &'a Path,
    pub(crate) core: usize,
}

pub(crate) struct Stage<'a> {
    conditions: Conditions<'a>,
    disk: Disk,
    objects: Vec<Object>,
    trace: Vec<Request>,
}

impl<'a> Stage<'a> {
    /// A disk with the library on it.
    pub(crate) fn make(conditions: Conditions<'a>) -> Result<Self> {
        let Shape {
            titles,
            title_bytes,
            ..
        } = conditions.shape;
        // Twice the library, and what a file system wants for itself.
        let bytes = 2 * conditions.shape.library_bytes() * 11 / 10 + (256 << 20);
        let disk = Disk::make(conditions.folder, bytes)?;
        let shape = content::Shape {
            files: titles,
            bytes: title_bytes,
        };
        let objects = content::make(&disk.mount.join("content"), shape)?;
        let trace = conditions.shape.trace();
        Ok(Self {
            conditions,
            disk,
            objects,
            trace,
        })
    }

    /// One server from an empty cache to the end of the trace.
    pub(crate) fn run(&mut self, kind: Kind) -> Result<Served> {
        self.disk.mount_again()?;
        let Conditions { shape, folder, .. } = &self.conditions;
        let group = Group::make(kind, self.conditions.limit_mib)?;
        let place = Place {
            cores: vec![self.conditions.core],
            namespace: None,
            group: Some(group.folder.clone()),
        };
        let devices = self.disk.mount.join(kind.short());
        let appliance = self.appliance(folder.join(kind.short()).join("state"), &devices);
        let server = server::start(
            kind,
            &Setting {
                folder: &folder.join(kind.short()),
                content: &self.disk.mount.join("content"),
                objects: &self.objects,
                place: &place,
                host: std::net::Ipv4Addr::LOCALHOST.into(),
                programs: self.conditions.programs,
                tls: None,
                appliance: Some(&appliance),
            },
        )?;
        let before = self.disk.read_bytes()?;
        let mut reads = vec![before];
        let part = (shape.requests_per_day as usize).div_ceil(PARTS_OF_A_DAY);
        for day in self.trace.chunks(shape.requests_per_day as usize) {
            for requests in day.chunks(part) {
                replay(
                    &server.target,
                    CONNECTIONS,
                    requests.iter().map(|it| self.range(*it)),
                )?;
                reads.push(self.disk.read_bytes()?);
            }
        }
        let memory_mib = group.most_bytes()? >> 20;
        drop(server);
        if devices.exists() {
            fs::remove_dir_all(&devices)?;
        }
        Ok(self.outcome(kind, &reads, memory_mib))
    }

    fn outcome(&self, server: Kind, reads: &[u64], memory_mib: u64) -> Served {
        let shape = &self.conditions.shape;
        let sent = |requests: u64| (requests * shape.request_bytes) as f64;
        let part = sent(shape.requests_per_day) / PARTS_OF_A_DAY as f64;
        let first_day = reads[PARTS_OF_A_DAY];
        let later = reads[reads.len() - 1] - first_day;
        Served {
            server,
            device_ratio: later as f64 / sent(self.trace.len() as u64 - shape.requests_per_day),
            parts: reads
                .windows(2)
                .map(|pair| (pair[1] - pair[0]) as f64 / part)
                .collect(),
            memory_mib,
        }
    }

    fn range(&self, request: Request) -> Range<'_> {
        let length = self.conditions.shape.request_bytes;
        Range {
            object: &self.objects[request.title as usize],
            offset: u64::from(request.block) * length,
            length,
        }
    }

    fn appliance(&self, state: PathBuf, devices: &Path) -> Appliance {
        Appliance {
            state,
            memory_mib: self.conditions.limit_mib - IN_FLIGHT_MIB - PROGRAM_MIB,
            in_flight_mib: Some(IN_FLIGHT_MIB),
            tiers: vec![Tier {
                name: "nvme",
                role: "hot",
                shared_fs: true,
                devices: vec![devices.to_owned()],
            }],
            imports: vec![Import {
                folder: self.disk.mount.join("content"),
                prefix: "/",
                tier: "nvme",
            }],
        }
    }
}

/// ext4 on a loop device of its own, on a sparse file that is read past the page cache. Gone with this value; and with the mount
/// namespace, however this process ends.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
    /// As in `loop1`.
    device: String,
}

impl Disk {
    fn make(folder: &Path, bytes: u64) -> Result<Self> {
        let mut disk = Self {
            image: folder.join("disk.img"),
            mount: folder.join("disk"),
            device: String::new(),
        };
        fs::File::create(&disk.image)?.set_len(bytes)?;
        fs::create_dir(&disk.mount)?;
        let image = disk.image.display().to_string();
        run("mkfs.ext4", &["-q", "-F", "-E", "nodiscard", &image])?;
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&mut self) -> Result<()> {
        self.device = attach(&self.image).context("this needs root: it makes a loop device")?;
        let queue = format!("/sys/block/{}/queue/read_ahead_kb", self.device);
        let device = format!("/dev/{}", self.device);
        let mounted = fs::write(queue, READ_AHEAD_KIB.to_string())
            .map_err(anyhow::Error::from)
            .and_then(|()| run("mount", &[&device, &self.mount.display().to_string()]));
        // While it is mounted, the kernel only notes that the device goes with the mount.
        detach(&self.device);
        mounted
    }

    /// Nothing of it is in the page cache then.
    fn mount_again(&mut self) -> Result<()> {
        run("umount", &[&self.mount.display().to_string()])?;
        self.mount()
    }

    fn read_bytes(&self) -> Result<u64> {
        // Documentation/block/stat.rst: reads, merged, sectors of 512 bytes, ..
        let text = fs::read_to_string(format!("/sys/block/{}/stat", self.device))?;
        let sectors = text.split_ascii_whitespace().nth(2);
        Ok(sectors.context("/sys/block/*/stat")?.parse::<u64>()? * 512)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What fails here is said by the removal of the folder.
        let _ = run("umount", &[&self.mount.display().to_string()]);
    }
}

/// A control group with a limit on memory, of version 1 or 2. Gone with this value, once its processes are.
struct Group {
    folder: PathBuf,
    most: &'static str,
}

impl Group {
    fn make(kind: Kind, limit_mib: u64) -> Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let (parent, limit, most) = if root.join("cgroup.controllers").exists() {
            fs::write(root.join("cgroup.subtree_control"), "+memory")?;
            (root.to_owned(), "memory.max", "memory.peak")
        } else {
            let most = "memory.max_usage_in_bytes";
            (root.join("memory"), "memory.limit_in_bytes", most)
        };
        let folder = parent.join(format!("oca-bench-{}-{}", std::process::id(), kind.short()));
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let group = Self { folder, most };
        let (file, bytes) = (group.folder.join(limit), limit_mib << 20);
        fs::write(&file, bytes.to_string()).with_context(|| file.display().to_string())?;
        let said: u64 = fs::read_to_string(&file)?.trim().parse()?;
        ensure!(
            said == bytes,
            "the kernel limits memory to {said} instead of {bytes} bytes"
        );
        Ok(group)
    }

    fn most_bytes(&self) -> Result<u64> {
        Ok(fs::read_to_string(self.folder.join(self.most))?
            .trim()
            .parse()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("{}: {error}", self.folder.display());
        }
    }
}
