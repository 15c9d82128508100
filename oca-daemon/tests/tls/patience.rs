//! How long a connection over TLS may take once its handshake is done: as long as one in clear, and it is ended as TLS ends.

use std::io::Read;
use std::time::Duration;

use crate::support::{BACKENDS, content, eventually};
use crate::viewers::Server;

fn patient(backend: &str, serve: &str) -> Server {
    Server::configured(backend, "64 MiB", "", &format!("[serve]\n{serve}\n"))
}

fn timed_out(server: &Server) -> f64 {
    server.daemon.metric("oca_timed_out_connections_total", "")
}

#[test]
fn an_idle_connection_is_closed_without_a_word_but_the_last_one() {
    for backend in BACKENDS {
        let server = patient(backend, "idle_timeout = \"1 s\"");
        let mut fresh = server.connect();
        let mut used = server.connect();
        assert_eq!(used.get("/none", &[]).unwrap().status, 404);
        assert!(fresh.is_closed() && used.is_closed(), "close_notify came");
        assert!(timed_out(&server) >= 2.0);
    }
}

/// RFC 9110 section 15.5.9.
#[test]
fn a_slow_head_is_answered_408() {
    for backend in BACKENDS {
        let server = patient(backend, "head_timeout = \"1 s\"");
        let mut client = server.connect();
        client
            .stream
            .sock
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        client.send("GET /film HTTP/1.1\r\nA: ").unwrap();
        let answer = eventually("an answer", || {
            client.send("b").unwrap();
            client.response(false).ok()
        });
        assert_eq!(answer.status, 408);
        client
            .stream
            .sock
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        assert!(client.is_closed());
    }
}

/// What was sealed for a viewer and not taken is not what he took. `send_timeout` is an hour here.
#[test]
fn a_viewer_below_the_least_rate_is_let_go() {
    let serve = "min_rate = \"80 Mbit/s\"\nmin_rate_window = \"1 s\"\nsend_timeout = \"1 h\"";
    for backend in BACKENDS {
        let server = patient(backend, serve);
        // More than the kernel takes for a viewer that reads nothing.
        server.site.publish("/large", &content(8, 16 << 20));
        eventually("it is served", || {
            let head = server.connect().request("HEAD", "/large", &[]);
            (head.unwrap().status == 200).then_some(())
        });
        let mut slow = server.connect();
        slow.send("GET /large HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        slow.stream.read_exact(&mut [0; 100]).unwrap();
        eventually("the slow one is let go", || {
            (timed_out(&server) == 1.0).then_some(())
        });
        let mut rest = Vec::new();
        assert!(
            slow.stream.read_to_end(&mut rest).is_err(),
            "an end without close_notify: it was cut"
        );
    }
}
