//! Certificates that end.

use std::time::Duration;

use steering::UnixTime;
use steering::health::{Component, Sample, Severity};

use super::{Observation, sample, words};
use crate::limits::{CERTIFICATE_ENDS, CERTIFICATE_ENDS_SHARE, CERTIFICATE_ENDS_SOON};
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
    let wrong = match pair.out_of_time(now) {
        Some(problem) => Some(problem.fault.to_string()),
        None => ending(pair.leaf.not_before, pair.not_after(), now),
    };
    let subject = pair.files.cert.display().to_string();
    let severity = wrong.as_ref().map(|_| Severity::Degraded);
    sample(Component::Certificate, &subject, severity, || {
        wrong.unwrap_or_default()
    })
}

/// What is said of a certificate that ends before long: of one that lives shorter than others, later.
fn ending(begin: UnixTime, end: UnixTime, now: UnixTime) -> Option<String> {
    let (left, share) = (end.since(now), end.since(begin) / CERTIFICATE_ENDS_SHARE);
    let is_within = |time: Duration| left < time.min(share);
    let date = || words::date(end);
    if is_within(CERTIFICATE_ENDS_SOON) {
        Some(format!("ends very soon, on {}: renew it", date()))
    } else if is_within(CERTIFICATE_ENDS) {
        Some(format!(
            "ends on {}: it should have been renewed by now",
            date()
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_ends_is_said_early_and_again() {
        let said = |lifetime_days: u64, left_hours: u64| {
            let end = UnixTime::from_seconds(1_790_000_000);
            let before = |hours: u64| UnixTime::from_seconds(end.seconds() - hours * 3600);
            let text = ending(before(lifetime_days * 24), end, before(left_hours));
            text.map_or("", |text| {
                if text.contains("very soon") {
                    "soon"
                } else {
                    "late"
                }
            })
        };
        let table = [
            ((90, 30 * 24), ""),
            ((90, 14 * 24), ""),
            ((90, 14 * 24 - 1), "late"),
            ((90, 3 * 24), "late"),
            ((90, 3 * 24 - 1), "soon"),
            // Renewed every four days.
            ((6, 48), ""),
            ((6, 25), ""),
            ((6, 23), "soon"),
            ((3650, 30 * 24), ""),
        ];
        for ((lifetime, left), expected) in table {
            assert_eq!(
                said(lifetime, left),
                expected,
                "{left} h left of {lifetime} d"
            );
        }
    }
}
