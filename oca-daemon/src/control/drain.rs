//! Out of service and back: what operators want, kept on the state disk and carried out by the workers.

use std::io;
use std::time::Duration;

use protocol::operator::{Fault, Refusal, Response};
use protocol::status::{self, State};
use steering::drain::{Action, Intent, Phase};

use super::{Control, now};
use crate::admin::observation::Observation;
use crate::admin::words;
use crate::limits::STATE_DISK_WAIT;
use crate::operator::{Command, Wanted, refused};
use crate::shared::Service;

impl Control {
    pub(super) async fn obey(&mut self, command: Command) {
        let Command { wanted, reply } = command;
        let response = if self.shared.is_stopping() {
            refused(Refusal {
                fault: Fault::State,
                message: "the daemon is stopping".to_owned(),
            })
        } else {
            match wanted {
                // Answered when it has ended.
                Wanted::Upgrade(order) => return self.begin_upgrade(&order, reply),
                Wanted::Drain {
                    by,
                    reason,
                    answers_expire_s,
                } => {
                    let since = now();
                    self.begin_drain(Intent {
                        since,
                        by,
                        reason,
                        answers_expire_s,
                    })
                    .await
                }
                Wanted::Undrain { by } => self.end_drain(&by).await,
                Wanted::SelfTest => {
                    let found = self.test_everything().await;
                    self.look_again();
                    Response::SelfTest(found)
                }
            }
        };
        // An operator who went away reads the answer in `status`.
        let _ = reply.send(response);
    }

    /// The drain begins even if the state disk cannot keep it: a box with a dying disk is one that somebody wants drained.
    async fn begin_drain(&mut self, wanted: Intent) -> Response {
        tracing::info!(by = wanted.by, reason = wanted.reason, "drain");
        self.drain.begin(wanted);
        let intent = self.drain.intent().cloned();
        let file = self.intent.clone();
        let kept =
            on_the_state_disk(move || intent.as_ref().map_or(Ok(()), |intent| file.write(intent)))
                .await;
        let observed = self.look_again();
        match (kept, self.drain_told(&observed)) {
            (Ok(()), Some(drain)) => Response::Drain(drain),
            (Err(why), _) => refused(Refusal {
                fault: Fault::Disk,
                message: format!(
                    "the box is draining, but {} could not be written: {why}. A restart would end the drain: repair the disk, \
                     then drain again",
                    self.intent.path().display()
                ),
            }),
            (Ok(()), None) => refused(Refusal {
                fault: Fault::Internal,
                message: "the drain did not begin".to_owned(),
            }),
        }
    }

    /// Connections are let in for the test, and only for it until it has passed.
    async fn end_drain(&mut self, by: &str) -> Response {
        if self.drain.phase() == Phase::InService {
            return self.in_service();
        }
        let tested = self.test_everything().await;
        if tested.result == State::Down {
            self.step_drain();
            let broken = tested.checks.iter().filter(|it| it.result == State::Down);
            let named = |it: &status::Check| format!("{} {}", it.component, it.subject);
            let said = broken.map(|it| format!("{}: {}", named(it).trim_end(), it.detail));
            return refused(Refusal {
                fault: Fault::State,
                message: format!(
                    "the self-test failed, the drain goes on: {}. All of it: ocactl selftest",
                    said.collect::<Vec<_>>().join("; ")
                ),
            });
        }
        let file = self.intent.clone();
        if let Err(why) = on_the_state_disk(move || file.clear()).await {
            self.step_drain();
            let path = self.intent.path().display();
            return refused(Refusal {
                fault: Fault::Disk,
                message: format!(
                    "{path} could not be removed: {why}. The drain goes on; repair the disk, then undrain again"
                ),
            });
        }
        tracing::info!(by, "undrain");
        self.drain.end();
        self.in_service()
    }

    /// Service addresses that were held back come back as well.
    fn in_service(&mut self) -> Response {
        if let Some(bgp) = &self.shared.bgp {
            bgp.release();
        }
        self.look_again();
        Response::Undrain {
            state: words::state(self.admin.standing.load().hint.facts.state),
        }
    }

    /// Carries out at once what an operator changed, and tells of it.
    fn look_again(&mut self) -> Observation {
        let observed = Observation::of(&self.shared);
        self.step_drain();
        self.update_standing(&observed);
        observed
    }

    pub(super) fn step_drain(&mut self) {
        let transfers = self
            .shared
            .workers
            .iter()
            .map(|worker| worker.transfers.value())
            .sum();
        let service = match self.drain.step(now(), transfers) {
            Action::Serve => Service::Serving,
            Action::AskToLeave => Service::Draining,
            Action::RefuseNew => Service::Drained,
            Action::Cut => Service::Cut,
        };
        if !self.shared.is_stopping() && self.shared.service() != service {
            tracing::info!(?service, transfers, "service");
            self.shared.change_service(service);
        }
    }

    /// The drain as `/status` tells it.
    pub(super) fn drain_told(&self, observed: &Observation) -> Option<status::Drain> {
        let intent = self.drain.intent()?;
        let seconds =
            |time: Option<steering::UnixTime>| time.map_or(0, steering::UnixTime::seconds);
        Some(status::Drain {
            since: intent.since.seconds(),
            by: intent.by.clone(),
            reason: intent.reason.clone(),
            transfers: observed.total(|worker| worker.transfers.value()),
            connections: observed.total(|worker| worker.connections.value()),
            hints_expire: seconds(self.drain.hints_expire()),
            forced_at: seconds(self.drain.forced_at()),
            cut: self.drain.cut(),
        })
    }
}

/// Runs `work` where it may block, and waits for it for [`STATE_DISK_WAIT`].
async fn on_the_state_disk(
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), String> {
    let done = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(STATE_DISK_WAIT, done).await {
        Ok(Ok(result)) => result.map_err(|error| error.to_string()),
        Ok(Err(panicked)) => Err(panicked.to_string()),
        Err(_) => Err(format!(
            "the disk did not answer within {} s",
            Duration::as_secs(&STATE_DISK_WAIT)
        )),
    }
}
