//! Which files the daemon may reach, by its configuration: devices to read, its state, sockets and access log to write, and what it is
//! configured with, to read again. To be kept to before any thread is started, and before the first viewer is heard.

use std::path::{Path, PathBuf};

use platform::sandbox::{self, Rules, Sandbox};
use protocol::config::{Certificate, Config};

use crate::wear;

/// Read by the daemon itself or by libraries: names of hosts, authorities, time zones, cores, interfaces, the process's own books.
const SYSTEM: [&str; 10] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/proc",
    "/sys",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/var/lib/ca-certificates",
];

/// Keeps this process to its files. `OCA_SANDBOX=off` does not, for a set-up that this page did not think of.
#[must_use]
pub fn enter(config: &Config, config_path: &Path) -> Sandbox {
    if std::env::var_os("OCA_SANDBOX").is_some_and(|wish| wish == "off") {
        return Sandbox {
            enforced: false,
            detail: "OCA_SANDBOX=off".to_owned(),
            no_new_privileges: false,
        };
    }
    let rules = rules(config, config_path);
    let mut sandbox = sandbox::enforce(&rules);
    if sandbox.enforced && rules.read.iter().any(|path| path == Path::new("/")) {
        sandbox.detail = "all files may be read: a device, or a file that the configuration names, lies in /; give it a folder of its \
                          own"
            .to_owned();
    }
    sandbox
}

fn rules(config: &Config, config_path: &Path) -> Rules {
    let system = SYSTEM.iter().map(Path::new).filter(|path| path.exists());
    let mut read: Vec<PathBuf> = system.map(Path::to_owned).collect();
    for (_, device) in config.devices() {
        read.extend(above(device));
    }
    for file in read_again(config, config_path) {
        read.extend(above(&file));
    }
    for certificate in certificates(config) {
        // Who renews certificates may put them into a new folder, and change a link to it.
        for file in [&certificate.cert, &certificate.key] {
            read.extend(above(file).iter().map(|folder| wider(folder)));
        }
    }
    // Only if it is there: otherwise the folder above it would count, which is all of /run.
    read.extend(Some(wear::folder(config)).filter(|folder| folder.is_dir()));
    let log = config.log.access.as_ref();
    let log = log.and_then(|log| log.path.parent()).map(Path::to_owned);
    let appliance = &config.appliance;
    let write = [appliance.state_dir.clone(), appliance.run_dir.clone()];
    read.sort();
    read.dedup();
    Rules {
        read,
        write: write.into_iter().chain(log).collect(),
        files: ["/dev/null", "/dev/urandom"].map(PathBuf::from).into(),
    }
}

/// The folder in which `path` lies, by its name and by where links lead.
fn above(path: &Path) -> Vec<PathBuf> {
    let named = path
        .parent()
        .map(|folder| sandbox::existing(folder).to_owned());
    let real = path.canonicalize().ok();
    let real = real.and_then(|path| path.parent().map(Path::to_owned));
    named.into_iter().chain(real).collect()
}

/// The folder above `folder`, unless that is everything.
fn wider(folder: &Path) -> PathBuf {
    match folder.parent() {
        Some(wider) if wider.parent().is_some() => wider.to_owned(),
        _ => folder.to_owned(),
    }
}

fn read_again(config: &Config, config_path: &Path) -> Vec<PathBuf> {
    let tls = config.tls.as_ref().and_then(|tls| tls.client_ca.clone());
    let control = config.control.as_ref();
    let control = control.map(|control| [control.ca.clone(), control.token_file.clone()]);
    let routers = config.bgp.neighbor.iter();
    let passwords = routers.filter_map(|router| router.password_file.clone());
    let named = tls
        .into_iter()
        .chain(control.into_iter().flatten().flatten());
    [config_path.to_owned()]
        .into_iter()
        .chain(named)
        .chain(passwords)
        .collect()
}

fn certificates(config: &Config) -> impl Iterator<Item = &Certificate> {
    let shown = config.tls.iter().flat_map(|tls| &tls.certificates);
    let own = config
        .control
        .iter()
        .filter_map(|control| control.client.as_ref());
    shown.chain(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::config;
    use protocol::paths::LINUX;

    fn of(more: &str) -> Rules {
        let text = format!(
            "[appliance]\nid = \"c.s.example\"\nstate_dir = \"/nonexistent/state\"\nrun_dir = \"/nonexistent/run\"\n\
             [listen]\nhttp = [\"127.0.0.1:0\"]\n{more}\n\
             [[tier]]\nname = \"t\"\nrole = \"hot\"\ndevices = [\"/tmp/nonexistent\"]\n"
        );
        let path = Path::new("/tmp/oca.toml");
        let config = config::parse(&text, path, &LINUX).unwrap();
        rules(&config, path)
    }

    #[test]
    fn rules_name_the_folder_above_a_device_and_never_the_device() {
        let rules = of("");
        assert!(rules.read.contains(&"/tmp".into()), "{rules:?}");
        assert!(!rules.read.contains(&"/".into()), "{rules:?}");
        assert!(!rules.read.contains(&"/tmp/nonexistent".into()));
        assert!(!rules.read.contains(&"/nonexistent/run-smart".into()));
        let own = ["/nonexistent/state", "/nonexistent/run"].map(PathBuf::from);
        assert_eq!(rules.write, own);
    }

    #[test]
    fn what_disks_say_may_be_read_if_the_folder_is_there_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config::parse(
            "[appliance]\nid = \"c.s.example\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n\
             [[tier]]\nname = \"t\"\nrole = \"hot\"\ndevices = [\"/srv/oca/a\"]\n",
            Path::new("/etc/oca/oca.toml"),
            &LINUX,
        )
        .unwrap();
        config.appliance.run_dir = folder.path().join("run");
        let read = |config: &Config| rules(config, Path::new("/etc/oca/oca.toml")).read;
        assert!(
            !read(&config)
                .iter()
                .any(|path| path.starts_with(folder.path()))
        );
        let told = folder.path().join("run-smart");
        std::fs::create_dir(&told).unwrap();
        assert!(read(&config).contains(&told));
    }

    #[test]
    fn what_is_read_again_may_be_read_where_it_may_come_to_lie() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["live/host", "archive/host"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["cert.pem", "key.pem"] {
            let real = root.join("archive/host").join(name);
            std::fs::write(&real, "").unwrap();
            std::os::unix::fs::symlink(real, root.join("live/host").join(name)).unwrap();
        }
        let live = root.join("live/host").display().to_string();
        let rules = of(&format!(
            "https = [\"127.0.0.1:0\"]\n[log]\naccess = {{ path = \"/var/log/access.log\" }}\n\
             [tls]\ncertificates = [{{ cert = \"{live}/cert.pem\", key = \"{live}/key.pem\" }}]\n"
        ));
        for folder in ["live", "archive"] {
            assert!(rules.read.contains(&root.join(folder)), "{rules:?}");
        }
        assert!(rules.write.contains(&"/var/log".into()));
        assert_eq!(wider(Path::new("/etc")), Path::new("/etc"));
        assert_eq!(wider(Path::new("/etc/oca")), Path::new("/etc"));
    }
}
