//! S3-compatible storage: a server that checks the signature of every request (AWS Signature Version 4, in the query).
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use aws_lc_rs::{digest, hmac};
use fill_agent::source::SourceError;
use protocol::manifest::Source as Listed;
use support::appliance::{Appliance, Setup, job, run_one};
use support::server::{Ask, Reply, Server, Shelf};
use support::{MIB, bytes, wanted};

const PATH: &str = "/films/ä b+c.mp4";
/// Bucket, prefix and path.
const KEY: &str = "/films/media/films/%C3%A4%20b%2Bc.mp4";

/// A bucket with one object.
async fn s3(object: &[u8]) -> Server {
    let shelf = Shelf::of([(KEY, object)]);
    Server::start(move |ask| {
        let (path, query) = ask.path.split_once('?').unwrap_or((&ask.path, ""));
        match (is_signed(ask, path, query), shelf.get(path)) {
            (false, _) => Reply::status(403),
            (true, None) => Reply::status(404),
            (true, Some(object)) => Reply::range(ask, &object).with("ETag", "\"of S3\""),
        }
    })
    .await
}

/// The signature as the server makes it:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>.
fn is_signed(ask: &Ask, path: &str, query: &str) -> bool {
    let mut fields: BTreeMap<_, _> = query
        .split('&')
        .filter_map(|one| one.split_once('='))
        .collect();
    let Some(signature) = fields.remove("X-Amz-Signature") else {
        return false;
    };
    let query: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let (host, date) = (ask.header("host").unwrap(), fields["X-Amz-Date"]);
    let request = format!(
        "{}\n{path}\n{}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD",
        ask.method,
        query.join("&")
    );
    let scope = format!("{}/eu-central-1/s3/aws4_request", &date[..8]);
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref())
    );
    let sign = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
    };
    let key = [&date[..8], "eu-central-1", "s3", "aws4_request"]
        .iter()
        .fold(b"AWS4not so secret".to_vec(), |key, part| {
            sign(&key, part).as_ref().to_vec()
        });
    fields["X-Amz-Credential"] == format!("AKEXAMPLE/{scope}").replace('/', "%2F")
        && hex(sign(&key, &text).as_ref()) == signature
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn listed(endpoint: &str) -> Listed {
    Listed::S3 {
        name: "store".into(),
        endpoint: endpoint.into(),
        region: "eu-central-1".into(),
        bucket: "films".into(),
        prefix: "media/".into(),
    }
}

#[tokio::test]
async fn an_object_comes_from_s3_with_signed_requests() {
    let object = bytes(1, 10 * MIB + 3);
    let s3 = s3(&object).await;
    let shelf = Shelf::of([("/", &object)]);
    let control = Server::start(move |ask| shelf.as_control(ask)).await;
    let appliance = Appliance::new();
    let fill = appliance.fill(Setup::new(&control.url()).sources(&[listed(&s3.url())]));
    let content = run_one(&fill, job(&wanted(PATH, &object), None)).await;
    appliance.publish(PATH, content);
    assert_eq!(s3.body_bytes(), object.len() as u64);
    // Neither the appliance's id nor the control endpoint's token is for strangers.
    let asks = s3.asks();
    assert!(
        asks.iter()
            .all(|ask| ask.header("oca-fill").is_none() && ask.header("authorization").is_none())
    );
    assert_eq!(asks[1].header("if-match"), Some("\"of S3\""));
}

#[tokio::test]
async fn a_wrong_key_and_what_is_not_there_are_told_apart() {
    let object = bytes(2, 2 * MIB);
    let s3 = s3(&object).await;
    let mut setup = Setup::new("http://127.0.0.1:1");
    let open = async |setup: &Setup, path| {
        let source = setup.sources(&[listed(&s3.url())]).get(0).unwrap().clone();
        source
            .open(&wanted(path, &object), 0..MIB, None)
            .await
            .err()
    };
    assert_eq!(open(&setup, PATH).await, None);
    assert!(matches!(
        open(&setup, "/none.mp4").await,
        Some(SourceError::Miss(_))
    ));
    setup.settings.credentials.as_mut().unwrap().secret = "guessed".into();
    assert_eq!(open(&setup, PATH).await, Some(SourceError::Refused(403)));
}
