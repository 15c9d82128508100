//! What was sent, taken apart.

use oca_daemon::request::{self, Parsed};

/// One answer: its status and its body.
pub(crate) type Answer = (u16, Vec<u8>);

/// Takes `sent` apart into the answers to the requests in `input`, and checks that they are whole, that there is one for each
/// request up to the one that ends the connection, and nothing else.
pub(crate) fn answers(input: &[u8], sent: &[u8]) -> Vec<Answer> {
    let (mut rest, mut unread, mut answers) = (sent, input, Vec::new());
    while !rest.is_empty() {
        let (for_head, length) = match request::parse(unread) {
            Parsed::Complete(request, length) => (request.method == request::Method::Head, length),
            Parsed::Rejected(_) => (request::asks_for_head(unread), unread.len()),
            Parsed::Partial => panic!("an answer to half a request"),
        };
        unread = &unread[length..];
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.expect("a whole head") + 4;
        let head = str::from_utf8(&rest[..end]).expect("a head is text");
        let status: u16 = head[9..12].parse().expect("a status");
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let announced = field("Content-Length: ").map_or(0, |n| n.parse().expect("digits"));
        let length = if for_head { 0 } else { announced };
        answers.push((status, rest[end..end + length].to_vec()));
        rest = &rest[end + length..];
        if field("Connection: ") == Some("close") {
            assert!(
                rest.is_empty(),
                "{} bytes after the last answer",
                rest.len()
            );
            return answers;
        }
    }
    let is_answered = matches!(request::parse(unread), Parsed::Partial);
    assert!(is_answered, "a request without an answer");
    answers
}
