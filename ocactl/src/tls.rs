//! `ocactl tls`: the certificates that viewers are shown, and whether the files are right.

use comfy_table::Cell;
use protocol::config::Config;
use protocol::operator::CheckedCertificate;
use protocol::status::{Certificate, Tls};
use serde::Serialize;

use crate::arguments::TlsCommand;
use crate::daemon::Daemon;
use crate::error::{Failure, Outcome};
use crate::output::{self, Format, Report, number, seconds, utc};

/// Runs the command.
pub(crate) fn run(
    config: &Config,
    format: Format,
    command: TlsCommand,
) -> Result<Outcome, Failure> {
    let daemon = Daemon::at(config.daemon_socket());
    match command {
        TlsCommand::Ls => list(&daemon, format),
        TlsCommand::Check => check(&daemon, config, format),
    }
}

fn list(daemon: &Daemon, format: Format) -> Result<Outcome, Failure> {
    let status = daemon.status()?;
    let Some(tls) = status.tls else {
        return Err(Failure::failed(
            "the daemon serves nobody with TLS: it was started without [listen] https",
        ));
    };
    let listed = Listed {
        as_of: status.as_of,
        certificates: tls
            .certificates
            .iter()
            .map(|it| Row::of(it, status.as_of))
            .collect(),
        reload: Reload::of(&tls),
    };
    output::print(format, &listed)?;
    Ok(Outcome::Done)
}

#[derive(Serialize)]
struct Listed {
    as_of: u64,
    certificates: Vec<Row>,
    reload: Reload,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    certificate: Certificate,
    /// Whole days until it ends; 0 once it has.
    days_left: u64,
}

impl Row {
    fn of(certificate: &Certificate, now: u64) -> Self {
        Self {
            certificate: certificate.clone(),
            days_left: certificate.not_after.saturating_sub(now) / 86_400,
        }
    }
}

/// How the last look at changed files ended.
#[derive(Serialize)]
struct Reload {
    /// `None`: the files are as they were at the start of the daemon.
    at: Option<u64>,
    problems: Vec<String>,
    failures: u64,
}

impl Reload {
    fn of(tls: &Tls) -> Self {
        Self {
            at: tls.reloaded,
            problems: tls.problems.clone(),
            failures: tls.failures,
        }
    }

    fn text(&self, now: u64) -> String {
        let Some(at) = self.at else {
            return "The files are as they were at the start of the daemon.".to_owned();
        };
        let ago = seconds(now.saturating_sub(at));
        if self.problems.is_empty() {
            return format!("Reloaded {ago} ago.");
        }
        let problems = self.problems.join("\n! ");
        format!("Not reloaded {ago} ago; what was loaded before is shown on:\n! {problems}")
    }
}

impl Report for Listed {
    fn text(&self) -> String {
        let mut table =
            output::table(["NAMES", "ENDS", "DAYS", "KEY", "LOADED", "CERT", "KEY FILE"]);
        for row in &self.certificates {
            let it = &row.certificate;
            table.add_row(vec![
                Cell::new(names(it)),
                Cell::new(utc(it.not_after)),
                number(row.days_left),
                Cell::new(&it.key_type),
                Cell::new(utc(it.loaded)),
                Cell::new(it.cert.display()),
                Cell::new(it.key.display()),
            ]);
        }
        let reload = self.reload.text(self.as_of);
        format!("{}\n\n{reload}", output::rendered(&table))
    }
}

fn names(certificate: &Certificate) -> String {
    if certificate.names.is_empty() {
        "-".to_owned()
    } else {
        certificate.names.join(" ")
    }
}

fn check(daemon: &Daemon, config: &Config, format: Format) -> Result<Outcome, Failure> {
    let Some(tls) = &config.tls else {
        return Err(Failure::usage("there is no [tls] in the configuration"));
    };
    let certificates = daemon.check_certificates(tls.certificates.clone())?;
    let wrong = certificates.iter().any(|it| it.problem.is_some());
    output::print(format, &AllChecked { certificates })?;
    Ok(if wrong {
        Outcome::Partly
    } else {
        Outcome::Done
    })
}

#[derive(Serialize)]
struct AllChecked {
    certificates: Vec<CheckedCertificate>,
}

impl Report for AllChecked {
    fn text(&self) -> String {
        let mut table = output::table(["", "CERT", "HOW IT IS"]);
        for checked in &self.certificates {
            let (word, detail) = match (&checked.problem, &checked.found) {
                (Some(problem), _) => ("FAIL", problem.clone()),
                (None, Some(found)) => {
                    let until = utc(found.not_after);
                    (
                        "ok",
                        format!("{}, {}, until {until}", names(found), found.key_type),
                    )
                }
                (None, None) => ("FAIL", String::new()),
            };
            table.add_row(vec![
                Cell::new(word),
                Cell::new(checked.cert.display()),
                Cell::new(detail),
            ]);
        }
        output::rendered(&table)
    }
}
