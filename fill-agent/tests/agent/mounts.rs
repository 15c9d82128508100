//! Devices that are real file systems, small ones in memory.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use content_store::device::{self, InitOptions};

use super::appliance::Appliance;

const DRIVER: &str = "OCA_OWN_MOUNTS";

/// Whether this test runs in a namespace of mounts of its own. If not, it was run in one when this returns.
pub(crate) fn are_own(test: &str) -> bool {
    if std::env::var_os(DRIVER).is_some() {
        return true;
    }
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let mut command = Command::new("unshare");
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    let this = std::env::current_exe().unwrap();
    command.args(["--mount", "--"]).arg(this);
    let output = command
        .args(["--exact", test, "--nocapture"])
        .env(DRIVER, "1")
        .output()
        .expect("unshare is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Puts a device in memory of its own in the place of another one, which has nothing on it.
pub(crate) fn mount(appliance: &Appliance, name: &str, options: &str) {
    let root = appliance.path(name);
    std::fs::remove_file(root.join(device::IDENTITY_FILE)).unwrap();
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
    assert!(command.arg(&root).status().unwrap().success());
    let options = InitOptions {
        now_s: 1,
        tier: Some("nvme".into()),
        shared_fs: false,
    };
    device::initialise(&root, &options).unwrap();
}

/// Mounts the device again, in its place, with other options.
pub(crate) fn remount(appliance: &Appliance, name: &str, options: &str) {
    let mut command = Command::new("mount");
    command.args(["-o", &format!("remount,{options}")]);
    assert!(
        command
            .arg(appliance.path(name))
            .status()
            .unwrap()
            .success()
    );
}
