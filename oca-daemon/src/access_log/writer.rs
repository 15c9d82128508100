//! The thread that writes the access log: takes what is finished from all workers, makes lines of it, gives the records back.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::AccessLog;
use super::file::LogFile;
use super::line::{self, Clocks};
use crate::limits::{LOG_BATCH_BYTES, LOG_TURN};

/// See the module.
#[derive(Debug)]
pub struct Writer {
    log: Arc<AccessLog>,
    file: LogFile,
    lines: Vec<u8>,
    /// Whether the last lines could not be written: that is said once, not for each of them.
    is_failing: bool,
}

impl Writer {
    /// A writer of `log`. There is to be one.
    pub fn new(log: Arc<AccessLog>) -> Self {
        Self {
            file: LogFile::new(&log.settings),
            lines: Vec::with_capacity(2 * LOG_BATCH_BYTES),
            is_failing: false,
            log,
        }
    }

    /// Writes until the log is closed and what was finished before is written.
    pub fn run(mut self) {
        let _ = self.log.writer.set(std::thread::current());
        let opened = self.file.reopen();
        self.note(opened);
        loop {
            let is_last = self.log.closing.load(Relaxed);
            self.turn();
            if is_last {
                return;
            }
            std::thread::park_timeout(LOG_TURN);
        }
    }

    fn turn(&mut self) {
        if self.log.reopen.swap(false, Relaxed) {
            let reopened = self.file.reopen();
            self.note(reopened);
        }
        let log = Arc::clone(&self.log);
        let clocks = Clocks::now();
        for records in &log.workers {
            // What is finished meanwhile waits for the next turn.
            for _ in 0..records.finished.len() {
                let Some(record) = records.finished.pop() else {
                    break;
                };
                line::write(&mut self.lines, &record, clocks);
                let _ = records.free.push(record);
                if self.lines.len() >= LOG_BATCH_BYTES {
                    self.flush();
                }
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let (written, result) = self.file.append(&self.lines);
        let (written, refused) = self.lines.split_at(written);
        self.log.written.fetch_add(count(written), Relaxed);
        self.log.refused.fetch_add(count(refused), Relaxed);
        self.lines.clear();
        self.note(result);
    }

    fn note(&mut self, result: std::io::Result<()>) {
        let path = self.log.settings.path.display();
        match &result {
            Err(error) if !self.is_failing => {
                tracing::error!(%error, "the access log {path} cannot be written as it should; lines are lost until it can");
            }
            Ok(()) if self.is_failing => tracing::info!("the access log {path} is written again"),
            _ => {}
        }
        self.is_failing = result.is_err();
    }
}

/// Lines in `text`.
fn count(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}
