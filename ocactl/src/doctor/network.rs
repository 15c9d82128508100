//! Interfaces: whether they carry what the configuration promises, and whether their work is spread over the cores.

use protocol::config::{Auto, Config};
use protocol::units::BitRate;

use super::machine::Machine;
use super::{Finding, Level};

/// One finding for each interface with hardware behind it, and one for the capacity.
pub(super) fn findings(config: &Config, machine: &Machine) -> Vec<Finding> {
    let interfaces = interfaces(machine);
    let cores = platform::cpu::core_count();
    let mut findings: Vec<Finding> = interfaces
        .iter()
        .map(|it| of_interface(it, cores))
        .collect();
    let speed = interfaces.iter().filter_map(|it| it.speed).sum();
    findings.push(capacity(config.steering.capacity, speed));
    findings
}

/// One that has hardware behind it.
#[derive(Debug)]
struct Interface {
    name: String,
    is_up: bool,
    /// Bits per second, if it says so; a virtual machine's does not.
    speed: Option<u64>,
    is_half_duplex: bool,
    receive_queues: usize,
}

/// sysfs of Linux (Documentation/ABI/testing/sysfs-class-net); none elsewhere.
fn interfaces(machine: &Machine) -> Vec<Interface> {
    let names = machine.names("sys/class/net").into_iter();
    let real = names.filter(|name| machine.has(&format!("sys/class/net/{name}/device")));
    real.map(|name| {
        let at = format!("sys/class/net/{name}");
        let megabits = machine.number(&format!("{at}/speed"));
        let queues = machine.names(&format!("{at}/queues"));
        Interface {
            is_up: machine.read(&format!("{at}/operstate")).as_deref() == Some("up"),
            speed: megabits
                .and_then(|it| u64::try_from(it).ok())
                .map(|it| it * 1_000_000),
            is_half_duplex: machine.read(&format!("{at}/duplex")).as_deref() == Some("half"),
            receive_queues: queues
                .iter()
                .filter(|queue| queue.starts_with("rx-"))
                .count(),
            name,
        }
    })
    .collect()
}

/// The share of its queues that an interface should have for each core, up to what its interrupts gain.
const QUEUES_ENOUGH: usize = 16;

fn of_interface(interface: &Interface, cores: usize) -> Finding {
    let name = &interface.name;
    let subject = format!("interface {name}");
    if !interface.is_up {
        let why = "what it would carry is missing; and whoever sends viewers counts on it if it is in steering.capacity";
        return Finding::new(
            subject,
            Level::Warn,
            "has no link",
            why,
            format!("ip link set {name} up; ethtool {name}"),
        );
    }
    if interface.is_half_duplex {
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
    let queues = interface.receive_queues;
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
    let usable = BitRate::from_bits_per_second(speed / 100 * 85);
    let mend = format!("steering.capacity = \"{usable}\" in the configuration");
    match configured {
        Auto::Auto if speed > 0 => Finding::ok(subject, "auto: 85 % of the interfaces that serve"),
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
                format!("is {wanted}, more than 85 % of {shown}"),
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
    fn interfaces_are_those_with_hardware() {
        let (_folder, machine) = machine(&[
            ("sys/class/net/lo/operstate", "unknown"),
            ("sys/class/net/eth0/device/vendor", "0x8086"),
            ("sys/class/net/eth0/operstate", "up"),
            ("sys/class/net/eth0/speed", "10000"),
            ("sys/class/net/eth0/duplex", "full"),
            ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0"),
            ("sys/class/net/eth0/queues/tx-0/xps_cpus", "0"),
            ("sys/class/net/eth1/device/vendor", "0x8086"),
            ("sys/class/net/eth1/operstate", "down"),
            ("sys/class/net/eth1/speed", "-1"),
        ]);
        let found = interfaces(&machine);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].speed, Some(10_000_000_000));
        assert_eq!(of_interface(&found[0], 1).level, Level::Ok);
        assert_eq!(
            of_interface(&found[0], 8).mend,
            "ethtool -L eth0 combined 8"
        );
        assert_eq!(found[1].speed, None);
        assert_eq!(of_interface(&found[1], 1).level, Level::Warn);
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
