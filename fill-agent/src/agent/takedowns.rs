//! Takedowns beside the loop: one at a time, after the fetch of what they name was given up.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use protocol::manifest::{Serial, Tombstones};

use super::Agent;
use super::follow::{Event, Following};
use crate::publish::Removed;
use crate::takedown;

impl Agent {
    pub(super) async fn bury(&mut self, list: Tombstones, sealed: Vec<u8>) {
        tracing::info!(serial = %list.serial, tombstones = list.tombstones.len(), "takedowns");
        if let Err(problem) = self.book.bury(list, sealed, self.clock.seconds()).await {
            // They are carried out all the same, and asked for again after a restart.
            tracing::error!("{problem}");
        }
        let fetched = self.following.filling.as_ref();
        let hit = fetched.is_some_and(|filling| {
            let mut stones = self.book.tombstones.iter();
            stones.any(|stone| filling.roots.contains(&stone.root))
        });
        if hit {
            self.following.cancel();
        }
        self.following.takedown_due = true;
        self.following.replan();
    }

    /// Takedowns do not wait for anything but the one before.
    pub(super) fn take_down(&mut self) {
        if !self.following.takedown_due || self.following.is_filling_what_is_taken_down() {
            return;
        }
        self.following.takedown_due = false;
        if let Some(before) = self.following.takedown.take() {
            before.abort();
        }
        if self.book.tombstones.is_empty() && self.book.seen.tombstones.is_none() {
            return;
        }
        self.following.store_used = true;
        let (publisher, daemon) = (self.publisher.clone(), self.daemon.clone());
        let (stones, events) = (Arc::clone(&self.book.tombstones), self.events.clone());
        let serial = self.book.seen.tombstones;
        let task = tokio::spawn(async move {
            let tell = events.clone();
            let removed = takedown::carry_out(&publisher, &daemon, &stones, |problem| {
                let _ = tell.try_send(Event::TakedownWaits(problem));
            })
            .await;
            let _ = events.send(Event::TakenDown(serial, removed)).await;
        });
        self.following.takedown = Some(task.abort_handle());
    }

    /// They are unreachable; unlinking them may wait for readers, and for devices.
    pub(super) fn taken_down(&mut self, serial: Option<Serial>, removed: Removed) {
        self.following.takedown = None;
        self.following.takedown_problem = None;
        self.counters.applied(serial);
        self.counters
            .taken_down_paths
            .fetch_add(removed.paths, Relaxed);
        if removed.paths > 0 {
            tracing::info!(paths = removed.paths, "taken down");
            self.following.replan();
            self.reap();
        }
    }
}

impl Following {
    /// A fetch of what is taken down is given up before the paths are taken away, so that it cannot come after.
    fn is_filling_what_is_taken_down(&self) -> bool {
        let filling = self.filling.as_ref();
        filling.is_some_and(|filling| filling.cancelled.is_cancelled())
    }
}
