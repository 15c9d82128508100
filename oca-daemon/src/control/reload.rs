//! SIGHUP: the configuration is read again. What can change without a restart is taken over; what cannot is said by name.

use protocol::config::{self, Certificate, Config, Listen, Log, Tls};
use steering::drain::Drain;

use super::{Control, bounds, hint_book, notify};
use crate::limits::STATE_DISK_WAIT;

impl Control {
    /// A configuration that is wrong changes nothing.
    pub(super) async fn reload_configuration(&mut self) {
        notify::reloading();
        self.reload = match self.read_configuration().await {
            Ok(read) => {
                self.take_over(read);
                Ok(())
            }
            Err(why) => {
                tracing::error!(
                    "the configuration was not reloaded, the old one stays in force: {why}"
                );
                Err(why)
            }
        };
        self.reload_certificates().await;
        notify::ready();
    }

    async fn read_configuration(&self) -> Result<Config, String> {
        let path = self.config_path.clone();
        let reading = tokio::task::spawn_blocking(move || config::load(&path));
        match tokio::time::timeout(STATE_DISK_WAIT, reading).await {
            Ok(Ok(read)) => read.map_err(|error| error.to_string()),
            Ok(Err(panicked)) => Err(panicked.to_string()),
            Err(_) => Err(format!(
                "the disk did not answer within {} s",
                STATE_DISK_WAIT.as_secs()
            )),
        }
    }

    fn take_over(&mut self, read: Config) {
        let old = self.shared.config.load_full();
        for section in needing_restart(&old, &read) {
            tracing::warn!(
                "{section} has changed, which takes a restart; the old value stays in force"
            );
        }
        let merged = merged(&old, read);
        if bounds(&merged) != bounds(&old) {
            self.drain = Drain::new(bounds(&merged), self.drain.intent().cloned());
            self.hints = hint_book(&merged);
        }
        if let (Some(log), Some(wanted)) = (&self.shared.access_log, &merged.log.access) {
            log.set_sample(wanted.sample);
        }
        self.shared.config.store(merged.into());
        tracing::info!("the configuration was reloaded");
    }
}

/// The sections of `read` that differ from `old` and are looked at only at start.
fn needing_restart(old: &Config, read: &Config) -> Vec<&'static str> {
    let changed = [
        ("[appliance]", old.appliance != read.appliance),
        ("[listen] http", old.listen.http != read.listen.http),
        ("[listen] https", old.listen.https != read.listen.https),
        ("[listen] admin", old.listen.admin != read.listen.admin),
        (
            "[listen] metrics",
            old.listen.metrics != read.listen.metrics,
        ),
        ("[tls], other than certificates", {
            let certificates = old.tls.as_ref().map(|tls| tls.certificates.clone());
            old.tls != showing(read.tls.clone(), certificates)
        }),
        ("[workers]", old.workers != read.workers),
        (
            "[log], other than the access log's sample",
            sampled_as(&old.log, &read.log) != read.log,
        ),
        ("[bgp]", old.bgp != read.bgp),
        ("[control]", old.control != read.control),
        ("[[tier]]", old.tiers != read.tiers),
        ("[serve], other than stop_bound", {
            let stop_bound = read.serve.stop_bound;
            let old = config::Serve {
                stop_bound,
                ..old.serve.clone()
            };
            old != read.serve
        }),
    ];
    changed
        .into_iter()
        .filter_map(|(section, differs)| differs.then_some(section))
        .collect()
}

/// What is in force after a reload. Whatever threads hold by position or have bound stays as it was.
fn merged(old: &Config, read: Config) -> Config {
    Config {
        listen: Listen {
            metrics_allow: read.listen.metrics_allow,
            ..old.listen.clone()
        },
        serve: config::Serve {
            stop_bound: read.serve.stop_bound,
            ..old.serve.clone()
        },
        log: sampled_as(&old.log, &read.log),
        tls: showing(old.tls.clone(), read.tls.map(|tls| tls.certificates)),
        steering: read.steering,
        fill: read.fill,
        ..old.clone()
    }
}

/// `tls` with other certificates.
fn showing(tls: Option<Tls>, certificates: Option<Vec<Certificate>>) -> Option<Tls> {
    let tls = tls?;
    Some(Tls {
        certificates: certificates.unwrap_or_else(|| tls.certificates.clone()),
        ..tls
    })
}

/// The log of `old` with the sample of `read`.
fn sampled_as(old: &Log, read: &Log) -> Log {
    let mut log = old.clone();
    if let (Some(access), Some(read)) = (&mut log.access, &read.access) {
        access.sample = read.sample;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::paths::Paths;
    use std::path::Path;

    const FILE: &str = "[appliance]\nid = \"a.b.c\"\n[listen]\nhttp = [\"127.0.0.1:8080\"]\n\
                        [[tier]]\nname = \"hot\"\nrole = \"hot\"\ndevices = [\"/a\", \"/b\"]\n";

    fn parsed(text: &str) -> Config {
        config::parse(text, Path::new("oca.toml"), Paths::here()).unwrap()
    }

    #[test]
    fn what_can_change_changes_and_what_cannot_is_named() {
        let old = parsed(FILE);
        let more = "[serve]\nstop_bound = \"7 s\"\n[steering]\nhint_lifetime = \"9 s\"\n";
        let read = parsed(&format!(
            "{}{more}",
            FILE.replace("8080", "8081").replace("\"/b\"", "\"/c\"")
        ));
        assert_eq!(needing_restart(&old, &read), ["[listen] http", "[[tier]]"]);
        let merged = merged(&old, read.clone());
        assert_eq!((&merged.listen, &merged.tiers), (&old.listen, &old.tiers));
        assert_eq!(merged.serve.stop_bound, read.serve.stop_bound);
        assert_eq!(merged.steering, read.steering);
    }

    #[test]
    fn of_the_access_log_the_sample_changes() {
        let with = |access: &str| parsed(&format!("{FILE}[log]\naccess = {{ {access} }}\n"));
        let old = with("path = \"/a\"");
        let sampled = with("path = \"/a\", sample = \"1 %\"");
        let moved = with("path = \"/b\", sample = \"1 %\"");
        assert!(needing_restart(&old, &sampled).is_empty());
        for read in [sampled.clone(), moved.clone()] {
            assert_eq!(merged(&old, read).log, sampled.log);
        }
        let said = ["[log], other than the access log's sample"];
        assert_eq!(needing_restart(&old, &moved), said);
        assert_eq!(needing_restart(&old, &parsed(FILE)), said);
    }

    #[test]
    fn of_tls_the_certificates_change() {
        let with = |more: &str| parsed(&format!("{FILE}[tls]\n{more}\n"));
        let old = with("certificates = [{ cert = \"/a\", key = \"/k\" }]");
        let renewed = with("certificates = [{ cert = \"/b\", key = \"/k\" }]");
        let newer = with("certificates = [{ cert = \"/b\", key = \"/k\" }]\nkernel = \"off\"");
        assert!(needing_restart(&old, &renewed).is_empty());
        for read in [renewed.clone(), newer.clone()] {
            assert_eq!(merged(&old, read).tls, renewed.tls);
        }
        let said = ["[tls], other than certificates"];
        assert_eq!(needing_restart(&old, &newer), said);
        assert_eq!(needing_restart(&old, &parsed(FILE)), said);
        assert_eq!(needing_restart(&parsed(FILE), &old), said);
    }

    #[test]
    fn the_same_file_changes_nothing() {
        let old = parsed(FILE);
        assert!(needing_restart(&old, &parsed(FILE)).is_empty());
        assert_eq!(merged(&old, parsed(FILE)), old);
    }
}
