//! The interfaces that carry what viewers are sent: which they are, what they can carry, and what is wrong with them. Read every
//! second by a thread of its own, since drivers may keep whoever asks waiting.
//!
//! Which they are: those that `steering.interfaces` names; else those that hold the service addresses (of a VLAN, what it lies on).
//! A service address may lie on loopback, and routes lead to it: then all with hardware behind them that have, or had, a link. Without
//! service addresses there are none: nobody is sent here.
//!
//! `platform::interface` -> [`Watch`] -> [`Interfaces`], which health, capacity, `/status` and `/metrics` read.

mod wrong;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use platform::interface::{Interface, interfaces};
use protocol::config;

use crate::limits::INTERFACE_TICK;
use crate::shared::Shared;
use crate::wear;
use wrong::Memory;

/// What was last seen of those that serve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// In the order of their names.
    pub serving: Vec<Serving>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// As it is now; without a link if it is gone.
    pub now: Interface,
    /// What is wrong with it, if anything is.
    pub wrong: Option<String>,
}

impl Interfaces {
    /// Bits per second of all links that are up; `None` if one of them does not say.
    #[must_use]
    pub fn speed(&self) -> Option<u64> {
        if self.serving.is_empty() {
            return None;
        }
        let up = self.serving.iter().filter(|it| it.now.has_link);
        up.map(|it| it.now.speed).sum()
    }
}

/// Looks at them until the daemon stops; and at what the disks say of their wear.
pub fn follow(shared: &Arc<Shared>) {
    let mut watch = Watch::default();
    let mut wear = wear::Watch::default();
    let mut problem = None;
    while !shared.is_stopping() {
        match interfaces() {
            Ok(found) => {
                let steering = &shared.config.load().steering;
                let seen = watch.look(Instant::now(), steering, found);
                shared.interfaces.store(Arc::new(seen));
                problem = None;
            }
            Err(error) => {
                let said = error.to_string();
                if problem.as_ref() != Some(&said) {
                    tracing::warn!("interfaces cannot be read: {said}");
                }
                problem = Some(said);
            }
        }
        wear.look_if_due(shared, SystemTime::now().into());
        std::thread::park_timeout(INTERFACE_TICK);
    }
}

/// What must be remembered from look to look. Pure.
#[derive(Debug, Default)]
pub struct Watch {
    asked: config::Steering,
    /// Of those that serve, or did.
    memory: BTreeMap<String, Memory>,
}

impl Watch {
    /// Takes one look at all interfaces of the system.
    pub fn look(
        &mut self,
        now: Instant,
        steering: &config::Steering,
        found: Vec<Interface>,
    ) -> Interfaces {
        if self.asked != *steering {
            self.asked = steering.clone();
            self.memory.clear();
        }
        let names = self.serving(&found);
        let gone = |name: &str| Interface {
            name: name.to_owned(),
            ..Interface::default()
        };
        let serving = names.into_iter().map(|name| {
            let seen = found.iter().find(|it| it.name == name);
            let memory = self.memory.entry(name.clone()).or_default();
            Serving {
                wrong: memory.judge(now, seen),
                now: seen.cloned().unwrap_or_else(|| gone(&name)),
            }
        });
        Interfaces {
            serving: serving.collect(),
        }
    }

    fn serving(&self, found: &[Interface]) -> BTreeSet<String> {
        let steering = &self.asked;
        if !steering.interfaces.is_empty() {
            return steering.interfaces.iter().cloned().collect();
        }
        let wanted = &steering.service_addresses;
        if wanted.is_empty() {
            return BTreeSet::new();
        }
        let is_remembered = |it: &&Interface| self.memory.contains_key(base(it, found));
        let holders: Vec<&Interface> = found
            .iter()
            .filter(|it| it.addresses.iter().any(|own| wanted.contains(own)))
            .filter(|it| can_carry(it) || is_remembered(it))
            .collect();
        let mut names: BTreeSet<String> = holders
            .iter()
            .map(|it| base(it, found).to_owned())
            .collect();
        let held = |address| holders.iter().any(|it| it.addresses.contains(address));
        if !wanted.iter().all(held) {
            let real = found.iter().filter(|it| is_way_out(it, found));
            let linked = real.filter(|it| it.has_link || is_remembered(it));
            names.extend(linked.map(|it| it.name.clone()));
        }
        // What is not there at all any more was unplugged.
        let here = |name: &&String| found.iter().any(|it| it.name == **name);
        names.extend(self.memory.keys().filter(|name| !here(name)).cloned());
        names
    }
}

/// Whether packets leave the box through it: not loopback, nor an interface that only holds addresses.
fn can_carry(it: &Interface) -> bool {
    it.is_hardware || it.speed.is_some() || !it.below.is_empty()
}

/// Hardware, or several of them as one; not a part of such a one.
fn is_way_out(it: &Interface, found: &[Interface]) -> bool {
    let is_part = |of: &Interface| of.members.iter().any(|member| member.name == it.name);
    (it.is_hardware || !it.members.is_empty()) && !found.iter().any(is_part)
}

/// What it lies on at last, where that is one thing. A bond is what it is.
fn base<'a>(it: &'a Interface, found: &'a [Interface]) -> &'a str {
    let mut at = it;
    // No chain is longer than all there are.
    for _ in found {
        let below = match (&at.members[..], &at.below[..]) {
            ([], [only]) => found.iter().find(|it| it.name == *only),
            _ => None,
        };
        match below {
            Some(below) => at = below,
            None => break,
        }
    }
    &at.name
}

#[cfg(test)]
mod tests;
