//! What the reactor does when the process runs out of descriptors. Alone in its process: the limit is everybody's.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; the exception for tests covers test functions alone"
)]

#[path = "reactor/harness.rs"]
#[expect(dead_code, reason = "shared with a suite that needs more of it")]
mod harness;

use std::fs::File;

use platform::reactor::Event;
use socket2::{Domain, Socket, Type};

use harness::*;

#[test]
fn out_of_descriptors_accepting_stops_without_turning_in_circles() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let peers: Vec<_> = (0..3)
            .map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap())
            .collect();
        lower_descriptor_limit(256);
        let mut hoard = hoard_descriptors();
        for peer in &peers {
            peer.connect(&server.address.into()).unwrap();
        }
        assert_accept_fails(&mut server);
        // Connections wait in the kernel's queue, and still:
        server.assert_sleeps();

        hoard.clear();
        server.reactor.resume_accept(LISTENER);
        for _ in &peers {
            server.accepted();
        }
        server.expect_silence();
    });
}

fn assert_accept_fails(server: &mut Server) {
    match server.next() {
        Event::AcceptFailed { listener, error } => {
            assert_eq!(listener, LISTENER);
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        }
        other => panic!("instead of a refusal: {other:?}"),
    }
}

fn lower_descriptor_limit(descriptors: u64) {
    let limit = libc::rlimit {
        rlim_cur: descriptors as libc::rlim_t,
        rlim_max: descriptors as libc::rlim_t,
    };
    // SAFETY: `limit` is valid during the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

fn hoard_descriptors() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}
