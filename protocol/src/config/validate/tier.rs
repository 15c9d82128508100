//! `[[tier]]`: units, widths, devices.

use std::collections::HashMap;
use std::path::PathBuf;

use super::{Findings, absolute};
use crate::config::file::WrittenTier;
use crate::config::{Tier, TierRole};
use crate::limits::{
    CHECK_BLOCK_BYTES, DEVICES_MAX, GROUP_BYTES, READ_UNIT_MAX_BYTES, SPEED_MAX,
    STRIPE_UNIT_MAX_BYTES, STRIPE_WIDTH_MAX,
};
use crate::units::ByteSize;

pub(super) fn resolve(written: Vec<WrittenTier>, findings: &mut Findings<'_, '_>) -> Vec<Tier> {
    if written.is_empty() {
        findings.add(
            "tier",
            "there is no [[tier]]; allowed: one or more, each with devices",
        );
    }
    let tiers: Vec<Tier> = written.into_iter().map(with_defaults).collect();
    for (index, tier) in tiers.iter().enumerate() {
        let path = format!("tier.{index}");
        name(tier, &tiers[..index], &path, findings);
        units(tier, &path, findings);
        width(tier, &path, findings);
        speeds(tier, &path, findings);
    }
    devices(&tiers, findings);
    tiers
}

fn with_defaults(written: WrittenTier) -> Tier {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    let (read_unit, stripe_unit, stripe_width) = match written.role {
        TierRole::Hot => (
            256 * KIB,
            MIB,
            if written.devices.len() == 1 { 1 } else { 2 },
        ),
        TierRole::Capacity => (4 * MIB, 8 * MIB, 1),
    };
    Tier {
        name: written.name,
        role: written.role,
        read_unit: written.read_unit.unwrap_or(ByteSize::from_bytes(read_unit)),
        stripe_unit: written
            .stripe_unit
            .unwrap_or(ByteSize::from_bytes(stripe_unit)),
        stripe_width: written.stripe_width.unwrap_or(stripe_width),
        devices: written.devices,
        speeds: written.speeds,
        shared_fs: written.shared_fs,
    }
}

fn name(tier: &Tier, before: &[Tier], path: &str, findings: &mut Findings<'_, '_>) {
    let path = format!("{path}.name");
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if tier.name.is_empty() || tier.name.len() > 32 || !tier.name.chars().all(allowed) {
        findings.add(
            &path,
            format!(
                "\"{}\" is not a name; allowed: 1 to 32 of a-z, 0-9 and \"-\"",
                tier.name
            ),
        );
    }
    if before.iter().any(|other| other.name == tier.name) {
        findings.add(
            &path,
            format!(
                "\"{}\" is the name of another tier; allowed: each name once",
                tier.name
            ),
        );
    }
}

fn units(tier: &Tier, path: &str, findings: &mut Findings<'_, '_>) {
    let (read, stripe) = (tier.read_unit.bytes(), tier.stripe_unit.bytes());
    let read_fits =
        read != 0 && read.is_multiple_of(CHECK_BLOCK_BYTES) && read <= READ_UNIT_MAX_BYTES;
    if !read_fits {
        findings.add(
            &format!("{path}.read_unit"),
            format!(
                "is {}; allowed: a multiple of {}, at most {}",
                tier.read_unit,
                ByteSize::from_bytes(CHECK_BLOCK_BYTES),
                ByteSize::from_bytes(READ_UNIT_MAX_BYTES)
            ),
        );
    }
    let stripe_fits =
        stripe != 0 && stripe.is_multiple_of(GROUP_BYTES) && stripe <= STRIPE_UNIT_MAX_BYTES;
    if !stripe_fits {
        findings.add(
            &format!("{path}.stripe_unit"),
            format!(
                "is {}; allowed: a multiple of {}, at most {}",
                tier.stripe_unit,
                ByteSize::from_bytes(GROUP_BYTES),
                ByteSize::from_bytes(STRIPE_UNIT_MAX_BYTES)
            ),
        );
    }
    if read_fits && stripe_fits && !stripe.is_multiple_of(read) {
        findings.add(
            &format!("{path}.stripe_unit"),
            format!(
                "is {}; allowed: a multiple of read_unit, which is {}",
                tier.stripe_unit, tier.read_unit
            ),
        );
    }
}

fn width(tier: &Tier, path: &str, findings: &mut Findings<'_, '_>) {
    let devices = tier.devices.len();
    if devices == 0 {
        findings.add(
            &format!("{path}.devices"),
            "is empty; allowed: one or more folders",
        );
        return;
    }
    let widest = devices.min(usize::from(STRIPE_WIDTH_MAX));
    if tier.stripe_width == 0 || usize::from(tier.stripe_width) > widest {
        findings.add(
            &format!("{path}.stripe_width"),
            format!(
                "is {} with {devices} {}; allowed: 1 to the number of devices, at most {STRIPE_WIDTH_MAX}",
                tier.stripe_width,
                if devices == 1 { "device" } else { "devices" }
            ),
        );
    }
}

fn speeds(tier: &Tier, path: &str, findings: &mut Findings<'_, '_>) {
    let path = format!("{path}.speeds");
    let (speeds, devices) = (tier.speeds.len(), tier.devices.len());
    if speeds != 0 && speeds != devices {
        findings.add(
            &path,
            format!("has {speeds} for {devices} devices; allowed: one for each, or none"),
        );
    }
    if let Some(speed) = tier
        .speeds
        .iter()
        .find(|speed| !(1..=SPEED_MAX).contains(*speed))
    {
        findings.add(&path, format!("{speed} is none; allowed: 1 to {SPEED_MAX}"));
    }
}

/// Every folder once, and none inside another: one file would be found under two devices.
fn devices(tiers: &[Tier], findings: &mut Findings<'_, '_>) {
    let mut seen: HashMap<PathBuf, String> = HashMap::new();
    for (tier_index, tier) in tiers.iter().enumerate() {
        for (index, device) in tier.devices.iter().enumerate() {
            let path = format!("tier.{tier_index}.devices.{index}");
            absolute(device, &path, findings);
            // Components, so that "/a/b/" and "/a//b" are "/a/b".
            let folder: PathBuf = device.components().collect();
            let clash = seen
                .iter()
                .find(|(other, _)| folder.starts_with(other) || other.starts_with(&folder));
            if let Some((other, first)) = clash {
                let (shown, line) = (device.display(), findings.line_of(first));
                let message = if *other == folder {
                    format!("\"{shown}\" is already in line {line}; allowed: each device once")
                } else {
                    let other = other.display();
                    format!(
                        "\"{shown}\" and \"{other}\" in line {line} lie one inside the other; allowed: separate folders"
                    )
                };
                findings.add(&path, message);
            }
            seen.entry(folder).or_insert(path);
        }
    }
    if seen.len() > DEVICES_MAX {
        findings.add(
            "tier",
            format!(
                "there are {} devices; allowed: at most {DEVICES_MAX}",
                seen.len()
            ),
        );
    }
}
