//! Tests that need a file system of their own: they run again as a child, in a namespace of mounts of its own, on one in memory.
//! `scripts/reliability.sh` runs the same on others.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

const FOLDER: &str = "OCA_OWN_FILE_SYSTEM";

/// In the child, where it is mounted; it is empty.
pub fn given() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// What the test `driver` of this program says on a file system in memory.
pub fn in_memory(driver: &str, options: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o {options} tmpfs \"$0\" && exec \"$@\"");
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--mount", "sh", "-c", &mount])
        .arg(folder.path());
    command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", driver, "--nocapture"]);
    let output = command
        .env(FOLDER, folder.path())
        .output()
        .expect("unshare is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said.into_owned()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
