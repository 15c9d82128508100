//! Who seals: what the kernel of this machine cannot is done here, and counted. What it can is shown by scripts/kernel-tls.sh.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use platform::kernel_tls::available;

use crate::support::tls::{Authority, connect};
use crate::support::{BACKENDS, Plan, Site, assert_same, content, eventually};

/// A box whose `tls.kernel` is `wanted`.
fn site(backend: &str, authority: &Authority, wanted: &str) -> Site {
    let site = Site::new(&Plan {
        backend,
        ..Plan::default()
    });
    site.speak_tls(authority, "");
    let config = fs::read_to_string(site.config()).unwrap();
    let config = config.replace("kernel = \"off\"", &format!("kernel = \"{wanted}\""));
    fs::write(site.config(), config).unwrap();
    site
}

#[test]
fn a_kernel_that_cannot_seal_is_counted_and_viewers_notice_nothing() {
    for backend in BACKENDS {
        let authority = Authority::new();
        let site = site(backend, &authority, "auto");
        let film = content(5, 300_000);
        site.publish("/film", &film);
        let daemon = site.start();
        let client = Arc::new(authority.client(&[]));
        let answer = connect(daemon.https.unwrap(), &client).get("/film", &[]);
        assert_same(&answer.unwrap().body, &film, backend);
        let connections = |path: &str| daemon.metric("oca_tls_connections_total", path);
        let (least_user, least_kernel) = if available().is_ok() {
            (0.0, 1.0)
        } else {
            (1.0, 0.0)
        };
        // The box asks itself as well, maybe just now.
        eventually("each is counted", || {
            let by_user = connections("path=\"user\"");
            let by_kernel = connections("path=\"kernel\"");
            assert!(by_user >= least_user && by_kernel >= least_kernel);
            let unavailable = "reason=\"unavailable\"";
            let fallbacks = daemon.metric("oca_tls_kernel_fallbacks_total", unavailable);
            (fallbacks == by_user).then_some(())
        });
    }
}

#[test]
fn a_kernel_that_must_seal_and_cannot_ends_the_start() {
    let Err(refusal) = available() else {
        return;
    };
    let site = site("epoll", &Authority::new(), "on");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_oca-daemon"));
    let ended = daemon.arg("--config").arg(site.config()).output().unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains(refusal.advice), "{said}");
}
