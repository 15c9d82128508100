//! The command line, and the operator's requests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};

use reqwest::{Method, StatusCode};
use support::{Endpoint, OPERATOR, bytes, errors, eventually};

#[test]
fn a_wrong_configuration_is_exit_code_2_with_its_line() {
    let endpoint = Endpoint::with("max_fils = 3");
    let output = endpoint.run(&["ls"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("oca-control.toml:5: max_fils: unknown key"),
        "{}",
        errors(&output)
    );
    let output = endpoint.run(&["appliance", "add", "../x", "--site", "x", "--cluster", "x"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_key_or_a_token_file_that_is_missing_is_named() {
    let endpoint = Endpoint::new();
    fs::remove_file(endpoint.path("control-1.key")).unwrap();
    let output = endpoint.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("signing_keys: cannot read")
            && errors(&output).contains("oca-control keygen")
    );
    fs::copy(
        endpoint.path("control-1.pub"),
        endpoint.path("control-1.key"),
    )
    .unwrap();
    assert!(errors(&endpoint.run(&["serve"])).contains("not an Ed25519 private key in PEM"));
}

#[test]
fn a_backup_that_cannot_be_written_or_used_is_said_in_one_sentence() {
    let endpoint = Endpoint::new();
    endpoint.done(&["ls"]);
    let said = |arguments: &[&str]| {
        let output = endpoint.run(arguments);
        assert_eq!(output.status.code(), Some(1));
        errors(&output).trim_end().to_owned()
    };
    let file = endpoint.path("missing/backup").display().to_string();
    assert_eq!(
        said(&["backup", &file]),
        format!(
            "oca-control: {file}: cannot be made: No such file or directory (os error 2); \
             name a new file in a folder that is there and can be written"
        )
    );
    let file = endpoint.path("junk").display().to_string();
    fs::write(&file, "junk").unwrap();
    assert_eq!(
        said(&["backup", &file]),
        format!("oca-control: {file} is there already; nothing is overwritten")
    );
    let unusable = said(&["restore", &file]);
    assert!(unusable.contains("nothing was changed"), "{unusable}");
    assert_eq!(
        unusable.matches("file is not a database").count(),
        1,
        "{unusable}"
    );
}

#[test]
fn appliances_are_registered_once() {
    let endpoint = Endpoint::new();
    let token = endpoint.appliance("c1.x");
    assert_eq!(token.len(), 43);
    let again = endpoint.run(&["appliance", "add", "c1.x", "--site", "x", "--cluster", "x"]);
    assert!(again.status.code() == Some(1) && errors(&again).contains("registered already"));
    let list = endpoint.done(&["appliance", "ls"]);
    assert!(
        list.contains("c1.x") && list.contains("never") && !list.contains(&token),
        "{list}"
    );
    let database = fs::read(endpoint.state().join("control.sqlite")).unwrap();
    assert!(
        !database
            .windows(43)
            .any(|window| window == token.as_bytes()),
        "the token is not kept"
    );
    assert_eq!(
        endpoint.run(&["appliance", "rm", "c9.x"]).status.code(),
        Some(1)
    );
}

#[test]
fn what_cannot_be_taken_is_said_and_the_rest_is() {
    let endpoint = Endpoint::new();
    let media = endpoint.path("media");
    fs::create_dir(media.join("sub")).unwrap();
    for name in ["good.mp4", "sub/good.mp4", ".hidden"] {
        fs::write(media.join(name), name).unwrap();
    }
    symlink("/etc/passwd", media.join("passwd")).unwrap();
    symlink("/etc", media.join("etc")).unwrap();
    fs::write(media.join("line\nbreak.mp4"), "x").unwrap();
    let media = media.to_str().unwrap();
    let output = endpoint.run(&["ingest", media, "--prefix", "/vod"]);
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    assert!(
        said.contains("passwd: is a symbolic link") && said.contains("has a control character"),
        "{said}"
    );
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        printed.contains("registered 2 files") && printed.contains("skipped    3 files"),
        "{printed}"
    );
    let list = endpoint.done(&["ls", "/vod/sub"]);
    assert!(
        list.ends_with(" /vod/sub/good.mp4") && list.lines().count() == 1,
        "{list}"
    );
    for prefix in ["/a/../b", "/%2e%2e"] {
        assert_eq!(
            endpoint
                .run(&["ingest", media, "--prefix", prefix])
                .status
                .code(),
            Some(2)
        );
    }
    assert_eq!(
        endpoint.run(&["ingest", "/nonexistent"]).status.code(),
        Some(1)
    );
    assert!(
        endpoint
            .done(&["ingest", &format!("{media}/good.mp4"), "--prefix", "/vod"])
            .contains("unchanged  1 file")
    );
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_registered() {
    let endpoint = Endpoint::new();
    let file = endpoint.path("media/a.mp4");
    fs::write(&file, bytes(300 << 20, 1)).unwrap();
    let mut ingest = endpoint.command();
    let ingest = ingest
        .args(["ingest", file.to_str().unwrap()])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let open = fs::File::options().write(true).open(&file).unwrap();
    // Its time changes again and again until the program has ended.
    let output = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ingest.wait_with_output().unwrap());
        let mut second = 0;
        while !waiting.is_finished() {
            second += 1;
            open.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(second))
                .unwrap();
        }
        waiting.join().unwrap()
    });
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("has changed while it was read"),
        "{}",
        errors(&output)
    );
    assert_eq!(endpoint.done(&["ls"]), "");
}

#[tokio::test]
async fn copies_survive_their_originals() {
    let mut endpoint = Endpoint::new();
    let content = bytes(2_000_000, 1);
    let file = endpoint.path("media/a.mp4");
    fs::write(&file, &content).unwrap();
    endpoint.done(&["ingest", file.to_str().unwrap(), "--copy"]);
    fs::remove_file(&file).unwrap();
    let token = endpoint.appliance("c1.x");
    endpoint.serve();
    let path = format!("/v1/bytes/{}", blake3::hash(&content));
    assert_eq!(
        endpoint.get(&path, &token).await.bytes().await.unwrap(),
        content
    );
    endpoint.done(&["rm", "/a.mp4"]);
    let objects = endpoint
        .state()
        .join("objects")
        .join(&blake3::hash(&content).to_string()[..2]);
    assert_eq!(
        fs::read_dir(objects).unwrap().count(),
        0,
        "a takedown deletes the copy"
    );
}

async fn put(endpoint: &Endpoint, path: &str, token: &str) -> u16 {
    let path = format!("/v1/objects/{path}");
    let request = endpoint.request(Method::PUT, &path, token).body("bytes");
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn operators_publish_and_take_down_over_http() {
    let mut endpoint = Endpoint::new();
    let token = endpoint.appliance("c1.x");
    endpoint.serve();
    assert_eq!(
        put(&endpoint, "a%20b/c.mp4?demand=1GB", OPERATOR).await,
        201
    );
    assert!(endpoint.done(&["ls"]).ends_with("5 /a b/c.mp4"));
    let list = async |query: &str| -> serde_json::Value {
        let response = endpoint
            .get(&format!("/v1/objects?{query}"), OPERATOR)
            .await;
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    };
    let page = list("after=/a&limit=1").await;
    assert_eq!(
        (&page[0]["path"], &page[0]["demand"]),
        (&"/a b/c.mp4".into(), &1_000_000_000.into())
    );
    assert_eq!(list("after=/b").await, serde_json::json!([]));
    let delete = async || {
        let request = endpoint.request(Method::DELETE, "/v1/objects/a%20b/c.mp4", OPERATOR);
        request.send().await.unwrap().status()
    };
    assert_eq!(delete().await, StatusCode::NO_CONTENT);
    assert_eq!(delete().await, StatusCode::NOT_FOUND);
    assert_eq!(
        endpoint.tombstones("c1.x", &token).await.tombstones.len(),
        1
    );
}

#[tokio::test]
async fn what_operators_may_not_is_refused_and_leaves_nothing() {
    let mut endpoint = Endpoint::new();
    let token = endpoint.appliance("c1.x");
    endpoint.serve();
    assert_eq!(put(&endpoint, "x.mp4", &token).await, 401);
    assert_eq!(put(&endpoint, "a%2f..%2f..%2fetc/x", OPERATOR).await, 400);
    assert_eq!(put(&endpoint, "x%00y", OPERATOR).await, 400);
    assert_eq!(put(&endpoint, &"x".repeat(10_000), OPERATOR).await, 400);
    assert_eq!(put(&endpoint, "x.mp4?demand=many", OPERATOR).await, 400);
    // A client that is gone in the middle.
    let incoming = endpoint.state().join("objects/incoming");
    let files = || fs::read_dir(&incoming).map_or(0, Iterator::count);
    let mut connection =
        TcpStream::connect(endpoint.url("").trim_start_matches("http://")).unwrap();
    let head = format!(
        "PUT /v1/objects/half.mp4 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPERATOR}\r\nContent-Length: 100\r\n\r\nhalf"
    );
    connection.write_all(head.as_bytes()).unwrap();
    eventually("the bytes come in", || files() == 1);
    drop(connection);
    eventually("nothing half-written stays", || files() == 0);
    assert_eq!(endpoint.done(&["ls"]), "");
    assert_eq!(
        endpoint.get("/v1/nothing", OPERATOR).await.status(),
        StatusCode::NOT_FOUND
    );
    let posted = endpoint
        .request(Method::POST, "/metrics", "")
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn one_serves_at_a_time() {
    let mut endpoint = Endpoint::new();
    endpoint.serve();
    let output = endpoint.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("runs already"),
        "{}",
        errors(&output)
    );
    assert!(endpoint.stop());
    assert!(!endpoint.state().join("address").exists());
}

#[test]
fn a_private_key_is_its_owners() {
    let endpoint = Endpoint::new();
    let mode = endpoint
        .path("control-1.key")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
