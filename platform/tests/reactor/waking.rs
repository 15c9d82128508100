use platform::reactor::Event;

use super::harness::*;

#[test]
fn a_wake_from_another_thread_comes_out() {
    on_every_backend(|backend| {
        let mut server = Server::new(backend);
        let waker = server.reactor.waker();
        let thread = std::thread::spawn(move || waker.wake());
        assert!(matches!(server.next(), Event::Wake));
        thread.join().unwrap();
        server.expect_silence();
    });
}
