//! When the control endpoint is asked, and what is made of its answers.

use std::time::{Duration, Instant};

use protocol::fill::Contact;
use protocol::manifest::{Manifest, Serial, Tombstones};

use super::follow::Event;
use super::{Agent, jittered, note};
use crate::control::{Answer, ContactError, ControlEndpoint, Document};
use crate::limits::{CONTACT_RETRY_MAX, CONTACTS_OUTSIDE};
use crate::manifest::{Judge, Refusal};
use crate::{retry, takedown, window};

/// A document that was believed.
pub(super) enum Arrived<T> {
    /// Nothing newer.
    Unchanged,
    /// There is none yet.
    None,
    /// It, and as it was signed.
    New(Box<T>, Vec<u8>),
}

/// Why a contact brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Contact(#[from] ContactError),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The two questions that are asked again and again.
pub(super) struct Contacts {
    pub(super) manifest: Question,
    pub(super) tombstones: Question,
    /// The newest manifest that the control endpoint has told of.
    told: Option<Serial>,
    /// For status: of the manifest.
    pub(super) last: Contact,
    was_open: bool,
}

/// When something is asked.
pub(super) struct Question {
    due: Instant,
    is_asked: bool,
    failures: u32,
}

impl Default for Contacts {
    fn default() -> Self {
        Self {
            manifest: Question::now(),
            tombstones: Question::now(),
            told: None,
            last: Contact::default(),
            was_open: false,
        }
    }
}

impl Contacts {
    /// Asks both at once.
    pub(super) fn soon(&mut self) {
        self.manifest.due = Instant::now();
        self.tombstones.due = Instant::now();
    }

    /// Whether the first question for a manifest was answered, with or without success.
    pub(super) fn has_tried(&self) -> bool {
        self.last.tried.is_some()
    }
}

impl Question {
    fn now() -> Self {
        Self {
            due: Instant::now(),
            is_asked: false,
            failures: 0,
        }
    }

    fn is_due(&self) -> bool {
        !self.is_asked && Instant::now() >= self.due
    }

    /// It was answered: asked again after `interval`; sooner, with growing delays, if it failed.
    fn answered(&mut self, worked: bool, interval: Duration) {
        self.is_asked = false;
        self.failures = if worked {
            0
        } else {
            self.failures.saturating_add(1)
        };
        let delay = match self.failures {
            0 => interval,
            failures => retry::backoff(failures.min(16), rand::random())
                .min(CONTACT_RETRY_MAX)
                .min(interval)
                .max(Duration::from_secs(1).min(interval)),
        };
        self.due = Instant::now() + delay;
    }
}

impl Agent {
    /// Asks what is due to be asked.
    pub(super) fn ask_control(&mut self, open: bool) {
        let Some(control) = self.control.clone() else {
            return;
        };
        if open && !self.contacts.was_open && self.contacts.has_tried() {
            // The window has just opened, for all boxes of the site at once.
            let spread = window::spread(&self.config.appliance.id, self.manifest_interval(true));
            let at = Instant::now() + spread;
            self.contacts.manifest.due = self.contacts.manifest.due.min(at);
        }
        self.contacts.was_open = open;
        if self.contacts.manifest.is_due() {
            self.contacts.manifest.is_asked = true;
            let judge = Judge {
                keys: control.keys.clone(),
                appliance: self.config.appliance.id.clone(),
                seen: self.book.seen.manifest,
                now: self.clock.trusted.then(|| self.clock.seconds()),
            };
            let (events, known) = (self.events.clone(), self.book.known());
            let control = control.clone();
            tokio::spawn(async move {
                let arrived = manifest(&control, judge, known).await;
                let _ = events.send(Event::Manifest(arrived)).await;
            });
        }
        if self.contacts.tombstones.is_due() {
            self.contacts.tombstones.is_asked = true;
            let (events, seen) = (self.events.clone(), self.book.seen.tombstones);
            let appliance = self.config.appliance.id.clone();
            tokio::spawn(async move {
                let arrived = tombstones(&control, appliance, seen).await;
                let (arrived, told) = match arrived {
                    Ok((arrived, told)) => (Ok(arrived), told),
                    Err(failed) => (Err(failed), None),
                };
                let _ = events.send(Event::Tombstones(arrived, told)).await;
            });
        }
    }

    fn manifest_interval(&self, open: bool) -> Duration {
        match &self.config.fill {
            Some(fill) if open => fill.manifest_interval.duration(),
            _ => CONTACTS_OUTSIDE * self.takedown_interval(),
        }
    }

    fn takedown_interval(&self) -> Duration {
        let fill = self.config.fill.as_ref();
        fill.map_or(TAKEDOWN_INTERVAL, |fill| fill.takedown_interval.duration())
    }

    /// What came of asking for a manifest.
    pub(super) fn manifest_answered(
        &mut self,
        arrived: Result<Arrived<Manifest>, Failed>,
    ) -> Option<(Box<Manifest>, Vec<u8>)> {
        let problem = match &arrived {
            Ok(Arrived::None) => {
                Some("the control endpoint has built no manifest for this box yet".to_owned())
            }
            Ok(_) => None,
            Err(failed) => Some(failed.to_string()),
        };
        if let Err(failed) = &arrived {
            tracing::warn!("{failed}");
        }
        if let Err(Failed::Refused(refusal)) = &arrived {
            self.counters.refused(refusal.reason());
        }
        self.counters
            .contacted(Document::Manifest, arrived.is_ok(), self.clock.seconds());
        note(&mut self.contacts.last, self.clock.seconds(), problem);
        let mut interval = self.manifest_interval(self.contacts.was_open);
        if matches!(arrived, Err(Failed::Refused(_))) {
            // It comes whole each time.
            interval = interval.max(self.manifest_interval(true));
        }
        // A refused one is no reason to ask more often.
        let worked = !matches!(arrived, Err(Failed::Contact(_)));
        self.contacts.manifest.answered(worked, interval);
        match arrived {
            Ok(Arrived::New(manifest, sealed)) => Some((manifest, sealed)),
            _ => None,
        }
    }

    /// What came of asking for tombstones.
    pub(super) fn tombstones_answered(
        &mut self,
        arrived: Result<Arrived<Tombstones>, Failed>,
    ) -> Option<(Box<Tombstones>, Vec<u8>)> {
        let interval = self.takedown_interval();
        if let Err(failed) = &arrived {
            tracing::warn!("tombstones: {failed}");
        }
        if let Err(Failed::Refused(refusal)) = &arrived {
            self.counters.refused(refusal.reason());
        }
        self.counters
            .contacted(Document::Tombstones, arrived.is_ok(), self.clock.seconds());
        self.contacts.tombstones.answered(arrived.is_ok(), interval);
        match arrived {
            Ok(Arrived::New(list, sealed)) => Some((list, sealed)),
            _ => None,
        }
    }

    /// Asks for a manifest at once that is newer than all that are known, so that something urgent need not wait for the next
    /// question. Once for each: what was refused is not asked for each time.
    pub(super) fn told_of(&mut self, newest: Option<Serial>) {
        let is_news = newest > self.contacts.told && newest > self.newest();
        if is_news {
            self.contacts.told = newest;
            self.contacts.manifest.due = Instant::now();
        }
    }

    /// Asks for the manifest again at a moment of the next seconds, as after a disk that did not take it.
    pub(super) fn ask_again(&mut self) {
        self.contacts.manifest.due = jittered(CONTACT_RETRY_MAX);
    }
}

/// Without `[fill]` there are takedowns all the same.
const TAKEDOWN_INTERVAL: Duration = Duration::from_secs(20);

async fn manifest(
    control: &ControlEndpoint,
    judge: Judge,
    known: Option<Serial>,
) -> Result<Arrived<Manifest>, Failed> {
    let (sealed, _) = sealed(control, Document::Manifest, known).await?;
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(nothing) => return Ok(nothing),
    };
    let (manifest, sealed) = off_loop(move || (judge.judge(&sealed), sealed)).await;
    let manifest = manifest?;
    if known == Some(manifest.serial) {
        return Ok(Arrived::Unchanged);
    }
    Ok(Arrived::New(Box::new(manifest), sealed))
}

async fn tombstones(
    control: &ControlEndpoint,
    appliance: String,
    seen: Option<Serial>,
) -> Result<(Arrived<Tombstones>, Option<Serial>), Failed> {
    let (sealed, told) = sealed(control, Document::Tombstones, seen).await?;
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(nothing) => return Ok((nothing, told)),
    };
    let keys = control.keys.clone();
    let opened = off_loop(move || (takedown::open(&sealed, &keys, &appliance, seen), sealed));
    let (list, sealed) = opened.await;
    let list = list?;
    if seen == Some(list.serial) {
        return Ok((Arrived::Unchanged, told));
    }
    Ok((Arrived::New(Box::new(list), sealed), told))
}

/// The bytes, or why there are none; and the newest manifest, if it was said.
async fn sealed<T>(
    control: &ControlEndpoint,
    document: Document,
    known: Option<Serial>,
) -> Result<(Result<Vec<u8>, Arrived<T>>, Option<Serial>), Failed> {
    let fetched = match control.fetch(document, known).await {
        Ok(fetched) => fetched,
        Err(ContactError::TooLarge { limit, .. }) => {
            return Err(Refusal::TooLarge { limit }.into());
        }
        Err(error) => return Err(error.into()),
    };
    let sealed = match fetched.answer {
        Answer::Sealed(sealed) => Ok(sealed),
        Answer::Unchanged => Err(Arrived::Unchanged),
        Answer::None => Err(Arrived::None),
    };
    Ok((sealed, fetched.newest_manifest))
}

/// Unpacking and checking a million objects takes seconds.
async fn off_loop<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(job)
        .await
        .expect("decoders do not panic, whatever the bytes")
}
