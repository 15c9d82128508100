//! The fill agent, as its operator socket answers.

use protocol::config::Config;
use protocol::fill::{Plan, Request, Response, Scrub, Status, Window};
use protocol::log::{Change, LogLevel};
use protocol::service;
use serde::Serialize;

use crate::clock::Clock;
use crate::limits::ANSWER_TIMEOUT;
use crate::socket::{AskError, Program, Socket};

const AGENT: Program = Program {
    name: "fill agent",
    service: service::FILL_AGENT,
};

/// The fill agent of one appliance.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    socket: Socket,
}

impl Agent {
    /// The one of this appliance.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            socket: Socket::new(AGENT, config.fill_socket()),
        }
    }

    /// Asks something that is answered with the agent's status.
    pub(crate) fn status(&self, request: &Request) -> Result<Status, AskError> {
        match self.ask(request)? {
            Response::Status(status) => Ok(*status),
            _ => Err(self.socket.unexpected()),
        }
    }

    /// Asks something that is answered with the window.
    pub(crate) fn window(&self, request: &Request) -> Result<Window, AskError> {
        match self.ask(request)? {
            Response::Window(window) => Ok(*window),
            _ => Err(self.socket.unexpected()),
        }
    }

    /// Asks something that is answered with the scrub.
    pub(crate) fn scrub(&self, request: &Request) -> Result<Scrub, AskError> {
        match self.ask(request)? {
            Response::Scrub(scrub) => Ok(*scrub),
            _ => Err(self.socket.unexpected()),
        }
    }

    /// How much it logs, after a change if there is one.
    pub(crate) fn log_level(
        &self,
        by: String,
        change: Option<Change>,
    ) -> Result<LogLevel, AskError> {
        match self.ask(&Request::LogLevel { by, change })? {
            Response::LogLevel(level) => Ok(level),
            _ => Err(self.socket.unexpected()),
        }
    }

    /// What it would do, or does.
    pub(crate) fn plan(&self, limit: u32) -> Result<Plan, AskError> {
        match self.ask(&Request::Plan { limit })? {
            Response::Plan(plan) => Ok(*plan),
            _ => Err(self.socket.unexpected()),
        }
    }

    fn ask(&self, request: &Request) -> Result<Response, AskError> {
        match self.socket.ask(request, ANSWER_TIMEOUT)? {
            Response::Refused(refusal) => Err(self.socket.refused(refusal)),
            response => Ok(response),
        }
    }
}

/// An answer of the agent with its age, as all of them are printed.
#[derive(Serialize)]
pub(crate) struct Aged<'a, T> {
    age_s: u64,
    #[serde(flatten)]
    pub(crate) answer: &'a T,
    #[serde(skip)]
    pub(crate) clock: &'a Clock,
}

impl<'a, T> Aged<'a, T> {
    /// As seen from `clock`; it was true at `as_of`.
    pub(crate) fn new(answer: &'a T, as_of: u64, clock: &'a Clock) -> Self {
        Self {
            age_s: clock.now.saturating_sub(as_of),
            answer,
            clock,
        }
    }
}
