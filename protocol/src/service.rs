//! What an operator types about a program that serves: systemd's words on Linux, those of rc(8) on FreeBSD.

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
