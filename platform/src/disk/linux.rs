//! `/proc/self/mountinfo` (proc(5)) says what is mounted, `/sys/dev/block` what lies below it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(super) fn disks_below(path: &Path) -> io::Result<Vec<String>> {
    let table = mounts()?;
    let mut found = BTreeSet::new();
    if let Some(seen) = seen_at(&table, path) {
        add_disks(&Path::new("/sys/dev/block").join(seen.device), &mut found);
    }
    Ok(found.into_iter().collect())
}

pub(super) fn takes_no_writes(path: &Path) -> io::Result<bool> {
    let table = mounts()?;
    let seen = seen_at(&table, path).ok_or(io::ErrorKind::NotFound)?;
    Ok(seen.options.split(',').any(|option| option == "ro"))
}

fn mounts() -> io::Result<String> {
    fs::read_to_string("/proc/self/mountinfo")
}

/// A file system.
#[derive(Debug, PartialEq)]
struct Seen<'t> {
    /// Its `major:minor`. Some (Btrfs) have a number of their own, which is no disk's: then none is found below it.
    device: &'t str,
    /// Its own options, whatever those of a mount are.
    options: &'t str,
}

/// What is seen at `path`: of the mount points above it the lowest, and of several at one place the last.
fn seen_at<'t>(table: &'t str, path: &Path) -> Option<Seen<'t>> {
    let mounts = table.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let device = fields.next()?;
        let point = PathBuf::from(unescaped(fields.nth(1)?));
        let options = line.rsplit(' ').next()?;
        path.starts_with(&point)
            .then(|| (point.components().count(), Seen { device, options }))
    });
    let lowest = mounts.max_by_key(|(depth, _)| *depth);
    lowest.map(|(_, seen)| seen)
}

/// Blank, tab, newline and backslash are written as `\040` and so on.
fn unescaped(text: &str) -> String {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    escapes
        .iter()
        .fold(text.to_owned(), |text, (code, letter)| {
            text.replace(code, letter)
        })
}

/// Of a partition its disk, of a mapping or an array what it is made of.
fn add_disks(device: &Path, found: &mut BTreeSet<String>) {
    let Ok(at) = fs::canonicalize(device) else {
        return;
    };
    let parts = fs::read_dir(at.join("slaves")).into_iter().flatten();
    let parts: Vec<PathBuf> = parts.flatten().map(|entry| entry.path()).collect();
    if at.join("partition").exists() {
        found.extend(at.parent().and_then(name));
    } else if parts.is_empty() {
        found.extend(name(&at));
    }
    for part in parts {
        add_disks(&part, found);
    }
}

fn name(at: &Path) -> Option<String> {
    Some(at.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_mounted_lowest_and_last_is_what_is_seen() {
        let table = "22 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw\n\
                     23 22 0:21 / /proc rw - proc proc rw\n\
                     40 22 259:3 / /srv/oca/nvme0 rw - xfs /dev/nvme0n1p1 rw\n\
                     41 22 259:4 / /srv/my\\040disk rw - xfs /dev/nvme1n1 rw\n\
                     42 22 8:17 / /srv/twice rw - ext4 /dev/sdb1 rw\n\
                     43 42 8:33 / /srv/twice rw - ext4 /dev/sdc1 rw\n\
                     44 22 8:49 / /srv/view ro,nosuid shared:7 - ext4 /dev/sdd1 rw,errors=remount-ro\n\
                     45 22 8:65 / /srv/broken rw - ext4 /dev/sde1 ro,errors=remount-ro\n";
        let of = |path: &str| seen_at(table, Path::new(path)).map(|seen| seen.device);
        assert_eq!(of("/srv/oca/nvme0"), Some("259:3"));
        assert_eq!(of("/srv/oca/nvme0/objects"), Some("259:3"));
        assert_eq!(of("/srv/oca/nvme01"), Some("254:1"), "another name");
        assert_eq!(of("/srv/my disk"), Some("259:4"));
        assert_eq!(of("/srv/twice"), Some("8:33"));
        assert_eq!(seen_at("", Path::new("/")), None);
        let options = |path: &str| seen_at(table, Path::new(path)).map(|seen| seen.options);
        assert_eq!(options("/srv/view"), Some("rw,errors=remount-ro"));
        assert_eq!(options("/srv/broken"), Some("ro,errors=remount-ro"));
    }

    #[test]
    fn a_partition_leads_to_its_disk_and_an_array_to_all_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        for made in ["sda/sda1", "sdb", "md0/slaves", "nvme0n1/slaves"] {
            fs::create_dir_all(root.join(made)).unwrap();
        }
        fs::write(root.join("sda/sda1/partition"), "1\n").unwrap();
        symlink("../../sda/sda1", root.join("md0/slaves/sda1")).unwrap();
        symlink("../../sdb", root.join("md0/slaves/sdb")).unwrap();
        let of = |name: &str| {
            let mut found = BTreeSet::new();
            add_disks(&root.join(name), &mut found);
            found.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(of("md0"), ["sda", "sdb"]);
        assert_eq!(of("sda/sda1"), ["sda"]);
        assert_eq!(of("nvme0n1"), ["nvme0n1"]);
        assert!(of("gone").is_empty());
    }

    #[test]
    fn the_disk_of_this_system_is_one() {
        for disk in disks_below(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap() {
            assert!(Path::new("/sys/block").join(&disk).exists(), "{disk}");
        }
    }
}
