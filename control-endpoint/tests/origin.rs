//! Bytes and chunk trees.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::time::SystemTime;

use content_store::ObjectId;
use content_store::chunk_tree::ChunkTree;
use protocol::control::Problem;
use reqwest::header::{
    CONTENT_RANGE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode};
use support::{Endpoint, bytes, until};

const LARGE: usize = 64 << 20;

struct Sample {
    endpoint: Endpoint,
    content: Vec<u8>,
    root: String,
    path: String,
    token: String,
}

impl Sample {
    fn new() -> Self {
        let mut endpoint = Endpoint::new();
        let content = bytes(3_000_000, 1);
        let root = endpoint.ingest("a.mp4", &content);
        let token = endpoint.appliance("c1.x");
        endpoint.serve();
        let path = format!("/v1/bytes/{root}");
        Self {
            endpoint,
            content,
            root,
            path,
            token,
        }
    }

    async fn get(&self, headers: &[(HeaderName, &str)]) -> Response {
        let mut request = self.endpoint.request(Method::GET, &self.path, &self.token);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        request.send().await.unwrap()
    }
}

#[tokio::test]
async fn the_whole_and_its_ranges() {
    let sample = Sample::new();
    let whole = sample.get(&[]).await;
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(whole.headers()[ETAG], format!("\"{}\"", sample.root));
    assert_eq!(whole.bytes().await.unwrap(), sample.content);
    for (range, part) in [
        ("bytes=0-0", 0..1),
        ("bytes=1048576-2097151", 1_048_576..2_097_152),
        ("bytes=2999999-", 2_999_999..3_000_000),
        ("bytes=-5", 2_999_995..3_000_000),
        (
            "bytes=2999990-99999999999999999999999",
            2_999_990..3_000_000,
        ),
    ] {
        let response = sample.get(&[(RANGE, range)]).await;
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        let said = format!("bytes {}-{}/3000000", part.start, part.end - 1);
        assert_eq!(response.headers()[CONTENT_RANGE], said);
        assert_eq!(response.bytes().await.unwrap(), sample.content[part]);
    }
    let head = sample
        .endpoint
        .request(Method::HEAD, &sample.path, &sample.token);
    assert_eq!(
        head.send().await.unwrap().headers()["content-length"],
        "3000000"
    );
}

#[tokio::test]
async fn conditions_and_garbage() {
    let sample = Sample::new();
    let own = format!("\"{}\"", sample.root);
    let part = (RANGE, "bytes=0-1");
    for (headers, status) in [
        (
            vec![(RANGE, "bytes=3000000-")],
            StatusCode::RANGE_NOT_SATISFIABLE,
        ),
        (vec![(RANGE, "bytes=garbage,,")], StatusCode::OK),
        (vec![(RANGE, "bytes=0-1,5-6")], StatusCode::OK),
        (
            vec![(IF_MATCH, &own), part.clone()],
            StatusCode::PARTIAL_CONTENT,
        ),
        (
            vec![(IF_MATCH, "\"other\""), part.clone()],
            StatusCode::PRECONDITION_FAILED,
        ),
        (vec![(IF_NONE_MATCH, &own)], StatusCode::NOT_MODIFIED),
        (
            vec![(IF_RANGE, &own), part.clone()],
            StatusCode::PARTIAL_CONTENT,
        ),
        (vec![(IF_RANGE, "\"other\""), part], StatusCode::OK),
    ] {
        assert_eq!(sample.get(&headers).await.status(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_said() {
    let Sample {
        endpoint,
        path,
        token,
        ..
    } = Sample::new();
    let zeros = "0".repeat(64);
    for (path, token, status) in [
        (path.clone(), "guessed", StatusCode::UNAUTHORIZED),
        ("/v1/bytes/xyz".to_owned(), &*token, StatusCode::BAD_REQUEST),
        (
            "/v1/bytes/..%2f..%2fetc%2fpasswd".to_owned(),
            &*token,
            StatusCode::BAD_REQUEST,
        ),
        (format!("/v1/bytes/{zeros}"), &*token, StatusCode::NOT_FOUND),
        (format!("/v1/trees/{zeros}"), &*token, StatusCode::NOT_FOUND),
    ] {
        let response = endpoint.get(&path, token).await;
        assert_eq!(response.status(), status, "{path}");
        let problem: Problem = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert!(!problem.error.is_empty());
    }
}

#[tokio::test]
async fn trees_belong_to_their_roots() {
    let mut endpoint = Endpoint::new();
    let token = endpoint.appliance("c1.x");
    endpoint.serve();
    for length in [0, 5, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let content = bytes(length, length as u64);
        let root = endpoint.ingest(&format!("{length}.mp4"), &content);
        let tree = endpoint
            .get(&format!("/v1/trees/{root}"), &token)
            .await
            .bytes()
            .await
            .unwrap();
        let groups: Vec<[u8; 32]> = tree
            .chunks(32)
            .map(|group| group.try_into().unwrap())
            .collect();
        let object = ObjectId(*blake3::hash(&content).as_bytes());
        let tree = ChunkTree::new(object, length as u64, groups.into()).unwrap();
        assert_eq!(tree, ChunkTree::of(&content));
        let got = endpoint
            .get(&format!("/v1/bytes/{root}"), &token)
            .await
            .bytes()
            .await
            .unwrap();
        assert_eq!(got, content);
    }
}

#[tokio::test]
async fn beyond_max_fills_clients_are_told_to_come_again() {
    let mut endpoint = Endpoint::with("max_fills = 1");
    let root = endpoint.ingest("a.mp4", &bytes(LARGE, 1));
    let token = endpoint.appliance("c1.x");
    endpoint.serve();
    let path = format!("/v1/bytes/{root}");
    let first = endpoint.get(&path, &token).await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = endpoint.get(&path, &token).await;
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(
        second.headers()[RETRY_AFTER]
            .to_str()
            .unwrap()
            .parse::<u32>()
            .unwrap()
            > 0
    );
    let metrics = endpoint.get("/metrics", "").await.text().await.unwrap();
    assert!(
        metrics.contains("oca_control_free_fills 0")
            && metrics.contains("oca_control_refusals_total{reason=\"busy\"} 1")
    );
    drop(first);
    let third = until("a free place", async || {
        Some(endpoint.get(&path, &token).await)
            .filter(|response| response.status() == StatusCode::OK)
    });
    assert_eq!(third.await.bytes().await.unwrap().len(), LARGE);
}

#[tokio::test]
async fn a_file_that_has_changed_is_gone_until_it_is_ingested_again() {
    let mut endpoint = Endpoint::new();
    let root = endpoint.ingest("a.mp4", b"before");
    let token = endpoint.appliance("c1.x");
    endpoint.serve();
    let path = format!("/v1/bytes/{root}");
    assert_eq!(endpoint.get(&path, &token).await.status(), StatusCode::OK);
    let file = endpoint.path("media/a.mp4");
    fs::write(&file, "after, and longer").unwrap();
    assert_eq!(endpoint.get(&path, &token).await.status(), StatusCode::GONE);
    support::eventually("it is marked", || {
        endpoint
            .done(&["ls"])
            .contains("BROKEN: it has changed since it was ingested")
    });
    fs::remove_file(&file).unwrap();
    assert_eq!(endpoint.get(&path, &token).await.status(), StatusCode::GONE);
    endpoint.ingest("a.mp4", b"before");
    assert_eq!(
        endpoint.get(&path, &token).await.bytes().await.unwrap(),
        &b"before"[..]
    );
    assert!(!endpoint.done(&["ls"]).contains("BROKEN"));
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_breaks_the_answer_off() {
    let mut endpoint = Endpoint::new();
    let root = endpoint.ingest("a.mp4", &bytes(LARGE, 2));
    let token = endpoint.appliance("c1.x");
    endpoint.serve();
    let mut response = endpoint.get(&format!("/v1/bytes/{root}"), &token).await;
    assert!(response.chunk().await.unwrap().is_some());
    let file = fs::File::options()
        .write(true)
        .open(endpoint.path("media/a.mp4"))
        .unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert!(response.bytes().await.is_err());
    support::eventually("it is marked", || endpoint.done(&["ls"]).contains("BROKEN"));
}
