//! Cores, memory nodes and interrupts, as Linux tells of them. Advice only: a box serves without any of it.

use super::machine::Machine;
use super::{Finding, Level};

/// What could be better.
pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let found = [governor(machine), nodes(machine)];
    found
        .into_iter()
        .flatten()
        .chain(interrupts(machine))
        .collect()
}

fn governor(machine: &Machine) -> Option<Finding> {
    let governor = machine.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")?;
    if governor == "performance" {
        return Some(Finding::ok("cores", "run at full speed"));
    }
    let why =
        "a core that rests between two viewers wakes slowly, which is latency of the next one";
    let mend = "cpupower frequency-set -g performance";
    Some(Finding::new(
        "cores",
        Level::Advice,
        format!("their governor is {governor}"),
        why,
        mend,
    ))
}

/// Where the bytes lie, and where they leave. One node needs no thought.
fn nodes(machine: &Machine) -> Option<Finding> {
    let folders = machine.names("sys/devices/system/node");
    let nodes = folders.iter().filter(|name| {
        let number = name.strip_prefix("node");
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    });
    let count = nodes.count();
    if count == 0 {
        return None;
    }
    if count == 1 {
        return Some(Finding::ok("memory nodes", "one"));
    }
    let placed = placed(machine);
    let mut used: Vec<i64> = placed.iter().map(|(_, node)| *node).collect();
    used.sort_unstable();
    used.dedup();
    if used.len() <= 1 {
        return Some(bound(&used, count));
    }
    let list: Vec<String> = placed
        .iter()
        .map(|(name, node)| format!("{name} at {node}"))
        .collect();
    let why = "what lies on one and leaves by another crosses between the processors, which carries less than either";
    let mend = "put disks and interface into slots of one processor; then as for one node";
    Some(Finding::new(
        "memory nodes",
        Level::Advice,
        format!("{count}: {}", list.join(", ")),
        why,
        mend,
    ))
}

fn bound(used: &[i64], count: usize) -> Finding {
    let node = used.first().copied().unwrap_or(0);
    let why =
        "workers and buffers on other nodes reach disks and interface through another processor";
    let mend =
        format!("systemctl edit oca-daemon: NUMAPolicy=bind, NUMAMask={node}, CPUAffinity=numa");
    let what = format!("{count}, and disks and interfaces are at {node}");
    Finding::new("memory nodes", Level::Advice, what, why, mend)
}

/// Interfaces and NVMe disks with their nodes; what says -1 has none.
fn placed(machine: &Machine) -> Vec<(String, i64)> {
    let of = |class: &str, device: &str| {
        let names = machine.names(class).into_iter();
        let placed = names.filter_map(|name| {
            let node = machine.number(&format!("{class}/{name}/{device}/numa_node"))?;
            (node >= 0).then_some((name, node))
        });
        placed.collect::<Vec<_>>()
    };
    let mut placed = of("sys/class/net", "device");
    placed.extend(of("sys/class/nvme", "device"));
    placed
}

/// Interfaces all of whose interrupts go to one core.
fn interrupts(machine: &Machine) -> Vec<Finding> {
    let names = machine.names("sys/class/net").into_iter();
    names
        .filter_map(|name| of_interrupts(machine, &name))
        .collect()
}

fn of_interrupts(machine: &Machine, name: &str) -> Option<Finding> {
    let numbers = machine.names(&format!("sys/class/net/{name}/device/msi_irqs"));
    let core_of = |number: &String| {
        let effective = machine.read(&format!("proc/irq/{number}/effective_affinity_list"));
        effective.filter(|cores| !cores.is_empty())
    };
    let mut cores: Vec<String> = numbers.iter().filter_map(core_of).collect();
    // One is for the link itself: with two or fewer there is nothing to spread.
    if cores.len() <= 2 {
        return None;
    }
    let count = cores.len();
    cores.sort_unstable();
    cores.dedup();
    let subject = format!("interrupts of {name}");
    if cores.len() > 1 {
        return Some(Finding::ok(
            subject,
            format!("{count} over {} cores", cores.len()),
        ));
    }
    let why = "this core works for all viewers before the worker on it works for any";
    Some(Finding::new(
        subject,
        Level::Advice,
        format!("all {count} go to core {}", cores[0]),
        why,
        "systemctl enable --now irqbalance",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::machine::fixture::machine;

    #[test]
    fn a_box_of_two_nodes_is_told_where_its_parts_are() {
        let (_folder, machine) = machine(&[
            ("sys/devices/system/node/node0/cpulist", "0-7"),
            ("sys/devices/system/node/node1/cpulist", "8-15"),
            ("sys/devices/system/node/possible", "0-1"),
            ("sys/class/net/eth0/device/numa_node", "1"),
            ("sys/class/nvme/nvme0/device/numa_node", "0"),
            ("sys/class/nvme/nvme1/device/numa_node", "-1"),
        ]);
        let found = nodes(&machine).expect("there are nodes");
        assert_eq!(found.what, "2: eth0 at 1, nvme0 at 0");
    }

    #[test]
    fn interrupts_on_one_core_are_named() {
        let irq = |number: &str| format!("sys/class/net/eth0/device/msi_irqs/{number}");
        let core = |number: &str| format!("proc/irq/{number}/effective_affinity_list");
        let files: Vec<(String, &str)> = ["40", "41", "42"]
            .iter()
            .flat_map(|number| [(irq(number), "msix"), (core(number), "3\n")])
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), *text))
            .collect();
        let (_folder, machine) = machine(&files);
        assert_eq!(interrupts(&machine)[0].what, "all 3 go to core 3");
        assert_eq!(governor(&machine), None);
    }
}
