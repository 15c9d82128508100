//! https to the control endpoint, and to the bytes that it gives: with the system's store, as `SSL_CERT_FILE` names it, and with
//! authorities and a certificate of the configuration.

use std::fs;
use std::net::SocketAddr;

use protocol::fill::Activity;
use trust::testing::{Authority, front};

use super::appliance::{Appliance, eventually};
use super::endpoint::{APPLIANCE, Endpoint, manifest};
use super::{objects, paths};

/// Has the agent ask at `https`, with further lines for `[control]`.
fn point(appliance: &Appliance, endpoint: &Endpoint, https: SocketAddr, lines: &str) {
    let plain = format!("http://{}\"", endpoint.address);
    let wanted = format!("https://localhost:{}\"\n{lines}", https.port());
    appliance.configure(endpoint, |text| text.replace(&plain, &wanted));
}

#[test]
fn https_is_believed_with_the_right_authority_alone() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let address = front(endpoint.address, &ours.issue("localhost"), None);
    point(&appliance, &endpoint, address, "");
    fs::write(appliance.path("ours.pem"), ours.pem()).unwrap();
    fs::write(appliance.path("another.pem"), other.pem()).unwrap();
    let wanted = objects(&endpoint, 0..3);
    endpoint.offer(&manifest(1, wanted.clone()));

    let refused = appliance
        .command_trusting("another.pem")
        .arg("check")
        .output();
    let refused = refused.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let place = format!("https://localhost:{}", address.port());
    assert!(
        said.contains(&place)
            && said.contains("invalid peer certificate: UnknownIssuer")
            && said.contains("into control.ca"),
        "{said}"
    );

    let mut once = appliance.command_trusting("ours.pem");
    let output = once.args(["once", "--now"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(appliance.published(), paths(&wanted));
    let bytes: u64 = wanted.iter().map(|wanted| wanted.size).sum();
    assert_eq!(endpoint.sent_bytes(), bytes);
}

#[test]
fn a_client_certificate_is_shown_once_it_is_there_and_renewed_without_a_restart() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let address = front(endpoint.address, &ours.issue("localhost"), Some(&ours));
    let folder = appliance.path("");
    fs::write(appliance.path("ours.pem"), ours.pem()).unwrap();
    let files = other.issue(APPLIANCE).write(&folder, "client");
    let lines = format!(
        "ca = {:?}\nclient = {{ cert = {:?}, key = {:?} }}\n",
        appliance.path("ours.pem"),
        files.cert,
        files.key
    );
    point(&appliance, &endpoint, address, &lines);
    let wanted = objects(&endpoint, 0..3);
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    // The connection may be closed before the alert is read: the next try tells.
    agent.until("it is refused, and why is said", |status| {
        let problem = &status.control.problem;
        problem.contains("cannot be asked over TLS") && problem.contains("see control.client")
    });
    let sample = "oca_fill_tls_failures_total{asked=\"control\",reason=\"tls_client_refused\"}";
    eventually("it is counted", || {
        (agent.metric(sample) >= 1.0).then_some(())
    });

    ours.issue(APPLIANCE).write(&folder, "client");
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(appliance.published(), paths(&wanted));
}

#[test]
fn check_names_the_file_that_is_no_good() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let ours = Authority::new("ours");
    let address = front(endpoint.address, &ours.issue("localhost"), None);
    let (ca, folder) = (appliance.path("ours.pem"), appliance.path(""));
    fs::write(&ca, ours.pem()).unwrap();
    let over = ours.issue_with(APPLIANCE, |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    });
    let files = over.write(&folder, "client");
    let lines = |ca: &str| {
        let (cert, key) = (&files.cert, &files.key);
        format!("ca = {ca:?}\nclient = {{ cert = {cert:?}, key = {key:?} }}\n")
    };
    for (ca, said) in [
        (ca.clone(), "client.pem: certificate 1 in it has expired"),
        (
            files.key.clone(),
            "client.key: has a private key and no certificate",
        ),
    ] {
        point(&appliance, &endpoint, address, &lines(ca.to_str().unwrap()));
        let output = appliance.check();
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains(said), "{errors}");
    }
}
