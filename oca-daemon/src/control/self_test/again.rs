//! The self-test of a daemon that runs. Until it has passed once, the question is asked and answered; from then on it is only asked
//! whether somebody listens. A box under load may let a question wait, and must not be called broken for that: workers that
//! hang are a cause of their own.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use protocol::status::{Listener, SelfTest};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{reachable, run};
use crate::control::Control;
use crate::limits::{SELF_TEST_AGAIN, SELF_TEST_EVERY, SELF_TEST_WAIT};

/// What is known of the test.
#[derive(Debug)]
pub(in crate::control) struct Testing {
    /// What the last one found.
    pub(in crate::control) latest: SelfTest,
    /// One has passed since the start.
    pub(in crate::control) has_passed: bool,
    tested: Option<Instant>,
    under_way: Option<JoinHandle<SelfTest>>,
}

impl Default for Testing {
    fn default() -> Self {
        Self {
            latest: SelfTest::Running,
            has_passed: false,
            tested: None,
            under_way: None,
        }
    }
}

impl Testing {
    /// A test was made.
    pub(in crate::control) fn note(&mut self, found: SelfTest) {
        match &found {
            SelfTest::Failed(why) => tracing::error!("self-test: {why}"),
            SelfTest::Passed | SelfTest::Running if self.latest != found => {
                tracing::info!("self-test passed");
            }
            SelfTest::Passed | SelfTest::Running => {}
        }
        self.has_passed |= found == SelfTest::Passed;
        self.latest = found;
        self.tested = Some(Instant::now());
        self.forget_what_is_under_way();
    }

    fn forget_what_is_under_way(&mut self) {
        if let Some(under_way) = self.under_way.take() {
            under_way.abort();
        }
    }

    /// One that failed is made again at each look: health wants three in a row.
    fn is_due(&self) -> bool {
        let pause = match (self.has_passed, &self.latest) {
            (false, _) => SELF_TEST_AGAIN,
            (true, SelfTest::Failed(_)) => Duration::ZERO,
            (true, _) => SELF_TEST_EVERY,
        };
        self.tested.is_none_or(|tested| tested.elapsed() >= pause)
    }
}

impl Control {
    /// Not while the box refuses viewers anyway. The loop waits only for the tests before the first one that passes.
    pub(in crate::control) async fn test_if_due(&mut self) {
        if self.shared.service().refuses() || self.shared.is_stopping() {
            return self.testing.forget_what_is_under_way();
        }
        if let Some(under_way) = self.testing.under_way.take_if(|it| it.is_finished()) {
            // One that panicked has found nothing.
            if let Ok(found) = under_way.await {
                self.testing.note(found);
            }
        }
        if self.testing.under_way.is_some() || !self.testing.is_due() {
            return;
        }
        let listening = self.shared.listening.clone();
        if self.testing.has_passed {
            self.testing.under_way = Some(tokio::spawn(somebody_listens(listening)));
        } else {
            let found = run(&listening).await;
            self.testing.note(found);
        }
    }
}

async fn somebody_listens(listening: Vec<Listener>) -> SelfTest {
    for listener in listening {
        if let Err(why) = listens(listener.address).await {
            return SelfTest::Failed(format!("{} does not answer: {why}", listener.address));
        }
    }
    SelfTest::Passed
}

/// No answer within the time is none that counts.
async fn listens(address: SocketAddr) -> Result<(), String> {
    is_local(address)?;
    match timeout(SELF_TEST_WAIT, TcpStream::connect(reachable(address))).await {
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

/// Port 0 of an address can be had exactly if the address is this system's.
pub(super) fn is_local(address: SocketAddr) -> Result<(), String> {
    let bound = UdpSocket::bind((address.ip(), 0));
    bound.map(drop).map_err(|error| {
        let ip = address.ip();
        format!("{ip} is not an address of this system: {error}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::status::ListenerPurpose;
    use tokio::net::TcpListener;

    fn http(address: SocketAddr) -> Listener {
        Listener {
            address,
            purpose: ListenerPurpose::Http,
        }
    }

    #[tokio::test]
    async fn a_listener_that_is_gone_is_found_and_one_that_keeps_us_waiting_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Nobody accepts, let alone answers.
        assert_eq!(
            somebody_listens(vec![http(address)]).await,
            SelfTest::Passed
        );
        drop(listener);
        let found = somebody_listens(vec![http(address)]).await;
        assert!(matches!(found, SelfTest::Failed(why) if why.contains("refused")));
    }

    #[tokio::test]
    async fn an_address_that_is_gone_is_found() {
        let listener = http("192.0.2.1:80".parse().unwrap());
        let found = somebody_listens(vec![listener]).await;
        assert!(matches!(found, SelfTest::Failed(why) if why.contains("not an address of this")));
    }
}
