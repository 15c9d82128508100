//! How the devices' file systems come back after a restart of the machine: fstab(5).

use std::path::Path;

use protocol::config::Config;

use super::machine::Machine;
use super::{Finding, Level};

/// One finding for each device that has a file system of its own. None where there is no such file.
pub(super) fn findings(config: &Config, machine: &Machine) -> Vec<Finding> {
    let Some(table) = machine.read("etc/fstab") else {
        return Vec::new();
    };
    let mounted = machine.read("proc/self/mounts").unwrap_or_default();
    let of_systemd = machine.has("run/systemd/system");
    let own = config.devices().filter(|(tier, _)| !tier.shared_fs);
    own.map(
        |(_, root)| match (entry_of(&table, root), entry_of(&mounted, root)) {
            (Some(entry), _) => of_entry(&entry, of_systemd),
            (None, Some(mount)) => not_listed(&mount),
            (None, None) => nowhere(root),
        },
    )
    .collect()
}

/// A line of fstab(5), or of `/proc/self/mounts`, which is of the same form.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    source: String,
    folder: String,
    kind: String,
    options: Vec<String>,
}

impl Entry {
    fn of(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let mut fields = line.split_whitespace().map(unescaped);
        Some(Self {
            source: fields.next()?,
            folder: fields.next()?,
            kind: fields.next()?,
            options: fields.next()?.split(',').map(str::to_owned).collect(),
        })
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|it| it == option)
    }
}

/// The last entry for a folder is the one that counts.
fn entry_of(table: &str, root: &Path) -> Option<Entry> {
    let mut entries = table.lines().filter_map(Entry::of);
    entries.rfind(|entry| Path::new(&entry.folder) == root)
}

/// fstab(5): a blank in a name is `\040`, a tab `\011`.
fn unescaped(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t")
}

fn of_entry(entry: &Entry, of_systemd: bool) -> Finding {
    let subject = format!("fstab {}", entry.folder);
    let edit = |options: &str| {
        format!(
            "editor /etc/fstab: add {options} to the options of {}",
            entry.folder
        )
    };
    // FreeBSD's word for it is `failok`.
    if !entry.has("nofail") && !entry.has("failok") {
        let why =
            "a box whose disk died stops at boot and serves nobody, although its other disks work";
        return Finding::new(
            subject,
            Level::Fail,
            "is required at boot",
            why,
            edit("nofail,x-systemd.device-timeout=10s"),
        );
    }
    if is_kernel_name(&entry.source) {
        let why = "these names go by the order in which disks are found: with one disk less, another one gets the name";
        let mend = format!(
            "blkid {}; editor /etc/fstab: UUID=.. or LABEL=.. instead",
            entry.source
        );
        return Finding::new(
            subject,
            Level::Warn,
            format!("is named {}", entry.source),
            why,
            mend,
        );
    }
    let waits = !entry
        .options
        .iter()
        .any(|it| it.starts_with("x-systemd.device-timeout="));
    if of_systemd && waits {
        let why = "a boot waits 90 s for a disk that died before it goes on";
        return Finding::new(
            subject,
            Level::Advice,
            "no time limit for a disk that is not there",
            why,
            edit("x-systemd.device-timeout=10s"),
        );
    }
    Finding::ok(subject, "may be absent at boot")
}

fn not_listed(mount: &Entry) -> Finding {
    let why = "after a restart of the machine it is not mounted, and what it holds is missing";
    let mend = format!(
        "echo \"UUID=$(blkid -s UUID -o value {}) {} {} noatime,nofail,x-systemd.device-timeout=10s 0 2\" >> /etc/fstab",
        mount.source, mount.folder, mount.kind
    );
    let subject = format!("fstab {}", mount.folder);
    Finding::new(
        subject,
        Level::Warn,
        "is mounted, and is not listed",
        why,
        mend,
    )
}

fn nowhere(root: &Path) -> Finding {
    let root = root.display();
    let why = "a folder without a file system of its own is an absent device";
    let mend = format!(
        "echo 'LABEL=.. {root} ext4 noatime,nofail,x-systemd.device-timeout=10s 0 2' >> /etc/fstab; mount {root}"
    );
    Finding::new(
        format!("fstab {root}"),
        Level::Warn,
        "is neither mounted nor listed",
        why,
        mend,
    )
}

/// `/dev/sda1` and the like, which say where a disk was found, and not which it is.
fn is_kernel_name(source: &str) -> bool {
    let Some(name) = source.strip_prefix("/dev/") else {
        return false;
    };
    ["sd", "nvme", "nda", "nvd", "da", "ada", "vd"]
        .iter()
        .any(|kind| {
            let rest = name.strip_prefix(kind);
            rest.is_some_and(|rest| rest.len() <= 6 && !rest.contains('/'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_judged_by_what_happens_when_its_disk_is_gone() {
        let levels = [
            ("UUID=1 /srv/a ext4 defaults 0 2", Level::Fail),
            ("/dev/nvme0n1 /srv/a ext4 nofail 0 2", Level::Warn),
            ("/dev/sdb1 /srv/a ext4 nofail 0 2", Level::Warn),
            (
                "/dev/mapper/a /srv/a ext4 noatime,nofail 0 2",
                Level::Advice,
            ),
            (
                "LABEL=a /srv/a xfs nofail,x-systemd.device-timeout=10s 0 2",
                Level::Ok,
            ),
        ];
        for (line, level) in levels {
            let entry = Entry::of(line).expect("four fields");
            assert_eq!(of_entry(&entry, true).level, level, "{line}");
        }
    }

    #[test]
    fn the_last_entry_of_a_folder_counts() {
        let table = "# /dev/sda /srv/a ext4 defaults\nUUID=1 /srv/a ext4 rw\nUUID=2 /srv/a\\040b ext4 rw\nUUID=3 /srv/a/ ext4 nofail\n";
        assert_eq!(
            entry_of(table, Path::new("/srv/a")).expect("there").source,
            "UUID=3"
        );
        assert_eq!(
            entry_of(table, Path::new("/srv/a b"))
                .expect("there")
                .source,
            "UUID=2"
        );
        assert_eq!(entry_of(table, Path::new("/srv")), None);
    }
}
