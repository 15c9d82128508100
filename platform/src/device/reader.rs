//! A reader: one of the few threads of a device that wait for it on behalf of viewers.
//!
//! Each takes a buffer first and a request then, so the budget bounds what is read, and a request without a buffer waits in the queue.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use super::mailbox::ReadError;
use super::queue::Work;
use super::service::Service;
use super::statistics::count;
use crate::buffer::{Buffer, FilledBuffer};
use crate::file::{DIRECT_ALIGNMENT, Directness};
use crate::stored_file::{BLOCK_BYTES, BadBlock, Opened};

pub(super) fn run(service: &Arc<Service>, seat: usize) {
    while let Some(buffer) = service.pool.take(seat, || service.is_stopped()) {
        let Some(work) = next_work(service, seat) else {
            return;
        };
        if service.queue.has_waiting() {
            service.idle_readers.wake_one();
        }
        let (result, report) = match service.refusal() {
            Some(error) => (Err(error), Report::Nothing),
            None => read(service, seat, &work, buffer),
        };
        service.queue.answer(service.queue.end(&work), &result);
        // Only now: a verdict turns everyone away, and these have an answer of their own.
        tell(service, &work, &report);
    }
}

/// What a read says of its device.
enum Report {
    Good(Directness),
    Error(io::Error),
    Nothing,
}

fn tell(service: &Service, work: &Work, report: &Report) {
    match report {
        Report::Good(directness) => service.found_good(&work.file, work.offset, *directness),
        Report::Error(error) => service.found_error(&work.file, work.offset, error),
        Report::Nothing => {}
    }
}

/// Sleeps until there is work; `None` when the service was stopped.
fn next_work(service: &Service, seat: usize) -> Option<Work> {
    service.idle_readers.wait_for(seat, || {
        if service.is_stopped() {
            return Some(None);
        }
        let work = service.queue.begin();
        if work.is_none() {
            service.loads.viewers_are_served();
        }
        work.map(Some)
    })
}

fn read(
    service: &Service,
    seat: usize,
    work: &Work,
    mut buffer: Buffer,
) -> (Result<FilledBuffer, ReadError>, Report) {
    let statistics = &service.statistics;
    let began = Instant::now();
    statistics.read_began();
    let running = service.operations.begin(service.operations.reader(seat));
    let outcome = fill(service, work, &mut buffer);
    drop(running);
    statistics.read_ended(began.elapsed());
    match outcome {
        Ok(directness) => {
            count(&statistics.reads, 1);
            count(&statistics.read_bytes, work.length.into());
            let filled = buffer.freeze(work.offset, work.length as usize);
            (Ok(filled), Report::Good(directness))
        }
        Err(Fault::System(error)) => (Err(ReadError::from(&error)), Report::Error(error)),
        Err(Fault::Content(block)) => {
            service.found_bad(&work.file, block);
            let offset = block.offset;
            (Err(ReadError::Corrupt { offset }), Report::Nothing)
        }
    }
}

enum Fault {
    System(io::Error),
    Content(BadBlock),
}

fn fill(service: &Service, work: &Work, buffer: &mut Buffer) -> Result<Directness, Fault> {
    let opened = service.files.open(&work.file).map_err(Fault::System)?;
    let length = work.length as usize;
    let space = buffer.space();
    let read = read_aligned(&opened, space, work.offset, length).map_err(Fault::System)?;
    if read < length {
        let missing = work.offset + read as u64;
        return Err(Fault::Content(BadBlock {
            offset: missing / BLOCK_BYTES * BLOCK_BYTES,
        }));
    }
    opened
        .check
        .check(work.offset, &space[..length])
        .map_err(Fault::Content)?;
    Ok(opened.directness)
}

/// Reads `length` bytes from `offset`, asking for whole aligned units; returns how many came before the end of the file.
///
/// A direct read that comes back short elsewhere than at the end stops at a multiple of the alignment, so the rest is aligned too.
pub(super) fn read_aligned(
    opened: &Opened,
    space: &mut [u8],
    offset: u64,
    length: usize,
) -> io::Result<usize> {
    let wanted = length.next_multiple_of(DIRECT_ALIGNMENT);
    let mut read = 0;
    while read < length {
        match opened
            .file
            .read_at(&mut space[read..wanted], offset + read as u64)
        {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read.min(length))
}
