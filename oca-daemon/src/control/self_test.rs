//! The self-test. *At start*, and before a drain ends, each address for viewers is asked a question from outside, through the kernel:
//! until that has worked, no viewer is sent here. *In service*, whether somebody still listens there is asked again and again ([`again`]).
//! *When an operator asks*, and before a drain ends, everything is tested at once ([`whole`]).

mod again;
mod over_tls;
mod whole;

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use protocol::status::{Listener, ListenerPurpose, SelfTest};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::limits::SELF_TEST_WAIT;

pub(super) use again::Testing;
pub(super) use whole::Trials;
pub(crate) use whole::served_here;

/// Asks for no content, so it works on an empty box.
const QUESTION: &[u8] = b"OPTIONS * HTTP/1.1\r\nHost: self-test\r\nConnection: close\r\n\r\n";

/// What every answer begins with, and as long as that of a box that is full and so has no place: it answers all the same.
const ANSWER: &[u8] = b"HTTP/1.1 2";
const NO_PLACE: &[u8] = b"HTTP/1.1 503";

/// Tests each of the addresses.
async fn run(listening: &[Listener]) -> SelfTest {
    judged(&ask_each(listening).await)
}

/// Tests the addresses at which the workers of a successor have their trial, before it takes over anything.
///
/// # Errors
/// The first that does not answer, and why; or what the system says.
pub(crate) fn trial(listening: &[Listener]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match runtime.block_on(run(listening)) {
        SelfTest::Failed(why) => anyhow::bail!("self-test: {why}"),
        SelfTest::Passed | SelfTest::Running => Ok(()),
    }
}

/// What is said of all of them; of several that do not answer, the first.
fn judged(asked: &[(Listener, Result<(), String>)]) -> SelfTest {
    let failed = asked
        .iter()
        .find_map(|(listener, answered)| Some((listener.address, answered.as_ref().err()?)));
    failed.map_or(SelfTest::Passed, |(address, why)| {
        SelfTest::Failed(format!("{address} does not answer: {why}"))
    })
}

/// All at once: together they take no longer than one.
async fn ask_each(listening: &[Listener]) -> Vec<(Listener, Result<(), String>)> {
    let mut asking = JoinSet::new();
    for (place, listener) in listening.iter().cloned().enumerate() {
        asking.spawn(async move {
            let answered = ask(reachable(listener.address), listener.purpose).await;
            (place, listener, answered)
        });
    }
    let mut asked = asking.join_all().await;
    asked.sort_by_key(|(place, ..)| *place);
    asked
        .into_iter()
        .map(|(_, listener, answered)| (listener, answered))
        .collect()
}

/// Tests one address; an error says what came instead of an answer.
pub(crate) async fn ask(address: SocketAddr, purpose: ListenerPurpose) -> Result<(), String> {
    let conversation = async {
        let stream = TcpStream::connect(address).await.map_err(said)?;
        if purpose == ListenerPurpose::Https {
            let stream = over_tls::connect(stream, address).await;
            converse(stream.map_err(|error| format!("handshake: {error}"))?).await
        } else {
            converse(stream).await
        }
    };
    let late = |_| Err(format!("nothing within {} s", SELF_TEST_WAIT.as_secs()));
    timeout(SELF_TEST_WAIT, conversation)
        .await
        .unwrap_or_else(late)
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
    stream.write_all(QUESTION).await.map_err(said)?;
    let mut answer = [0; NO_PLACE.len()];
    stream.read_exact(&mut answer).await.map_err(said)?;
    if answer.starts_with(ANSWER) || answer == NO_PLACE {
        Ok(())
    } else {
        Err(format!("{:?}", String::from_utf8_lossy(&answer)))
    }
}

fn said(error: impl Display) -> String {
    error.to_string()
}

/// Where a socket that listens on all addresses is found.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answered(answer: &'static [u8]) -> SelfTest {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0; QUESTION.len()];
            stream.read_exact(&mut question).await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        run(&[http(address)]).await
    }

    fn http(address: SocketAddr) -> Listener {
        Listener {
            address,
            purpose: ListenerPurpose::Http,
        }
    }

    #[tokio::test]
    async fn passes_with_an_answer_and_says_what_came_otherwise() {
        assert_eq!(
            answered(b"HTTP/1.1 204 No Content\r\n\r\n").await,
            SelfTest::Passed
        );
        // Full, and well.
        assert_eq!(answered(b"HTTP/1.1 503 \r\n\r\n").await, SelfTest::Passed);
        assert!(
            matches!(answered(b"HTTP/1.1 500 \r\n\r\n").await, SelfTest::Failed(why) if why.contains("HTTP/1.1 500"))
        );
        assert!(matches!(answered(b"").await, SelfTest::Failed(_)));
    }

    #[tokio::test]
    async fn fails_where_nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(
            matches!(run(&[http(address)]).await, SelfTest::Failed(why) if why.contains(&address.to_string()))
        );
        assert_eq!(run(&[]).await, SelfTest::Passed);
    }

    #[test]
    fn a_socket_on_all_addresses_is_asked_on_loopback() {
        assert_eq!(
            reachable("[::]:80".parse().unwrap()),
            "[::1]:80".parse().unwrap()
        );
        assert_eq!(
            reachable("0.0.0.0:80".parse().unwrap()),
            "127.0.0.1:80".parse().unwrap()
        );
        assert_eq!(
            reachable("192.0.2.1:80".parse().unwrap()),
            "192.0.2.1:80".parse().unwrap()
        );
    }
}
