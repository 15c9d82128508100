//! The disk with the certificates hangs.
#![cfg(target_os = "linux")]

#[path = "../support/silent.rs"]
mod silent;

use std::sync::Arc;

use crate::daemon::Server;
use crate::support::eventually;
use crate::support::tls::connect;
use silent::SilentFile;

#[test]
fn a_hanging_disk_with_certificates_hurts_nobody() {
    let server = Server::start("auto");
    let shown = server.shown();
    let silent = SilentFile::over(&server.site.path("chain.pem"), &server.site.path("fuse"));
    silent.fall_silent();
    let problem = eventually("it is told", || server.tls().problems.pop());
    assert!(problem.contains("the disk does not answer"), "{problem}");
    assert_eq!(server.shown(), shown);
    let client = Arc::new(server.authority.client(&[]));
    let mut viewer = connect(server.https(), &client);
    let part = viewer.get("/film", &["Range: bytes=0-99"]).unwrap();
    assert_eq!(part.body, server.film[..100]);
    assert_eq!(server.tls().failures, 1);
    drop(silent);
    eventually("the disk answers again", || {
        server.tls().problems.is_empty().then_some(())
    });
}
