//! What is done with a request beside answering it: a line of the access log, and the rate that its connection is held to.

use std::time::Duration;

use super::answer::Answer;
use super::{Connection, Context, Phase};
use crate::access_log::{Answered, Record, Records, Viewer};
use crate::cmcd::Cmcd;
use crate::pacing::Rate;
use crate::request::Request;

/// What an answer carries along until it ends.
#[derive(Debug, Default)]
pub(super) struct Beside {
    record: Option<Box<Record>>,
    pace: Option<Rate>,
    /// From the complete head to the first byte in the kernel.
    pub(super) first_byte: Option<Duration>,
    /// The body's bytes that came from memory.
    pub(super) memory_bytes: u64,
}

impl Beside {
    /// The answer has ended.
    pub(super) fn finish(&mut self, answered: Answered, log: Option<&Records>) {
        if let (Some(mut record), Some(log)) = (self.record.take(), log) {
            record.answered = answered;
            record.first_byte = self.first_byte;
            record.memory_bytes = self.memory_bytes;
            record.pace = self.pace;
            log.finish(record);
        }
    }
}

impl Connection {
    /// Looks at what a request says beside what it asks for.
    pub(super) fn beside(
        &self,
        request: &Request<'_>,
        answer: &Answer,
        cx: &mut Context<'_>,
    ) -> Beside {
        let noted = self.record(cx);
        let is_paced = answer.body.is_some() && !request.fill;
        let is_heard = noted.is_some() || is_paced && cx.pacing.hears_players();
        let cmcd = is_heard.then(|| read_cmcd(request, cx));
        let pace = if is_paced {
            cx.pacing.rate(cmcd.as_ref())
        } else if request.fill {
            None
        } else {
            // A head alone is not worth a system call.
            self.pace
        };
        let record = noted.map(|(mut record, viewer)| {
            record.of_request(viewer, request, cmcd.unwrap_or_default());
            record
        });
        Beside {
            record,
            pace,
            ..Beside::default()
        }
    }

    /// The same for what is no request.
    pub(super) fn beside_input(&self, input: &[u8], cx: &Context<'_>) -> Beside {
        let record = self.record(cx).map(|(mut record, viewer)| {
            record.of_input(viewer, input);
            record
        });
        Beside {
            record,
            pace: self.pace,
            ..Beside::default()
        }
    }

    fn record(&self, cx: &Context<'_>) -> Option<(Box<Record>, Viewer)> {
        let viewer = self.viewer?;
        Some((cx.log?.take()?, viewer))
    }

    /// The rate of the present answer, if the kernel was told another one.
    pub(super) fn changed_pace(&mut self) -> Option<Option<Rate>> {
        let Phase::Answering(answer) = &self.phase else {
            return None;
        };
        let pace = answer.beside.pace;
        (pace != self.pace).then(|| {
            self.pace = pace;
            pace
        })
    }
}

fn read_cmcd(request: &Request<'_>, cx: &mut Context<'_>) -> Cmcd {
    let mut cmcd = Cmcd::default();
    if !cmcd.read(&request.beside, cx.path) {
        cx.counters.malformed_cmcd.add(1);
    }
    cmcd
}
