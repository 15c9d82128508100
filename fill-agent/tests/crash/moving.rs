//! Objects that change their places on the box are copied there: the real control endpoint sends no byte of them again.

use super::appliance::Appliance;
use super::control::Control;
use super::{MIB, completes_within, eventually};

/// The tier that holds the only copy.
fn tier(appliance: &Appliance, path: &str) -> Option<String> {
    match &appliance.copies(path)[..] {
        [(tier, _)] => Some(tier.clone()),
        _ => None,
    }
}

#[test]
fn a_promotion_and_an_evacuation_fetch_nothing() {
    // There is room for one of them among what is watched most.
    let tiers = ["--tier", "hot=9MB", "--tier", "capacity=1TB"];
    let control = Control::with_tiers(&[8 * MIB, 8 * MIB, 7 * MIB], &tiers);
    control.expect(1, "1TB");
    let mut appliance = Appliance::new(&control);
    appliance.add_capacity_tier(&["d2", "d3"]);
    appliance.run();
    assert!(completes_within(u64::MAX, &control, &appliance));
    let tiers = || ["/0.mp4", "/1.mp4"].map(|path| tier(&appliance, path));
    let are = |zero: &str, one: &str| [Some(zero.to_owned()), Some(one.to_owned())];
    assert_eq!(tiers(), are("disk", "nvme"));
    control.until_idle();
    assert_eq!(control.sent(), control.bytes);

    // The other one stays where it is: the box has room for both.
    control.expect(0, "2TB");
    eventually("it is promoted", || {
        (tiers() == are("nvme", "nvme")).then_some(())
    });
    control.until_idle();
    assert_eq!(control.sent(), control.bytes);

    let is_on = |name: &str| {
        let device = appliance.device(name);
        let copies = appliance.copies("/2.mp4");
        copies.iter().any(|(_, devices)| devices.contains(&device))
    };
    let (from, to) = match is_on("d2") {
        true => ("d2", "d3"),
        false => ("d3", "d2"),
    };
    assert!(is_on(from) && !is_on(to));
    appliance.evacuate(from);
    eventually("it is evacuated", || {
        (is_on(to) && !is_on(from)).then_some(())
    });
    control.until_idle();
    assert_eq!(control.sent(), control.bytes);
    appliance.check();
}
