//! Which connection each device read belongs to. A read outlives its connection: its number is used again only after its
//! answer has come.

use platform::reactor::Token;

use crate::limits::READS_PER_WORKER;
use crate::transfer::ReadId;

/// Reads that are out, by number.
#[derive(Debug)]
pub(super) struct ReadTable {
    owners: Vec<Option<Token>>,
    free: Vec<ReadId>,
}

impl ReadTable {
    /// An empty one, which never grows.
    pub(super) fn new() -> Self {
        Self {
            owners: Vec::with_capacity(READS_PER_WORKER as usize),
            free: Vec::with_capacity(READS_PER_WORKER as usize),
        }
    }

    /// A number for a read of `owner`, or `None` if the worker has as many out as it may.
    pub(super) fn open(&mut self, owner: Token) -> Option<ReadId> {
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.owners.len() < READS_PER_WORKER as usize => {
                self.owners.push(None);
                self.owners.len() as ReadId - 1
            }
            None => return None,
        };
        self.owners[id as usize] = Some(owner);
        Some(id)
    }

    /// The read is answered (or was never accepted): whose was it?
    pub(super) fn close(&mut self, id: ReadId) -> Option<Token> {
        let owner = self.owners.get_mut(id as usize)?.take()?;
        self.free.push(id);
        Some(owner)
    }
}
