//! The files of certificates are looked at where it may block, one look at a time, and again at SIGHUP.

use std::time::{Instant, SystemTime};

use protocol::config::Config;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Control, now};
use crate::limits::{CERTIFICATES_EVERY, STATE_DISK_WAIT};
use crate::tls::{Look, Occasion, Tls, Watch};

/// The watch, and the look that is under way.
pub(super) struct Following {
    watch: Watch,
    look: Option<JoinHandle<Look>>,
    /// When the last look began.
    began: Instant,
}

impl Following {
    pub(super) fn of(tls: &Tls) -> Self {
        Self {
            watch: tls.watch(),
            look: None,
            began: Instant::now(),
        }
    }

    fn begin(&mut self, occasion: Occasion) -> JoinHandle<Look> {
        self.began = Instant::now();
        let looker = self.watch.looker(occasion);
        tokio::task::spawn_blocking(move || looker.look(SystemTime::now().into()))
    }

    /// Never waits. A look that hangs is the only one: a dead disk costs one thread.
    async fn step(&mut self) {
        let age = self.began.elapsed();
        match self.look.take() {
            Some(look) if look.is_finished() => self.judge(look.await.ok(), Occasion::Routine),
            Some(look) => {
                self.look = Some(look);
                if age > STATE_DISK_WAIT {
                    self.watch.no_answer(now());
                }
            }
            None if age >= CERTIFICATES_EVERY => self.look = Some(self.begin(Occasion::Routine)),
            None => {}
        }
    }

    /// Waits for a look, for [`STATE_DISK_WAIT`] at most.
    async fn look_now(&mut self) {
        // One that began before the signal may have seen the old files.
        if let Some(mut before) = self.look.take()
            && timeout(STATE_DISK_WAIT, &mut before).await.is_err()
        {
            self.look = Some(before);
            return self.watch.no_answer(now());
        }
        let mut look = self.begin(Occasion::Asked);
        match timeout(STATE_DISK_WAIT, &mut look).await {
            Ok(look) => self.judge(look.ok(), Occasion::Asked),
            Err(_) => {
                self.look = Some(look);
                self.watch.no_answer(now());
            }
        }
    }

    fn judge(&mut self, look: Option<Look>, occasion: Occasion) {
        if let Some(look) = look {
            self.watch.judge(look, occasion, Instant::now(), now());
        }
    }
}

impl Control {
    pub(super) async fn follow_certificates(&mut self) {
        if let Some(following) = &mut self.certificates {
            following.step().await;
        }
    }

    /// The files that the configuration in force names are read, whether or not that has changed.
    pub(super) async fn reload_certificates(&mut self) {
        let config = self.shared.config.load_full();
        if let (Some(following), Config { tls: Some(tls), .. }) = (&mut self.certificates, &*config)
        {
            following.watch.follow(tls.certificates.clone());
            following.look_now().await;
        }
    }
}
