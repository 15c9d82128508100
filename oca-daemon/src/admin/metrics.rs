//! `/metrics`: an [`Observation`] and the present [`Standing`] in, the text that Prometheus reads out.
//!
//! Names begin with `oca_` (those of the process itself with `process_`, as everywhere), units are seconds and bytes, label
//! values come from closed sets: worker numbers, devices and tiers of the configuration, and enums. No label ever comes from
//! a request.

mod bgp;
mod certificates;
mod devices;
mod interfaces;
mod page;
mod process;
mod report;
mod secure;
mod serving;
mod standing;
mod store;
mod workers;

use super::observation::Observation;
use crate::control::Standing;
use page::Page;

/// The content type of `page`'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole page.
///
/// # Errors
/// Never with the names and labels of this module; the encoder checks them.
pub fn text(observed: &Observation, standing: &Standing) -> prometheus::Result<String> {
    let mut page = Page::default();
    serving::add(&mut page, observed);
    secure::add(&mut page, observed);
    workers::add(&mut page, observed);
    devices::add(&mut page, observed);
    store::add(&mut page, observed, standing);
    interfaces::add(&mut page, observed);
    standing::add(&mut page, observed, standing);
    certificates::add(&mut page, observed);
    report::add(&mut page, observed);
    bgp::add(&mut page, observed);
    process::add(&mut page, observed);
    page.text()
}
