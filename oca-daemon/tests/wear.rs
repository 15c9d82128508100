//! What disks say of their wear, in the files that a program beside the daemon makes: an early cause, and nobody is sent away.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::time::SystemTime;

use platform::disk::disks_below;
use protocol::status::{State, Status};
use support::{Plan, Site, eventually};

/// What smartctl prints of an NVMe disk, in short.
fn document(disk: &str, used: u32) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    format!(
        "{{\"device\": {{\"name\": \"/dev/{disk}\"}}, \"model_name\": \"MODEL\", \"local_time\": {{\"time_t\": {now}}}, \
         \"smart_status\": {{\"passed\": true}}, \"nvme_smart_health_information_log\": {{\"critical_warning\": 0, \
         \"percentage_used\": {used}, \"media_errors\": 0}}}}"
    )
}

#[test]
fn a_worn_disk_is_a_cause_long_before_it_fails() {
    let site = Site::new(&Plan {
        devices: 1,
        stripe_width: 1,
        ..Plan::default()
    });
    // The disk that this test's devices really lie on; in memory there is none, and the file stands for another disk.
    let below = disks_below(&site.device(0)).expect("the kernel's tables");
    let disk = below.first().map_or("nvme9n1", String::as_str);
    let folder = site.path("run-smart");
    fs::create_dir(&folder).expect("a new folder");
    fs::write(folder.join("one.json"), document(disk, 93)).expect("written");
    fs::write(folder.join("other.json"), document("nvme8", 12)).expect("written");
    let daemon = site.start();
    let status: Status = eventually("it is told", || {
        Some(daemon.status()).filter(|it| it.state == State::Degraded)
    });
    let cause = &status.causes[0];
    assert_eq!(
        (cause.component.as_str(), cause.subject.as_str()),
        ("wear", disk)
    );
    assert!(
        cause
            .detail
            .starts_with("93 % of its rated endurance is used"),
        "{cause:?}"
    );
    assert_eq!(status.causes.len(), 1, "{:?}", status.causes);
    if below.is_empty() {
        return;
    }
    let device = format!("ocactl device evacuate {}", site.device(0).display());
    assert!(cause.detail.contains(&device), "{cause:?}");
    assert_eq!(status.devices[0].wear[0].used_percent, Some(93));
    assert_eq!(status.devices[0].wear.len(), 1);
    assert_eq!(
        daemon.metric("oca_device_endurance_used_ratio", "nvme0"),
        0.93
    );
}
