//! Columns that are bad: reported by the daemon, or found by the scrub; marked in the catalog, then planned to be repaired.

use content_store::{BadColumn, Generation, ObjectId};
use protocol::fill::{DamagedColumn, Response, Scrub as Document};
use protocol::operator::Fault;
use tokio::sync::oneshot;

use super::Agent;
use super::follow::Event;
use crate::limits::SUSPECTS_WAITING;
use crate::operator::refused;
use crate::publish::NotDone;
use crate::scrub::News;

impl Agent {
    /// What the daemon could not use. It is answered once the catalog knows of what is certain; the rest is looked at.
    pub(super) fn daemon_reports(
        &mut self,
        columns: Vec<DamagedColumn>,
        reply: oneshot::Sender<Response>,
    ) {
        let (certain, suspects): (Vec<_>, Vec<_>) =
            columns.into_iter().partition(|column| column.certain);
        if let Some(scrub) = &self.scrub {
            scrub.suspect(suspects.iter().filter_map(bad_column));
        }
        let certain: Vec<BadColumn> = certain.iter().filter_map(bad_column).collect();
        if certain.is_empty() {
            let _ = reply.send(Response::Noted);
            return;
        }
        for column in &certain {
            tracing::warn!(object = %column.object, device = %column.device, "the daemon found a bad column");
        }
        self.quarantine(certain, Some(reply));
    }

    /// What the scrub found.
    pub(super) fn scrub_found(&mut self, News::Bad(column, cause): News) {
        tracing::error!(object = %column.object, device = %column.device, "the scrub found a bad column: {cause}");
        self.unmarked.push(column);
        self.mark();
    }

    /// Marks what was found and is not marked yet, beside the loop: once at a time, and again after a failure.
    pub(super) fn mark(&mut self) {
        if self.unmarked.is_empty() || self.following.is_marking {
            return;
        }
        self.following.is_marking = true;
        let columns = self.unmarked.clone();
        self.quarantine(columns, None);
    }

    fn quarantine(&mut self, columns: Vec<BadColumn>, reply: Option<oneshot::Sender<Response>>) {
        self.following.store_used = true;
        let (publisher, daemon) = (self.publisher.clone(), self.daemon.clone());
        let events = self.events.clone();
        tokio::spawn(async move {
            let marked = publisher.quarantine(columns.clone()).await;
            if matches!(marked, Ok(Some(_))) {
                // It looks by itself as well, a little later.
                let _ = daemon.reload().await;
            }
            if let Some(reply) = reply {
                let response = match &marked {
                    Ok(_) => Response::Noted,
                    Err(not_done) => refused(Fault::State, not_done.to_string()),
                };
                let _ = reply.send(response);
            }
            let _ = events.send(Event::Marked(columns, marked)).await;
        });
    }

    /// The catalog knows of them, or not yet.
    pub(super) fn marked(
        &mut self,
        columns: &[BadColumn],
        marked: Result<Option<Generation>, NotDone>,
    ) {
        self.following.is_marking = false;
        match marked {
            Ok(None) => self.unmarked.retain(|column| !columns.contains(column)),
            Ok(Some(_)) => {
                self.unmarked.retain(|column| !columns.contains(column));
                self.following.replan();
            }
            Err(not_done) => {
                tracing::warn!("bad columns are not marked yet: {not_done}");
                self.unmarked.truncate(SUSPECTS_WAITING);
            }
        }
    }

    /// How far the scrub is.
    pub(super) fn scrub_document(&self) -> Response {
        let now = self.clock.seconds();
        let pause = self.book.intent.scrub_pause.clone();
        let Some(scrub) = &self.scrub else {
            return refused(
                Fault::State,
                "this agent works once, and reads nothing back: start it with `run`",
            );
        };
        Response::Scrub(Box::new(Document {
            as_of: now,
            rate: self.config.scrub.rate.bits_per_second(),
            every: self.config.scrub.every.duration().as_secs(),
            devices: scrub.devices(pause.as_ref(), now),
            pause,
        }))
    }
}

fn bad_column(column: &DamagedColumn) -> Option<BadColumn> {
    Some(BadColumn {
        object: ObjectId(column.object.0),
        device: column.device.parse().ok()?,
        seen: Generation(column.seen),
    })
}
