//! Certificates that end.

use steering::UnixTime;
use steering::health::{Component, Sample, Severity};

use super::{Observation, sample, words};
use crate::limits::{CERTIFICATE_ENDS, CERTIFICATE_ENDS_SOON};
use crate::tls::Pair;

/// Of each certificate, of all together, and of the last reload.
///
/// One that has ended is no reason to take the box out of service while viewers in clear, or with other certificates, are served:
/// it is `degraded`. Where no viewer at all can be served, the box is `down`, and viewers go elsewhere.
pub(super) fn samples(observed: &Observation) -> Vec<Sample> {
    let Some(tls) = &observed.tls else {
        return Vec::new();
    };
    let set = tls.certificates.set();
    let one = |pair: &std::sync::Arc<Pair>| certificate(pair, observed.unix);
    let mut samples: Vec<Sample> = set.pairs.iter().map(one).collect();
    let none_is_valid = set
        .pairs
        .iter()
        .all(|pair| pair.out_of_time(observed.unix).is_some());
    let down = none_is_valid && observed.config.listen.http.is_empty();
    samples.push(sample(
        Component::Certificate,
        "",
        down.then_some(Severity::Down),
        || "no certificate is valid, and nobody is served in clear".to_owned(),
    ));
    let problems = &tls.certificates.last_reload().problems;
    samples.push(sample(
        Component::Certificate,
        "reload",
        (!problems.is_empty()).then_some(Severity::Degraded),
        || {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            all.join("; ")
        },
    ));
    samples
}

fn certificate(pair: &Pair, now: UnixTime) -> Sample {
    let (invalid, end) = (pair.out_of_time(now), pair.not_after());
    let left = end.since(now);
    let severity = (invalid.is_some() || left < CERTIFICATE_ENDS).then_some(Severity::Degraded);
    let subject = pair.files.cert.display().to_string();
    sample(Component::Certificate, &subject, severity, || {
        let soon = match left < CERTIFICATE_ENDS_SOON {
            true => "in less than three days",
            false => "in less than two weeks",
        };
        match invalid {
            Some(problem) => problem.fault.to_string(),
            None => format!(
                "ends {soon}, on {}: why was it not renewed?",
                words::date(end)
            ),
        }
    })
}
