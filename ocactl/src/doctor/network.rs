//! Interfaces: whether they carry what the configuration promises, and whether their work is spread over the cores.

use platform::interface::{Interface, interfaces};
use protocol::config::{Auto, Config};
use protocol::limits::CAPACITY_PERCENT;
use protocol::units::BitRate;

use super::machine::Machine;
use super::{Finding, Level};

/// One finding for each interface with hardware behind it, and one for the capacity.
pub(super) fn findings(config: &Config, machine: &Machine) -> Vec<Finding> {
    let all = interfaces().unwrap_or_default();
    let interfaces: Vec<Interface> = all.into_iter().filter(|it| it.is_hardware).collect();
    let cores = platform::cpu::core_count();
    let mut findings: Vec<Finding> = interfaces
        .iter()
        .map(|it| of_interface(it, &Settings::of(&it.name, machine), cores))
        .collect();
    let speed = interfaces.iter().filter_map(|it| it.speed).sum();
    findings.push(capacity(config.steering.capacity, speed));
    findings
}

/// What only an operator changes, from sysfs of Linux (Documentation/ABI/testing/sysfs-class-net); not known elsewhere.
#[derive(Debug, Default)]
struct Settings {
    is_half_duplex: bool,
    receive_queues: usize,
}

impl Settings {
    fn of(name: &str, machine: &Machine) -> Self {
        let at = format!("sys/class/net/{name}");
        let queues = machine.names(&format!("{at}/queues"));
        Self {
            is_half_duplex: machine.read(&format!("{at}/duplex")).as_deref() == Some("half"),
            receive_queues: queues
                .iter()
                .filter(|queue| queue.starts_with("rx-"))
                .count(),
        }
    }
}

/// The share of its queues that an interface should have for each core, up to what its interrupts gain.
const QUEUES_ENOUGH: usize = 16;

fn of_interface(interface: &Interface, settings: &Settings, cores: usize) -> Finding {
    let name = &interface.name;
    let subject = format!("interface {name}");
    if !interface.has_link {
        let why = "what it would carry is missing; and whoever sends viewers counts on it if it is in steering.capacity";
        return Finding::new(
            subject,
            Level::Warn,
            "has no link",
            why,
            format!("ip link set {name} up; ethtool {name} (FreeBSD: ifconfig {name} up)"),
        );
    }
    if settings.is_half_duplex {
        let why = "it sends or receives, and loses packets when both happen: the two ends were set up differently";
        return Finding::new(
            subject,
            Level::Fail,
            "is half duplex",
            why,
            format!("ethtool -s {name} autoneg on"),
        );
    }
    let wanted = cores.min(QUEUES_ENOUGH);
    let queues = settings.receive_queues;
    if queues > 0 && queues < wanted {
        let why = "interrupts of all viewers are worked off by so few cores";
        let what = format!("has {queues} receive queues for {cores} cores");
        return Finding::new(
            subject,
            Level::Advice,
            what,
            why,
            format!("ethtool -L {name} combined {wanted}"),
        );
    }
    let speed = interface
        .speed
        .map_or("does not say its speed".to_owned(), |speed| {
            BitRate::from_bits_per_second(speed).to_string()
        });
    Finding::ok(subject, speed)
}

fn capacity(configured: Auto<BitRate>, speed: u64) -> Finding {
    let subject = "steering.capacity";
    let shown = BitRate::from_bits_per_second(speed);
    let usable = BitRate::from_bits_per_second(speed / 100 * CAPACITY_PERCENT);
    let mend = format!("steering.capacity = \"{usable}\" in the configuration");
    match configured {
        Auto::Auto if speed > 0 => Finding::ok(
            subject,
            format!("auto: {CAPACITY_PERCENT} % of the interfaces that serve"),
        ),
        Auto::Auto => {
            let why = "nobody who sends viewers knows how many this box can take";
            Finding::new(
                subject,
                Level::Warn,
                "is not set, and no interface says its speed",
                why,
                "steering.capacity = \"8.5 Gbit/s\", or what it is, in the configuration",
            )
        }
        Auto::Fixed(wanted) if speed > 0 && wanted.bits_per_second() > speed => {
            let why =
                "more viewers are sent here than the interfaces can carry, and all of them stall";
            Finding::new(
                subject,
                Level::Fail,
                format!("is {wanted}, and the interfaces carry {shown}"),
                why,
                mend,
            )
        }
        Auto::Fixed(wanted) if speed > 0 && wanted > usable => {
            let why = "headers and bursts need the rest: viewers stall before this much is reached";
            Finding::new(
                subject,
                Level::Warn,
                format!("is {wanted}, more than {CAPACITY_PERCENT} % of {shown}"),
                why,
                mend,
            )
        }
        Auto::Fixed(wanted) => Finding::ok(subject, wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::machine::fixture::machine;

    #[test]
    fn an_interface_is_judged_by_its_link_and_its_settings() {
        let (_folder, machine) = machine(&[
            ("sys/class/net/eth0/duplex", "full"),
            ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0"),
            ("sys/class/net/eth0/queues/tx-0/xps_cpus", "0"),
            ("sys/class/net/eth1/duplex", "half"),
        ]);
        let judged = |name: &str, has_link, cores| {
            let interface = Interface {
                name: name.into(),
                has_link,
                ..Interface::default()
            };
            of_interface(&interface, &Settings::of(name, &machine), cores)
        };
        assert_eq!(judged("eth0", true, 1).level, Level::Ok);
        let few = judged("eth0", true, 8);
        assert_eq!(few.mend, "ethtool -L eth0 combined 8");
        assert_eq!(judged("eth0", false, 1).level, Level::Warn);
        assert_eq!(judged("eth1", true, 1).level, Level::Fail);
        assert_eq!(judged("ix0", true, 8).level, Level::Ok, "not known");
    }

    #[test]
    fn capacity_leaves_a_rest_for_headers() {
        let fixed =
            |gigabits: u64| Auto::Fixed(BitRate::from_bits_per_second(gigabits * 1_000_000_000));
        for (configured, level) in [
            (Auto::Auto, Level::Ok),
            (fixed(8), Level::Ok),
            (fixed(9), Level::Warn),
            (fixed(11), Level::Fail),
        ] {
            assert_eq!(
                capacity(configured, 10_000_000_000).level,
                level,
                "{configured:?}"
            );
        }
        assert_eq!(capacity(fixed(11), 0).level, Level::Ok, "nothing is known");
        assert_eq!(capacity(Auto::Auto, 0).level, Level::Warn);
    }
}
