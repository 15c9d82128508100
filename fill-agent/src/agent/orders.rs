//! What operators ask: each request, answered at once; what changes the intent is on the disk before the answer.

use std::time::Instant;

use command_line::log;
use protocol::fill::{Overridden, Pause, Request, Response, SetHours};
use protocol::manifest::Serial;
use protocol::operator::{Fault, Refusal};
use protocol::service;

use super::hours::{self, Settings, site_offset};
use super::{Agent, status};
use crate::limits::PLAN_SHOWN;
use crate::state::{Accepted, Intent, StateProblem};

/// Why an order was not obeyed.
#[derive(Debug)]
pub(super) struct Refused(Refusal);

impl From<StateProblem> for Refused {
    fn from(problem: StateProblem) -> Self {
        refused(Fault::Disk, problem.to_string())
    }
}

fn refused(fault: Fault, message: impl Into<String>) -> Refused {
    Refused(Refusal {
        fault,
        message: message.into(),
    })
}

impl Agent {
    /// Answers.
    pub(super) async fn answer(&mut self, request: Request) -> Response {
        match self.obey(request).await {
            Ok(response) => response,
            Err(Refused(refusal)) => Response::Refused(refusal),
        }
    }

    async fn obey(&mut self, request: Request) -> Result<Response, Refused> {
        let now = self.clock.seconds();
        let mut intent = self.book.intent.clone();
        match request {
            Request::Status => return Ok(self.status()),
            Request::LogLevel { by, change } => {
                let level = log::obey(&by, change).map_err(Refused)?;
                return Ok(Response::LogLevel(level));
            }
            Request::Plan { limit } => return Ok(self.plan(limit)),
            Request::Window => return Ok(self.window()),
            Request::Devices => {
                self.following.replan();
                self.following.tend_at = Instant::now();
                self.following.look_at = Instant::now();
                // A device that ocactl took back may hold what is not needed any more.
                self.following.reap_due = true;
                return Ok(self.status());
            }
            Request::SetWindow {
                by,
                window,
                timezone,
                rate,
            } => {
                intent.set = self.hours(window, timezone, rate)?.map(|hours| SetHours {
                    hours,
                    by,
                    at: now,
                });
            }
            Request::Override { by, open, until } => {
                self.refuse_past(until)?;
                intent.overridden = Some(Overridden {
                    open,
                    by,
                    at: now,
                    until,
                });
            }
            Request::ClearOverride { by: _ } => intent.overridden = None,
            Request::Pause { by, until } => {
                self.refuse_past(until)?;
                intent.pause = Some(Pause {
                    since: now,
                    by,
                    until,
                });
                return self.change(intent, Self::status).await;
            }
            Request::Resume { by: _ } => {
                intent.pause = None;
                return self.change(intent, Self::status).await;
            }
            Request::Accept { by, serial } => return self.accept(intent, by, serial).await,
            of_scrub => return self.obey_scrub(of_scrub).await,
        }
        self.change(intent, Self::window).await
    }

    async fn obey_scrub(&mut self, request: Request) -> Result<Response, Refused> {
        let mut intent = self.book.intent.clone();
        match request {
            Request::ScrubStart { device, .. } => return self.scrub_start(device.as_deref()),
            Request::ScrubPause { by, until } => {
                self.refuse_past(until)?;
                let since = self.clock.seconds();
                intent.scrub_pause = Some(Pause { since, by, until });
            }
            Request::ScrubResume { .. } => intent.scrub_pause = None,
            _ => return Ok(self.scrub_document()),
        }
        self.change(intent, Self::scrub_paused).await
    }

    fn scrub_start(&self, device: Option<&str>) -> Result<Response, Refused> {
        let begun = self.scrub.as_ref().map(|scrub| scrub.begin(device));
        if begun == Some(false) {
            let name = device.unwrap_or_default();
            let what = format!("no device is named {name:?}; see `ocactl scrub status`");
            return Err(refused(Fault::Request, what));
        }
        Ok(self.scrub_document())
    }

    fn scrub_paused(&self) -> Response {
        self.pause_scrub();
        self.scrub_document()
    }

    async fn change(
        &mut self,
        intent: Intent,
        answer: impl FnOnce(&Self) -> Response,
    ) -> Result<Response, Refused> {
        self.refuse_damage()?;
        let settings = Settings::of(&self.config, &intent)
            .map_err(|bad| refused(Fault::Request, bad.to_string()))?;
        self.book.say(intent).await?;
        self.settings = settings;
        self.following.replan();
        Ok(answer(self))
    }

    async fn accept(
        &mut self,
        mut intent: Intent,
        by: String,
        serial: Serial,
    ) -> Result<Response, Refused> {
        let held = self.book.held.as_ref().map(|held| held.serial());
        if held != Some(serial) {
            let what = held.map_or_else(
                || "no manifest is held".to_owned(),
                |held| format!("manifest {held} is held, not {serial}; see `ocactl fill status`"),
            );
            return Err(refused(Fault::State, what));
        }
        self.refuse_damage()?;
        intent.accepted = Some(Accepted {
            serial,
            by,
            at: self.clock.seconds(),
        });
        self.book.say(intent).await?;
        self.let_through().await?;
        Ok(self.status())
    }

    /// What is said would be written over a file that an operator may want to look at first.
    fn refuse_damage(&self) -> Result<(), Refused> {
        match self.book.damage.first() {
            Some(problem) => Err(refused(
                Fault::Disk,
                format!(
                    "{problem}. Then let the agent look again: SIGHUP (`{}`)",
                    service::FILL_AGENT.reload()
                ),
            )),
            None => Ok(()),
        }
    }

    fn refuse_past(&self, until: Option<u64>) -> Result<(), Refused> {
        match until.filter(|until| *until <= self.clock.seconds()) {
            Some(_) => Err(refused(Fault::Request, "that time has passed already")),
            None => Ok(()),
        }
    }

    /// What was not said is as configured; nothing said is as configured altogether.
    fn hours(
        &self,
        window: Option<String>,
        timezone: Option<String>,
        rate: Option<u64>,
    ) -> Result<Option<protocol::fill::Hours>, Refused> {
        let Some(configured) = self.settings.configured() else {
            return Err(refused(
                Fault::State,
                "the configuration has no [fill]: add it with window and rate",
            ));
        };
        if window.is_none() && timezone.is_none() && rate.is_none() {
            return Ok(None);
        }
        let said = protocol::fill::Hours {
            window: window.unwrap_or_else(|| configured.hours.window().to_owned()),
            timezone: timezone.unwrap_or_else(|| configured.hours.timezone().to_owned()),
            rate: rate.or(configured.rate),
        };
        hours::setting(&said).map_err(|bad| refused(Fault::Request, bad.to_string()))?;
        Ok(Some(said))
    }

    fn status(&self) -> Response {
        Response::Status(Box::new(self.document()))
    }

    fn window(&self) -> Response {
        let manifest = self
            .book
            .in_force
            .as_ref()
            .map(|believed| &believed.manifest);
        let offset = site_offset(&self.config, manifest);
        let window = self
            .settings
            .document(&self.clock, &self.book.intent, offset);
        Response::Window(Box::new(window))
    }

    fn plan(&self, limit: u32) -> Response {
        let limit = usize::try_from(limit).unwrap_or(PLAN_SHOWN).min(PLAN_SHOWN);
        let blocked = self.blocked().unwrap_or_else(|| {
            let decision = self.decision();
            if decision.open {
                String::new()
            } else {
                decision.why
            }
        });
        Response::Plan(Box::new(match &self.planned {
            Some(planned) => planned.document(&self.config, limit, blocked),
            None => status::no_plan(self.clock.seconds(), blocked),
        }))
    }
}
