//! Programs of other packages.

use std::path::PathBuf;
use std::process::Command;

/// Beside those of this package (two folders above the test's); built if it is not there, as in a run of one package's tests alone:
/// cargo's `CARGO_BIN_EXE_*` and nextest's `NEXTEST_BIN_EXE_*` name the programs of the test's own package only.
pub(crate) fn of(package: &str, name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join(name);
    if !program.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "-q", "-p", package, "--bin", name]);
        assert!(build.status().unwrap().success());
    }
    program
}
