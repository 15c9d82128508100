//! The daemon, as its operator socket answers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use protocol::bgp::RoutePage;
use protocol::config::Certificate;
use protocol::limits::ROUTES_PAGE_MAX;
use protocol::log::{Change, LogLevel};
use protocol::operator::{CheckedCertificate, Generation, Request, Response};
use protocol::service;
use protocol::status::Status;

use crate::limits::{ANSWER_TIMEOUT, SLOW_ANSWER_TIMEOUT};
use crate::socket::{AskError, Program, Socket};

const DAEMON: Program = Program {
    name: "daemon",
    service: service::DAEMON,
};

/// The daemon of one appliance.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    socket: Socket,
}

impl Daemon {
    /// At this socket.
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self {
            socket: Socket::new(DAEMON, socket),
        }
    }

    /// What it says of itself.
    pub(crate) fn status(&self) -> Result<Status, AskError> {
        match self.ask(Request::Status, ANSWER_TIMEOUT)? {
            Response::Status(status) => Ok(*status),
            _ => Err(self.unexpected()),
        }
    }

    /// What it finds in the files of these certificates.
    pub(crate) fn check_certificates(
        &self,
        certificates: Vec<Certificate>,
    ) -> Result<Vec<CheckedCertificate>, AskError> {
        match self.ask(Request::TlsCheck { certificates }, ANSWER_TIMEOUT)? {
            Response::TlsChecked { certificates } => Ok(certificates),
            _ => Err(self.unexpected()),
        }
    }

    /// What was learned from a neighbour, behind `after`.
    pub(crate) fn bgp_routes(
        &self,
        neighbor: IpAddr,
        after: Option<String>,
    ) -> Result<RoutePage, AskError> {
        let request = Request::BgpRoutes {
            neighbor,
            after,
            limit: ROUTES_PAGE_MAX,
        };
        match self.ask(request, ANSWER_TIMEOUT)? {
            Response::BgpRoutes(page) => Ok(page),
            _ => Err(self.unexpected()),
        }
    }

    /// How much it logs, after a change if there is one.
    pub(crate) fn log_level(
        &self,
        by: String,
        change: Option<Change>,
    ) -> Result<LogLevel, AskError> {
        match self.ask(Request::LogLevel { by, change }, ANSWER_TIMEOUT)? {
            Response::LogLevel(level) => Ok(level),
            _ => Err(self.unexpected()),
        }
    }

    /// Which states of the catalog it uses.
    pub(crate) fn generation(&self) -> Result<Generation, AskError> {
        match self.ask(Request::Generation, ANSWER_TIMEOUT)? {
            Response::Generation(generation) => Ok(generation),
            _ => Err(self.unexpected()),
        }
    }

    /// Makes it look at the catalog; returns when it serves what is there.
    pub(crate) fn reload(&self) -> Result<Generation, AskError> {
        match self.ask(Request::Reload, SLOW_ANSWER_TIMEOUT)? {
            Response::Reload(generation) => Ok(generation),
            _ => Err(self.unexpected()),
        }
    }

    /// Asks, waits, and turns a refusal into an error.
    pub(crate) fn ask(&self, request: Request, timeout: Duration) -> Result<Response, AskError> {
        match self.socket.ask(&request, timeout)? {
            Response::Refused(refusal) => Err(self.socket.refused(refusal)),
            response => Ok(response),
        }
    }

    /// For an answer to another question.
    pub(crate) fn unexpected(&self) -> AskError {
        self.socket.unexpected()
    }
}
