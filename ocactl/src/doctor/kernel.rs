//! What the kernel can do, how it is set, and whether its clock can be believed.

use platform::reactor::{Backend, choose_backend};
use platform::stored_file::PIECE_BYTES;
use protocol::config::{Auto, Config, KernelTls};

use super::machine::Machine;
use super::{Finding, Level};

/// Whether the wall clock is kept right.
pub(super) fn clock(machine: &Machine) -> Option<Finding> {
    if platform::clock::synchronised() {
        return Some(Finding::ok("clock", "is synchronised"));
    }
    let why = "windows, expiry of manifests and certificates go by it: the fill agent fetches and evicts nothing meanwhile";
    let mend = if machine.has("run/systemd/system") {
        "timedatectl set-ntp true"
    } else {
        "service ntpd enable; service ntpd start"
    };
    Some(Finding::new(
        "clock",
        Level::Warn,
        "the system does not say that it is synchronised",
        why,
        mend,
    ))
}

/// What the daemon would use if it started now.
pub(super) fn features(config: &Config) -> Vec<Finding> {
    let mut findings = vec![backend()];
    if let Some(tls) = &config.tls
        && tls.kernel != KernelTls::Off
    {
        findings.push(kernel_tls());
    }
    findings
}

fn backend() -> Finding {
    match choose_backend(None) {
        Ok(chosen) if chosen.backend == Backend::Epoll => {
            let why = "io_uring takes one system call where epoll takes several, so a core serves more viewers";
            Finding::new(
                "backend",
                Level::Advice,
                chosen.reason,
                why,
                "sysctl -w kernel.io_uring_disabled=0; a kernel since 5.19",
            )
        }
        Ok(chosen) => Finding::ok("backend", format!("{}: {}", chosen.backend, chosen.reason)),
        Err(error) => Finding::new(
            "backend",
            Level::Fail,
            error,
            "the daemon does not start",
            "uname -r; ulimit -l",
        ),
    }
}

fn kernel_tls() -> Finding {
    match platform::kernel_tls::available() {
        Ok(_) => Finding::ok("kernel TLS", "works"),
        Err(error) => {
            let why = "the daemon seals what it sends itself, which copies every byte once more";
            Finding::new(
                "kernel TLS",
                Level::Advice,
                error,
                why,
                "modprobe tls; echo tls > /etc/modules-load.d/tls.conf",
            )
        }
    }
}

/// Mappings that a process needs beside those of the memory tier.
const OTHER_MAPPINGS: u64 = 4096;

/// Each piece in memory is a mapping, and their number is bounded.
pub(super) fn mappings(config: &Config, machine: &Machine) -> Option<Finding> {
    let allowed: u64 = machine.setting("vm.max_map_count")?.parse().ok()?;
    let memory = match config.workers.memory {
        Auto::Fixed(memory) => memory.bytes(),
        Auto::Auto => platform::file::memory_bytes(),
    };
    let needed = memory / PIECE_BYTES + OTHER_MAPPINGS;
    if needed <= allowed {
        return Some(Finding::ok("vm.max_map_count", allowed));
    }
    let why =
        "each 2 MiB of content in memory is a mapping; beyond this number nothing more is locked";
    let what = format!("is {allowed}, and workers.memory takes {needed}");
    Some(Finding::new(
        "vm.max_map_count",
        Level::Warn,
        what,
        why,
        persistent("vm.max_map_count", &needed.to_string()),
    ))
}

/// What a setting should be.
enum Wanted {
    /// The number in this field, or more.
    AtLeast(u64, usize),
    Is(&'static str),
}

struct Setting {
    name: &'static str,
    wanted: Wanted,
    why: &'static str,
}

/// Of Linux and of FreeBSD; those that the system does not know are left out.
const SETTINGS: [Setting; 8] = [
    Setting {
        name: "net.core.somaxconn",
        wanted: Wanted::AtLeast(4096, 0),
        why: "when many viewers come at once, those beyond this number are turned away before the daemon sees them",
    },
    Setting {
        name: "net.core.wmem_max",
        wanted: Wanted::AtLeast(256 << 10, 0),
        why: "the daemon asks for 256 KiB of send buffer for each viewer, and gets no more than this",
    },
    Setting {
        name: "net.ipv4.tcp_slow_start_after_idle",
        wanted: Wanted::Is("0"),
        why: "players rest between segments; otherwise each segment begins as slowly as a new connection",
    },
    Setting {
        name: "net.ipv4.tcp_mtu_probing",
        wanted: Wanted::AtLeast(1, 0),
        why: "a viewer behind a path that drops long packets silently gets nothing otherwise",
    },
    Setting {
        name: "kernel.io_uring_disabled",
        wanted: Wanted::Is("0"),
        why: "the daemon falls back to epoll otherwise, which costs more system calls",
    },
    Setting {
        name: "fs.nr_open",
        wanted: Wanted::AtLeast(1 << 20, 0),
        why: "the unit asks for 1 048 576 descriptors, one for each viewer and each file in memory",
    },
    Setting {
        name: "kern.ipc.soacceptqueue",
        wanted: Wanted::AtLeast(4096, 0),
        why: "when many viewers come at once, those beyond this number are turned away before the daemon sees them",
    },
    Setting {
        name: "kern.ipc.maxsockbuf",
        wanted: Wanted::AtLeast(2 << 20, 0),
        why: "the daemon asks for 256 KiB of send buffer for each viewer, and gets no more than a share of this",
    },
];

/// One finding for each setting that this kernel has.
pub(super) fn settings(machine: &Machine) -> Vec<Finding> {
    let asked = SETTINGS
        .iter()
        .filter_map(|setting| Some((setting, machine.setting(setting.name)?)));
    asked
        .map(|(setting, value)| of_setting(setting, &value))
        .collect()
}

fn of_setting(setting: &Setting, value: &str) -> Finding {
    let field = |at: usize| value.split_whitespace().nth(at)?.parse().ok();
    let (is_met, wanted) = match setting.wanted {
        Wanted::AtLeast(least, at) => (
            field(at).is_none_or(|it: u64| it >= least),
            least.to_string(),
        ),
        Wanted::Is(wanted) => (value == wanted, wanted.to_owned()),
    };
    if is_met {
        return Finding::ok(setting.name, value);
    }
    Finding::new(
        setting.name,
        Level::Advice,
        format!("is {value}"),
        setting.why,
        persistent(setting.name, &wanted),
    )
}

fn persistent(name: &str, value: &str) -> String {
    format!("echo {name}={value} >> /etc/sysctl.d/60-oca.conf; sysctl -p /etc/sysctl.d/60-oca.conf")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::machine::fixture::machine;

    #[test]
    fn settings_that_are_not_known_are_left_out() {
        let (_folder, machine) = machine(&[
            ("proc/sys/net/core/somaxconn", "128\n"),
            ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "0\n"),
        ]);
        let found: Vec<(String, Level)> = settings(&machine)
            .into_iter()
            .map(|finding| (finding.subject, finding.level))
            .collect();
        assert_eq!(
            found,
            [
                ("net.core.somaxconn".to_owned(), Level::Advice),
                ("net.ipv4.tcp_slow_start_after_idle".to_owned(), Level::Ok),
            ]
        );
    }
}
