//! The command line: help, exit codes, wrong configuration.

mod appliance;

use appliance::{Appliance, Said, text};
use assert_cmd::Command;

fn ocactl(arguments: &[&str]) -> Said {
    Said::of(
        &Command::cargo_bin("ocactl")
            .expect("this package builds it")
            .args(arguments)
            .output()
            .expect("it can be started"),
    )
}

#[test]
fn help_leads_a_newcomer() {
    let help = ocactl(&["--help"]).done().out;
    for word in [
        "First steps",
        "content import",
        "Exit codes",
        "--config",
        "--json",
        "drain",
    ] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    assert!(!help.contains("generate"), "{help}");
    assert!(
        ocactl(&["content", "import", "--help"])
            .done()
            .out
            .contains("Examples:")
    );
    assert!(ocactl(&["--version"]).done().out.starts_with("ocactl "));
}

#[test]
fn wrong_usage_ends_with_2() {
    assert_eq!(ocactl(&[]).code, 2);
    ocactl(&["dance"]).failed(2, "unrecognized subcommand");
    ocactl(&["status", "--colour"]).failed(2, "unexpected argument");
    ocactl(&["content", "rm"]).failed(2, "required");
}

/// A file that was asked for and is not whole must not look like one that is; a reader that has seen enough is no fault.
#[test]
fn what_cannot_be_printed_is_no_success() {
    let script = |line: &str| {
        let program = env!("CARGO_BIN_EXE_ocactl");
        let output = Command::new("sh")
            .args(["-c", line, "sh", program])
            .output();
        Said::of(&output.expect("there is a shell"))
    };
    for what in ["--print-paths", "generate completions bash"] {
        script(&format!("$1 {what} > /dev/full")).failed(1, "cannot write to standard output");
        let gone = script(&format!("exec 3>&1; ($1 {what} || echo $? >&3) | true"));
        assert_eq!(gone.done().out, "");
    }
    assert_eq!(script("$1 --help > /dev/full").code, 1);
}

#[test]
fn a_wrong_or_missing_configuration_ends_with_2() {
    ocactl(&["--config", "/nonexistent/oca.toml", "status"])
        .failed(2, "/nonexistent/oca.toml: cannot be read");
    let appliance = Appliance::bare();
    appliance.configure(|plain| plain.replace("[listen]", "[listen]\nhttp2 = []"));
    let said = appliance
        .run(&["check"])
        .failed(2, "oca.toml:6: listen.http2: unknown key");
    assert_eq!(said.out, "");
}

#[test]
fn paths_of_this_system_are_printed() {
    let paths = ocactl(&["--print-paths"]).done().out;
    assert_eq!(paths, format!("{}\n", protocol::paths::Paths::here()));
}

#[test]
fn man_pages_and_completions_are_made() {
    let folder = tempfile::tempdir().unwrap();
    ocactl(&["generate", "man", text(folder.path())]).done();
    let page = std::fs::read_to_string(folder.path().join("ocactl-content-import.1")).unwrap();
    assert!(page.contains(".TH"), "{page}");
    assert!(folder.path().join("ocactl.1").exists());
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            ocactl(&["generate", "completions", shell])
                .done()
                .out
                .contains("ocactl")
        );
    }
    ocactl(&["generate", "man", "/dev/null/man"])
        .failed(1, "/dev/null/man: cannot write man pages");
}
