use std::io::Read;

use platform::reactor::More;

use super::harness::*;

#[test]
fn what_is_sent_arrives() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let (mut peer, token) = server.connect();
        assert_eq!(server.reactor.send(token, b"hel", More::Yes).unwrap(), 3);
        assert_eq!(server.reactor.send(token, b"lo", More::No).unwrap(), 2);
        let mut bytes = [0; 5];
        peer.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
    });
}
