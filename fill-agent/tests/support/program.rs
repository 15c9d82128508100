//! Programs of other packages.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Beside the agent's program; built if it is not there, as in a run of this package's tests alone.
pub(crate) fn of(package: &str, name: &str) -> PathBuf {
    let program = Path::new(assert_cmd::cargo::cargo_bin!("oca-fill-agent")).with_file_name(name);
    if !program.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "-q", "-p", package, "--bin", name]);
        assert!(build.status().unwrap().success());
    }
    program
}
