//! Who holds what a path leads to, remembered for some seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use protocol::root::Root;
use steering::decide::fleet::MemberId;

use super::Steering;
use crate::database::Database;
use crate::limits::{HOLDERS_COUNT, HOLDERS_REMEMBERED};

/// What a path leads to.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) root: Root,
    /// In order.
    pub(super) holders: Vec<MemberId>,
}

type Answer = Option<Arc<Found>>;

#[derive(Default)]
pub(super) struct Holders(Mutex<HashMap<String, (Instant, Answer)>>);

impl Holders {
    fn remembered(&self, path: &str) -> Option<Answer> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, answer) = known.get(path)?;
        (at.elapsed() < HOLDERS_COUNT).then(|| answer.clone())
    }

    fn remember(&self, path: &str, answer: &Answer) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= HOLDERS_REMEMBERED {
            known.retain(|_, (at, _)| at.elapsed() < HOLDERS_COUNT);
        }
        if known.len() < HOLDERS_REMEMBERED {
            known.insert(path.to_owned(), (Instant::now(), answer.clone()));
        }
    }
}

impl Steering {
    /// What `path` leads to; `None`: nothing is published there. At most [`HOLDERS_COUNT`] old.
    ///
    /// # Errors
    /// Of the database.
    pub(crate) async fn find(&self, database: &Database, path: &str) -> Result<Answer> {
        if let Some(answer) = self.holders.remembered(path) {
            return Ok(answer);
        }
        let answer = database.held_at(path).await?.map(|held| {
            let fleet = self.fleet();
            let holders = held.holders.iter().filter_map(|id| fleet.find(id));
            let mut holders: Vec<MemberId> = holders.collect();
            holders.sort_unstable();
            Arc::new(Found {
                root: held.root,
                holders,
            })
        });
        self.holders.remember(path, &answer);
        Ok(answer)
    }
}
