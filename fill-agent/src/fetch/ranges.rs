//! One object from one source: ranges, asked for ahead, as groups in order.
//!
//! Each range has a task that reads its answer group by group into a bounded queue. The first range goes alone until a group of it
//! was found right: a source that lies costs one group more than it must, not a look-ahead.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use content_store::limits::GROUP_BYTES;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::limits::{LOOK_AHEAD_RANGES, RANGE_BYTES};
use crate::source::{Body, Pin, Source, SourceError, Wanted};

/// A group's bytes, not verified; or why they did not come.
pub(super) type Group = Result<Vec<u8>, SourceError>;

/// Reads ahead. Dropping it ends all that is under way.
pub(super) struct Ranges {
    source: Arc<Source>,
    wanted: Wanted,
    /// What is not asked for yet.
    parts: VecDeque<Range<u64>>,
    ahead: usize,
    queues: VecDeque<mpsc::Receiver<Group>>,
    tasks: JoinSet<()>,
    pin: Arc<OnceLock<Pin>>,
}

impl Ranges {
    pub(super) fn new(source: Arc<Source>, wanted: Wanted, parts: Vec<Range<u64>>) -> Self {
        Self {
            source,
            wanted,
            parts: parts.into(),
            ahead: 1,
            queues: VecDeque::new(),
            tasks: JoinSet::new(),
            pin: Arc::default(),
        }
    }

    /// The next group; after the last one, whether its answer ended as it must.
    pub(super) async fn next(&mut self) -> Option<Group> {
        loop {
            self.ask();
            // A queue that is closed was read to its end: the next group is in the next range.
            if let Some(group) = self.queues.front_mut()?.recv().await {
                return Some(group);
            }
            self.queues.pop_front();
        }
    }

    /// A group of this source was right.
    pub(super) fn trust(&mut self) {
        self.ahead = LOOK_AHEAD_RANGES;
    }

    fn ask(&mut self) {
        while self.queues.len() < self.ahead
            && let Some(range) = self.next_range()
        {
            let (groups, queue) = mpsc::channel((RANGE_BYTES / GROUP_BYTES) as usize);
            let (source, wanted) = (self.source.clone(), self.wanted.clone());
            let pin = self.pin.clone();
            self.tasks.spawn(async move {
                if let Err(error) = read(&source, &wanted, range, &pin, &groups).await {
                    // Nobody may be there to hear it.
                    let _ = groups.send(Err(error)).await;
                }
            });
            self.queues.push_back(queue);
        }
    }
}

impl Ranges {
    fn next_range(&mut self) -> Option<Range<u64>> {
        let part = self.parts.front_mut()?;
        // Ranges end at multiples of their size, wherever the first one begins.
        let end = (part.start / RANGE_BYTES + 1) * RANGE_BYTES;
        let range = part.start..end.min(part.end);
        part.start = range.end;
        if part.is_empty() {
            self.parts.pop_front();
        }
        (!range.is_empty()).then_some(range)
    }
}

async fn read(
    source: &Arc<Source>,
    wanted: &Wanted,
    range: Range<u64>,
    pin: &OnceLock<Pin>,
    groups: &mpsc::Sender<Group>,
) -> Result<(), SourceError> {
    let mut body = source.open(wanted, range.clone(), pin.get()).await?;
    pin.get_or_init(|| body.pin().clone());
    let mut at = range.start;
    while at < range.end {
        let length = GROUP_BYTES.min(range.end - at);
        let group = read_group(&mut body, length as usize).await?;
        at += length;
        if groups.send(Ok(group)).await.is_err() {
            return Ok(());
        }
    }
    match body.next(1).await {
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

async fn read_group(body: &mut Body, length: usize) -> Result<Vec<u8>, SourceError> {
    let mut group = Vec::with_capacity(length);
    while group.len() < length
        && let Some(piece) = body.next((length - group.len()) as u64).await?
    {
        group.extend_from_slice(&piece);
        // A viewer's thread that woke up together with this one, of the idle class, may stand behind it in the kernel's queue (EEVDF, Linux
        // 6.6 and later), and waits until this one sleeps: with bytes from many connections at hand, 200 us and more.
        std::thread::yield_now();
    }
    Ok(group)
}
