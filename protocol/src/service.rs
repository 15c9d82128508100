//! What an operator types about programs that serve and the machine round them: systemd's words and others of Linux, those of rc(8) and
//! others of FreeBSD.

/// The unit of a program, or its script in rc.d.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    program: &'static str,
    /// As in [`std::env::consts::OS`]; what is not known gets Linux's words.
    system: &'static str,
}

/// The daemon's.
pub const DAEMON: Service = Service::here("oca-daemon");
/// The fill agent's.
pub const FILL_AGENT: Service = Service::here("oca-fill-agent");

impl Service {
    const fn here(program: &'static str) -> Self {
        let system = std::env::consts::OS;
        Self { program, system }
    }

    /// Starts it.
    #[must_use]
    pub fn start(self) -> String {
        self.verb("start")
    }

    /// Starts it anew.
    #[must_use]
    pub fn restart(self) -> String {
        self.verb("restart")
    }

    /// Makes it read its configuration again.
    #[must_use]
    pub fn reload(self) -> String {
        self.verb("reload")
    }

    /// Starts it, now and with the machine.
    #[must_use]
    pub fn enable(self) -> String {
        match self.script() {
            Some(script) => format!("sysrc {script}_enable=YES; service {script} start"),
            None => format!("systemctl enable --now {}", self.program),
        }
    }

    /// Shows its log.
    #[must_use]
    pub fn log(self) -> String {
        match self.script() {
            Some(script) => format!("grep {script} /var/log/messages"),
            None => format!("journalctl -u {}", self.program),
        }
    }

    fn verb(self, verb: &str) -> String {
        match self.script() {
            Some(script) => format!("service {script} {verb}"),
            None => format!("systemctl {verb} {}", self.program),
        }
    }

    /// A name in rc.d is one of shell variables as well. It is what daemon(8) calls the program in the log.
    fn script(self) -> Option<String> {
        (self.system == "freebsd").then(|| self.program.replace('-', "_"))
    }
}

/// Installs a new release, which `ocactl upgrade` then lets serve.
#[must_use]
pub fn install() -> &'static str {
    here(
        "apt install ./oca-appliance_0.2.0_amd64.deb",
        "pkg add ./oca-appliance-0.2.0.pkg",
    )
}

/// Where the programs of the release before are kept.
#[must_use]
pub fn previous_programs() -> &'static str {
    here("/usr/lib/oca/previous", "/usr/local/lib/oca/previous")
}

/// Says who listens on a port.
#[must_use]
pub fn who_listens(port: u16) -> String {
    here("ss -ltnp 'sport = :PORT'", "sockstat -l -p PORT").replace("PORT", &port.to_string())
}

/// Lists the addresses of this machine.
#[must_use]
pub fn addresses() -> &'static str {
    here("ip address", "ifconfig")
}

/// What lets a program that is not root's listen on ports below 1024.
#[must_use]
pub fn low_ports() -> &'static str {
    here(
        "CAP_NET_BIND_SERVICE, which the unit of the package gives",
        "sysctl net.inet.ip.portrange.reservedhigh=0, or mac_portacl(4)",
    )
}

fn here(linux: &'static str, freebsd: &'static str) -> &'static str {
    match std::env::consts::OS {
        "freebsd" => freebsd,
        _ => linux,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_has_its_own_words() {
        let said = |system| {
            let it = Service {
                system,
                ..FILL_AGENT
            };
            [it.start(), it.restart(), it.reload(), it.enable(), it.log()]
        };
        let linux = [
            "systemctl start oca-fill-agent",
            "systemctl restart oca-fill-agent",
            "systemctl reload oca-fill-agent",
            "systemctl enable --now oca-fill-agent",
            "journalctl -u oca-fill-agent",
        ];
        assert_eq!(said("linux"), linux);
        let freebsd = [
            "service oca_fill_agent start",
            "service oca_fill_agent restart",
            "service oca_fill_agent reload",
            "sysrc oca_fill_agent_enable=YES; service oca_fill_agent start",
            "grep oca_fill_agent /var/log/messages",
        ];
        assert_eq!(said("freebsd"), freebsd);
    }
}
