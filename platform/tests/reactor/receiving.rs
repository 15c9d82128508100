use std::io::Write;

use super::harness::*;

#[test]
fn bytes_come_in_order_in_pieces_of_a_buffer() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        server.reactor.receive(token);
        let bytes = pattern(10_000);
        peer.write_all(&bytes).unwrap();
        assert_eq!(server.receive_exactly(token, bytes.len()), bytes);
        peer.write_all(b"more").unwrap();
        assert_eq!(server.receive_exactly(token, 4), b"more");
    });
}
