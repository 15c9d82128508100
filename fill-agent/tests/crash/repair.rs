//! The agent is killed in the midst of repairs: what was written of a column and verified is not fetched again, and in the end every column
//! is right.

use std::fs;
use std::path::PathBuf;

use content_store::DeviceId;
use content_store::ObjectId;
use content_store::limits::GROUP_BYTES;
use content_store::staging::journal::Journal;
use protocol::fill::{DamagedColumn, Request};
use protocol::root::Root;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::appliance::Appliance;
use super::control::Control;
use super::{IN_FLIGHT, MIB, SIZES, asked_for, completes_within, eventually};

/// A column of which every byte is wrong on the disk.
pub(crate) struct Wrong {
    pub(crate) object: ObjectId,
    pub(crate) device: DeviceId,
    pub(crate) generation: u64,
    pub(crate) place: PathBuf,
    pub(crate) staging: PathBuf,
    /// What was there before.
    pub(crate) good: Vec<u8>,
}

impl Wrong {
    /// Bytes of it that need not be fetched: all if it is in its place, else those that the journal tells of, which are looked at.
    fn here(&self) -> u64 {
        if fs::read(&self.place).is_ok_and(|bytes| bytes == self.good) {
            return self.good.len() as u64;
        }
        let staged = |end| self.staging.join(format!("{}.repair.{end}", self.object));
        let journal = fs::read(staged("journal")).ok();
        let Some(journal) = journal.and_then(|bytes| Journal::decode(&bytes).ok()) else {
            return 0;
        };
        let bytes = (journal.written * GROUP_BYTES).min(journal.head.column_length());
        let written = fs::read(staged("col")).unwrap();
        let (written, good) = (&written[..bytes as usize], &self.good[..bytes as usize]);
        assert!(
            written == good,
            "{} is not what is noted of it",
            self.object
        );
        bytes
    }

    fn reported(&self) -> DamagedColumn {
        DamagedColumn {
            object: Root(self.object.0),
            device: self.device.to_string(),
            seen: self.generation,
            certain: true,
        }
    }
}

/// Whether all is repaired before so many bytes were sent.
fn repairs_within(bytes: u64, control: &Control, appliance: &Appliance) -> bool {
    let begun = control.sent();
    eventually("bytes, or the end", || {
        if appliance.bad_columns() == 0 {
            return Some(true);
        }
        (control.sent() - begun >= bytes).then_some(false)
    })
}

/// What the kills came to.
#[derive(Default)]
struct Killed {
    kills: u64,
    /// Of them, when something was repaired and not all.
    midway: u64,
    in_vain: u64,
}

impl Killed {
    /// Spoils all columns of a device, and kills the agent at most so many times while it repairs them.
    fn while_it_repairs(
        &mut self,
        control: &Control,
        appliance: &mut Appliance,
        chance: &mut SmallRng,
        kills: u64,
    ) {
        let wrong = appliance.spoil("d1");
        let all: u64 = wrong.iter().map(|wrong| wrong.good.len() as u64).sum();
        let (mut sent, mut here) = (control.sent(), 0);
        appliance.run();
        let columns = wrong.iter().map(Wrong::reported).collect();
        appliance.tell(&Request::Damaged { columns });
        assert!(appliance.bad_columns() > 0);
        loop {
            let moment = chance.random_range(0..all / 2);
            let moment = if self.kills < kills { moment } else { u64::MAX };
            let is_over = repairs_within(moment, control, appliance);
            appliance.kill();
            control.until_idle();
            let now: u64 = wrong.iter().map(Wrong::here).sum();
            assert!(now >= here, "{now} of {here} repaired bytes are left");
            let in_vain = (control.sent() - sent).saturating_sub(now - here);
            assert!(in_vain <= IN_FLIGHT, "{in_vain} bytes were sent in vain");
            (sent, here) = (control.sent(), now);
            self.in_vain += in_vain;
            if is_over {
                break;
            }
            self.kills += 1;
            self.midway += u64::from(0 < now && now < all);
            appliance.run();
        }
        assert_eq!(here, all);
        appliance.check();
    }
}

/// `OCA_KILLS=50 OCA_SEED=7` for more, or for the same again.
#[test]
fn killed_in_the_midst_of_a_repair_it_goes_on_and_fetches_no_group_twice() {
    let (kills, mut chance) = asked_for(6);
    let control = Control::new(&SIZES);
    let mut appliance = Appliance::new(&control);
    appliance.run();
    assert!(completes_within(u64::MAX, &control, &appliance));
    appliance.kill();
    let mut killed = Killed::default();
    while killed.kills < kills {
        killed.while_it_repairs(&control, &mut appliance, &mut chance, kills);
    }
    assert!(killed.midway > 0, "none came in the midst of a repair");
    appliance.run();
    eventually("nothing lies about", || {
        appliance.has_nothing_staged().then_some(())
    });
    eprintln!(
        "{kills} kills, {} in the midst of repairs: {} MiB sent in vain, of {} MiB allowed",
        killed.midway,
        killed.in_vain / MIB as u64,
        kills * IN_FLIGHT / MIB as u64,
    );
}
