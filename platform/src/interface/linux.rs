//! `/sys/class/net`.

use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use super::addresses::Entries;
use super::{Interface, Member};

pub(super) fn interfaces(_: &Entries) -> io::Result<Vec<Interface>> {
    below(Path::new("/sys/class/net"))
}

/// `folder` is `/sys/class/net`, but in a test. An interface may go while it is read: what is missing then is not known of it.
fn below(folder: &Path) -> io::Result<Vec<Interface>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // `bonding_masters` is a file.
        if path.is_dir()
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            found.push(interface(&path, name));
        }
    }
    Ok(found)
}

fn interface(path: &Path, name: &str) -> Interface {
    let has_link = has_link(path);
    let counter = |name: &str| number::<u64>(&path.join("statistics").join(name)).unwrap_or(0);
    Interface {
        name: name.to_owned(),
        addresses: Vec::new(),
        has_link,
        // -1 if the driver does not know it, 0xFFFF_FFFF in some old ones.
        speed: number::<i64>(&path.join("speed"))
            .filter(|megabits| has_link && (1..=i64::from(i32::MAX)).contains(megabits))
            .map(|megabits| megabits.unsigned_abs() * 1_000_000),
        is_hardware: path.join("device").exists(),
        packets: counter("rx_packets") + counter("tx_packets"),
        errors: counter("rx_errors") + counter("tx_errors"),
        below: lower(path),
        members: members(path),
    }
}

/// By RFC 2863, as far as the driver says; tunnels and their like say `unknown`, and have a carrier.
fn has_link(path: &Path) -> bool {
    match text(&path.join("operstate")).as_deref() {
        Some("up") => true,
        Some("unknown") => text(&path.join("carrier")).as_deref() == Some("1"),
        _ => false,
    }
}

fn lower(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_prefix("lower_")?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The members of a bond. With LACP, one that has a link and is not in the active aggregator carries nothing: its other end
/// is not set up for it, or leads elsewhere.
fn members(path: &Path) -> Vec<Member> {
    let Some(names) = text(&path.join("bonding/slaves")) else {
        return Vec::new();
    };
    let active = text(&path.join("bonding/ad_aggregator"));
    let member = |name: &str| {
        let own = path.with_file_name(name);
        let state = own.join("bonding_slave");
        let aggregator = text(&state.join("ad_aggregator_id")).filter(|id| id != "N/A");
        let is_in = match (&active, aggregator) {
            (Some(active), Some(own)) => *active == own,
            _ => true,
        };
        let link = text(&state.join("mii_status"));
        Member {
            name: name.to_owned(),
            carries: is_in && link.map_or_else(|| has_link(&own), |link| link == "up"),
        }
    };
    names.split_whitespace().map(member).collect()
}

/// The first line; `None` if there is nothing, or the driver refuses.
fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn number<N: FromStr>(path: &Path) -> Option<N> {
    text(path)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder as a machine has it: each file with its line.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, line) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{line}\n")).unwrap();
        }
        folder
    }

    fn found(folder: &tempfile::TempDir, name: &str) -> Interface {
        let mut all = below(folder.path()).unwrap().into_iter();
        all.find(|it| it.name == name).unwrap()
    }

    /// As Linux 6.1 shows an LACP bond of three: one whose cable is out, one whose other end speaks no LACP.
    #[test]
    fn a_bond_has_members_and_some_of_them_carry() {
        let folder = machine(&[
            ("bonding_masters", "bond0"),
            ("bond0/operstate", "up"),
            ("bond0/carrier", "1"),
            ("bond0/speed", "100000"),
            ("bond0/bonding/slaves", "eth0 eth1 eth2"),
            ("bond0/bonding/ad_aggregator", "1"),
            ("bond0/statistics/rx_packets", "7"),
            ("bond0/statistics/tx_packets", "5"),
            ("bond0/statistics/rx_errors", "2"),
            ("bond0/statistics/tx_errors", "1"),
            ("eth0/operstate", "up"),
            ("eth0/speed", "100000"),
            ("eth0/bonding_slave/mii_status", "up"),
            ("eth0/bonding_slave/ad_aggregator_id", "1"),
            ("eth0/device/vendor", "0x15b3"),
            ("eth1/operstate", "down"),
            ("eth1/speed", "-1"),
            ("eth1/bonding_slave/mii_status", "down"),
            ("eth1/bonding_slave/ad_aggregator_id", "1"),
            ("eth2/operstate", "up"),
            ("eth2/bonding_slave/mii_status", "up"),
            ("eth2/bonding_slave/ad_aggregator_id", "2"),
        ]);
        for name in ["eth0", "eth1", "eth2"] {
            let link = folder.path().join(format!("bond0/lower_{name}"));
            symlink(format!("../{name}"), link).unwrap();
        }
        let bond = found(&folder, "bond0");
        let carries: Vec<(&str, bool)> = bond
            .members
            .iter()
            .map(|member| (member.name.as_str(), member.carries))
            .collect();
        assert_eq!(carries, [("eth0", true), ("eth1", false), ("eth2", false)]);
        assert_eq!((bond.speed, bond.has_link), (Some(100_000_000_000), true));
        assert_eq!((bond.packets, bond.errors), (12, 3));
        assert_eq!(bond.below, ["eth0", "eth1", "eth2"]);
        assert!(!bond.is_hardware && found(&folder, "eth0").is_hardware);
        assert_eq!(found(&folder, "eth1").speed, None);
    }

    #[test]
    fn who_has_a_link_and_who_says_how_fast() {
        let table = [
            // (operstate, carrier, speed), (has a link, speed)
            (("up", "1", "25000"), (true, Some(25_000_000_000))),
            (("up", "1", "-1"), (true, None)),
            (("up", "1", "4294967295"), (true, None)),
            (("unknown", "1", "10"), (true, Some(10_000_000))),
            (("unknown", "0", "10"), (false, None)),
            (("down", "0", "1000"), (false, None)),
            (("lowerlayerdown", "0", "1000"), (false, None)),
            (("dormant", "1", "1000"), (false, None)),
        ];
        for ((state, carrier, speed), expected) in table {
            let folder = machine(&[
                ("eth0/operstate", state),
                ("eth0/carrier", carrier),
                ("eth0/speed", speed),
            ]);
            let it = found(&folder, "eth0");
            assert_eq!(
                (it.has_link, it.speed),
                expected,
                "{state} {carrier} {speed}"
            );
        }
        assert_eq!(
            found(&machine(&[("eth0/flags", "0x1002")]), "eth0").speed,
            None
        );
    }
}
