//! The ring of provided buffers: free receive buffers, from which the kernel takes one for each piece of bytes.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use memmap2::{MmapMut, MmapRaw};

use crate::reactor::table::ReceiveMemory;

/// The only group of buffers of a ring.
pub(super) const GROUP: u16 = 0;

pub(super) struct BufferRing {
    /// Entries, read by the kernel up to the tail, which lies inside the first entry's unused field. Pinned by
    /// the kernel as long as it is registered.
    entries: MmapRaw,
    mask: u16,
    tail: u16,
    /// Buffers that the kernel has and, as far as is known, has not taken.
    free: u16,
}

impl BufferRing {
    /// Registers a ring and fills it with all buffers of `memory`.
    pub(super) fn new(submitter: &Submitter<'_>, memory: &ReceiveMemory) -> io::Result<Self> {
        let count = memory.count.next_power_of_two();
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        let entries: MmapRaw = MmapMut::map_anon(bytes)?.into();
        // SAFETY: a fresh mapping, page-aligned, of `count` entries. It is unmapped when this value is dropped,
        // which `UringDriver` does after it has closed the ring; the kernel holds its own reference to the pages.
        unsafe {
            submitter.register_buf_ring_with_flags(entries.as_ptr() as u64, count, GROUP, 0)
        }?;
        let mut ring = Self {
            entries,
            mask: count - 1,
            tail: 0,
            free: 0,
        };
        for index in 0..memory.count {
            ring.provide(memory, index);
        }
        Ok(ring)
    }

    pub(super) fn free(&self) -> u16 {
        self.free
    }

    /// The kernel has taken one.
    pub(super) fn taken(&mut self) {
        self.free -= 1;
    }

    /// Lets the kernel fill buffer `index`, which nobody else uses.
    pub(super) fn provide(&mut self, memory: &ReceiveMemory, index: u16) {
        let address = memory.address(index) as u64;
        let slot = usize::from(self.tail & self.mask);
        // SAFETY: `slot` is below the count of entries the mapping was made for.
        let entry = unsafe { self.entries.as_mut_ptr().cast::<BufRingEntry>().add(slot) };
        // SAFETY: the entry lies within the mapping, which only this value writes to; it is a plain value for
        // which all bytes are valid. The kernel reads it only after the tail has moved past it.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(memory.buffer_bytes());
        entry.set_bid(index);
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
        self.publish_tail();
    }

    fn publish_tail(&self) {
        // SAFETY: the mapping begins with an entry, which is initialised (zero at first).
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr().cast()) };
        // SAFETY: the tail is an aligned u16 within the mapping, which lives as long as `self`; the kernel only
        // reads it, and we write it only here, atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
