//! The devices as they are between two plans, for those who ask how they are. Nothing is planned by it.

use std::sync::Arc;
use std::time::Instant;

use content_store::StoreError;

use super::Agent;
use super::follow::Event;
use crate::limits::LOOK_EVERY;
use crate::survey::{self, FoundDevice};

impl Agent {
    /// Begins if it is due, beside the loop.
    pub(super) fn look(&mut self) {
        let following = &mut self.following;
        if following.is_looking || following.look_at > Instant::now() {
            return;
        }
        following.is_looking = true;
        following.look_at = Instant::now() + LOOK_EVERY;
        let (config, events) = (Arc::clone(&self.config), self.events.clone());
        tokio::task::spawn_blocking(move || {
            let _ = events.blocking_send(Event::Looked(survey::devices(&config)));
        });
    }

    /// While what is wanted of them cannot be read, which the plan says, they are shown as they were.
    pub(super) fn looked(&mut self, devices: Result<Vec<FoundDevice>, StoreError>) {
        self.following.is_looking = false;
        if let Ok(devices) = devices {
            self.following.looked = devices;
        }
    }
}
