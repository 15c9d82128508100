//! How the machine's memory is shared, and whether what is configured fits into it. `docs/sizing.md` works through examples.

use std::sync::atomic::Ordering::Relaxed;

use platform::file::{lock_limit_advice, lockable_bytes, memory_bytes};
use protocol::config::Config;
use protocol::units::ByteSize;

use crate::limits::{
    AGENT_BYTES_PER_OBJECT, GROWN_SEND_BUFFER_BYTES, IN_FLIGHT_SHARE, INDEX_BYTES_PER_OBJECT,
    MEMORY_TIER_SHARE, PROGRAM_BYTES, SOCKETS_PER_MILLE,
};
use crate::shared::Shared;

/// What the daemon takes for itself.
pub(crate) struct Budgets {
    /// Content that is locked.
    pub(crate) memory_tier: u64,
    /// Bytes read from devices and not yet sent.
    pub(crate) in_flight: u64,
    /// Why the first is less than is wanted.
    pub(crate) warning: Option<String>,
}

impl Budgets {
    /// As configured, or as shares of this machine's memory.
    pub(crate) fn of(config: &Config) -> Self {
        let memory = memory_bytes();
        let lockable = lockable_bytes();
        let wanted = memory_tier(config, memory);
        let warning = (wanted > lockable).then(|| {
            format!(
                "memory tier: {} wanted, {} may be locked: {}",
                ByteSize::from_bytes(wanted),
                ByteSize::from_bytes(lockable),
                lock_limit_advice()
            )
        });
        Self {
            memory_tier: wanted.min(lockable),
            in_flight: in_flight(config, memory),
            warning,
        }
    }

    /// Tells those who keep to them, and the operator.
    pub(crate) fn announce(&self, shared: &Shared) {
        shared.memory.budget_bytes.store(self.memory_tier, Relaxed);
        if let Some(warning) = &self.warning {
            tracing::warn!("{warning}");
            shared.memory.complain(warning.clone());
        }
    }
}

fn memory_tier(config: &Config, memory: u64) -> u64 {
    let fixed = config.workers.memory.fixed();
    fixed.map_or(memory / MEMORY_TIER_SHARE, ByteSize::bytes)
}

fn in_flight(config: &Config, memory: u64) -> u64 {
    let fixed = config.workers.in_flight.fixed();
    fixed.map_or(memory / IN_FLIGHT_SHARE, ByteSize::bytes)
}

/// What the programs of the appliance need, in bytes, when all viewers come who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    memory: u64,
    memory_tier: u64,
    in_flight: u64,
    sockets: u64,
    objects: u64,
    is_filled: bool,
}

impl Needs {
    /// On a machine with so much memory, of so many connections at most and so many objects in the catalog. What may be locked by who
    /// asks is not what the daemon may lock, so it counts for nothing here.
    pub(crate) fn of(config: &Config, memory: u64, connections: u64, objects: u64) -> Self {
        let kernels_own = (u128::from(memory) * SOCKETS_PER_MILLE / 1000) as u64;
        Self {
            memory,
            memory_tier: memory_tier(config, memory),
            in_flight: in_flight(config, memory),
            sockets: connections
                .saturating_mul(GROWN_SEND_BUFFER_BYTES)
                .min(kernels_own),
            objects,
            is_filled: config.control.is_some() && config.fill.is_some(),
        }
    }

    fn index(&self) -> u64 {
        self.objects.saturating_mul(INDEX_BYTES_PER_OBJECT)
    }

    fn agent(&self) -> u64 {
        let per_object = if self.is_filled {
            AGENT_BYTES_PER_OBJECT
        } else {
            0
        };
        self.objects.saturating_mul(per_object)
    }

    fn beside_the_tier(&self) -> u64 {
        [self.in_flight, self.sockets, self.index(), self.agent()]
            .into_iter()
            .fold(PROGRAM_BYTES, u64::saturating_add)
    }

    /// Each part, for `check`.
    pub(crate) fn note(&self) -> String {
        format!(
            "memory: {} locked content, {} in flight, {} sockets at most, {} index and {} fill agent for {} objects, {} programs; of {}",
            gib(self.memory_tier),
            gib(self.in_flight),
            gib(self.sockets),
            gib(self.index()),
            gib(self.agent()),
            self.objects,
            gib(PROGRAM_BYTES),
            gib(self.memory)
        )
    }

    /// Why it does not fit, and what would.
    pub(crate) fn fault(&self) -> Option<String> {
        let beside = self.beside_the_tier();
        if self.memory_tier.saturating_add(beside) <= self.memory {
            return None;
        }
        let mend = match self.memory.checked_sub(beside) {
            Some(left) => format!("set [workers] memory to at most \"{} MiB\"", left >> 20),
            None => "set [workers] memory to \"0 B\" and in_flight to less, or hold fewer objects"
                .to_owned(),
        };
        Some(format!(
            "{}: it does not fit, and the kernel would end a program while it serves; {mend}, or add memory (docs/sizing.md)",
            self.note()
        ))
    }
}

fn gib(bytes: u64) -> String {
    let hundredths = (u128::from(bytes) * 100) >> 30;
    format!("{}.{:02} GiB", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::config;
    use protocol::paths::LINUX;
    use std::path::Path;

    const GIB: u64 = 1 << 30;

    fn needs(workers: &str, memory: u64, connections: u64, objects: u64) -> Needs {
        let text = format!(
            "[appliance]\nid = \"c.s.example\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[workers]\n{workers}\n\
             [control]\nurl = \"https://c.example/\"\nkeys = [\"/k\"]\n[fill]\nwindow = \"02:00-14:00\"\n\
             [[tier]]\nname = \"t\"\nrole = \"hot\"\ndevices = [\"/srv/a\"]\n"
        );
        let config = config::parse(&text, Path::new("oca.toml"), &LINUX).unwrap();
        Needs::of(&config, memory, connections, objects)
    }

    /// The examples of docs/sizing.md.
    #[test]
    fn the_examples_of_the_sizing_page_fit() {
        for (memory, viewers, objects, locked, in_flight, sockets, index, agent) in [
            (32, 2_000, 50_000, "16.00", "4.00", "3.00", "0.01", "0.03"),
            (
                256, 20_000, 500_000, "128.00", "32.00", "24.06", "0.11", "0.39",
            ),
            (
                1024, 80_000, 2_000_000, "512.00", "128.00", "96.25", "0.44", "1.58",
            ),
        ] {
            let needs = needs("", memory * GIB, viewers, objects);
            assert_eq!(
                needs.note(),
                format!(
                    "memory: {locked} GiB locked content, {in_flight} GiB in flight, {sockets} GiB sockets at most, {index} GiB index \
                     and {agent} GiB fill agent for {objects} objects, 0.03 GiB programs; of {memory}.00 GiB"
                )
            );
            assert_eq!(needs.fault(), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let fault = needs("memory = \"30 GiB\"", 32 * GIB, 2_000, 50_000)
            .fault()
            .unwrap();
        assert!(
            fault.contains("30.00 GiB locked content, 4.00 GiB in flight"),
            "{fault}"
        );
        assert!(
            fault.contains("set [workers] memory to at most \"25"),
            "{fault}"
        );
        // What it advises fits, and a MiB more does not.
        let advised: u64 = fault
            .split(['"'])
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let with =
            |mib: u64| needs(&format!("memory = \"{mib} MiB\""), 32 * GIB, 2_000, 50_000).fault();
        assert_eq!((with(advised), with(advised + 1).is_some()), (None, true));
        let fault = needs("in_flight = \"32 GiB\"", 32 * GIB, 2_000, 0)
            .fault()
            .unwrap();
        assert!(fault.contains("in_flight to less"), "{fault}");
    }

    #[test]
    fn sockets_hold_no_more_than_the_kernel_lets_them() {
        let needs = needs("", 32 * GIB, 1 << 20, 0);
        assert_eq!(
            needs.sockets,
            32 * GIB / 1000 * 94 + (32 * GIB % 1000) * 94 / 1000
        );
        assert_eq!(needs.fault(), None);
    }
}
