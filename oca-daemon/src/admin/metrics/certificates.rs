//! What viewers are shown over TLS. Certificates go by their files in the configuration: names come and go with their content.

use super::page::{Page, holds, measured};
use crate::admin::observation::Observation;

pub(super) fn add(page: &mut Page, observed: &Observation) {
    let Some(tls) = &observed.tls else {
        return;
    };
    let certificates = &tls.certificates;
    page.gauges(
        "oca_tls_cert_not_after_seconds",
        "When the first part of a certificate's chain ends, in seconds since 1970.",
        certificates.set().pairs.iter().map(|pair| {
            let file = pair.files.cert.display().to_string();
            measured(&[("certificate", &file)], pair.not_after().seconds() as f64)
        }),
    );
    page.counter(
        "oca_tls_reload_failures_total",
        "Changed files of certificates that could not be used; what was loaded before is shown on.",
        certificates.failures(),
    );
    page.gauge(
        "oca_tls_reload_success",
        "1 if what is shown is what the files of certificates held when they last changed.",
        holds(certificates.last_reload().problems.is_empty()),
    );
}
