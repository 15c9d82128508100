//! Hysteresis, told as what is seen and what is shown.

use proptest::prelude::*;
use steering::UnixTime;
use steering::health::{Component, Health, Sample, Scope, Severity, Thresholds};

fn sample(component: Component, subject: &str, severity: Severity) -> Sample {
    Sample {
        component,
        subject: subject.into(),
        severity,
        detail: format!("{subject} is {severity:?}"),
    }
}

fn severity(letter: char) -> Severity {
    match letter {
        '.' => Severity::Ok,
        'g' => Severity::Degraded,
        'D' => Severity::Down,
        other => panic!("{other}"),
    }
}

/// `.` ok, `g` degraded, `D` down: what is seen of a device, second by second, and what is shown.
#[test]
fn three_in_a_row_change_it() {
    let table = [
        ("....", "...."),
        ("..gg.gg.ggg", "..........g"),
        (".DDD", "...D"),
        ("g", "g"),
        ("D..DDD", "DDDDDD"),
        ("D......", "DDD...."),
        // Worse and worse: three samples agree that it is at least degraded, three more that it is down.
        (".gDDDDD", "...gggD"),
        (".DgDDDDD", "...gggDD"),
        // Better and better, the same way.
        ("D.g....", "DDDggg."),
        // From degraded, a good and a bad sample undo each other.
        ("g.D.D.DD", "gggggggg"),
    ];
    for (seen, expected) in table {
        let mut health = Health::new(Thresholds::default());
        let shown: String = seen
            .chars()
            .enumerate()
            .map(|(second, letter)| {
                let samples = [sample(Component::Device, "nvme0", severity(letter))];
                health.observe(UnixTime::from_seconds(second as u64), &samples);
                match health.worst_local() {
                    Severity::Ok => '.',
                    Severity::Degraded => 'g',
                    Severity::Down => 'D',
                }
            })
            .collect();
        assert_eq!(shown, expected, "seen {seen}");
    }
}

#[test]
fn shared_causes_are_shown_and_do_not_steer() {
    let mut health = Health::new(Thresholds { rise: 1, fall: 1 });
    let samples = [
        sample(Component::Control, "", Severity::Down),
        sample(Component::Agent, "", Severity::Degraded),
        sample(Component::Device, "hdd1", Severity::Degraded),
        sample(Component::Device, "hdd0", Severity::Degraded),
        sample(Component::Worker, "0", Severity::Ok),
    ];
    health.observe(UnixTime::from_seconds(7), &samples);
    assert_eq!(health.worst_local(), Severity::Degraded);
    let causes = health.causes();
    let listed: Vec<(Scope, &str)> = causes
        .iter()
        .map(|cause| (cause.scope, cause.subject.as_str()))
        .collect();
    assert_eq!(
        listed,
        [
            (Scope::Local, "hdd0"),
            (Scope::Local, "hdd1"),
            (Scope::Shared, ""),
            (Scope::Shared, "")
        ]
    );
    assert_eq!(causes[2].component, Component::Control);
    assert_eq!(causes[0].since, UnixTime::from_seconds(7));
}

#[test]
fn a_subject_that_is_gone_is_forgotten() {
    let mut health = Health::new(Thresholds::default());
    health.observe(
        UnixTime::from_seconds(0),
        &[sample(Component::Device, "old", Severity::Down)],
    );
    health.observe(
        UnixTime::from_seconds(1),
        &[sample(Component::Device, "new", Severity::Ok)],
    );
    assert_eq!(health.worst_local(), Severity::Ok);
    assert!(health.causes().is_empty());
}

#[test]
fn the_detail_is_of_the_newest_sample_that_was_as_bad() {
    let mut health = Health::new(Thresholds::default());
    let mut observe = |detail: &str, severity| {
        let sample = Sample {
            detail: detail.into(),
            ..sample(Component::Device, "hdd0", severity)
        };
        health.observe(UnixTime::from_seconds(1), &[sample]);
        health.causes().first().map(|cause| cause.detail.clone())
    };
    assert_eq!(observe("EIO", Severity::Degraded).as_deref(), Some("EIO"));
    assert_eq!(
        observe("stalled", Severity::Degraded).as_deref(),
        Some("stalled")
    );
    assert_eq!(observe("", Severity::Ok).as_deref(), Some("stalled"));
}

proptest! {
    /// What is shown never lies outside what was seen in the last samples that it takes to change it.
    #[test]
    fn what_is_shown_was_seen(seen in proptest::collection::vec(0..3_u8, 1..40), rise in 1..5_u32, fall in 1..5_u32) {
        let mut health = Health::new(Thresholds { rise, fall });
        let levels = [Severity::Ok, Severity::Degraded, Severity::Down];
        let mut shown = Vec::new();
        for (second, level) in seen.iter().enumerate() {
            let samples = [sample(Component::Device, "x", levels[usize::from(*level)])];
            health.observe(UnixTime::from_seconds(second as u64), &samples);
            shown.push(health.worst_local() as u8);
            if second > 0 && shown[second] != shown[second - 1] {
                let needed = if shown[second] > shown[second - 1] { fall } else { rise } as usize;
                prop_assert!(second + 1 > needed);
                let last = &seen[second + 1 - needed..=second];
                if shown[second] > shown[second - 1] {
                    prop_assert_eq!(last.iter().min(), Some(&shown[second]));
                } else {
                    prop_assert_eq!(last.iter().max(), Some(&shown[second]));
                }
            }
        }
    }
}
