//! The budget of bytes read from one device and not yet sent: a fixed number of aligned buffers in one mapping.
//!
//! A service thread takes a [`Buffer`] and fills it; frozen into a [`FilledBuffer`] it goes to any number of workers. The last one to drop
//! it gives the slot back: two atomic operations and at most one wake, so a worker may do it between two sends.
//! A `FilledBuffer` keeps the pool alive, so that whoever ends a device must outlive its buffers (see [`BufferPool::is_unused`]).

use std::io;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{MmapMut, MmapRaw};

use crate::file::{DIRECT_ALIGNMENT, prefer_large_pages};
use crate::free_slots::FreeSlots;
use crate::park::WaitSet;

/// `count` buffers of `size` bytes each. Their memory is taken from the kernel when it is first used, or before, and kept.
#[derive(Debug)]
pub struct BufferPool {
    region: MmapRaw,
    size: usize,
    /// Slot n belongs to nobody (0, and n is in `free`), to one [`Buffer`] (1) or to that many [`FilledBuffer`]s.
    owners: Box<[AtomicU32]>,
    free: FreeSlots,
    /// The most slots that were out at once.
    most: AtomicU32,
    waiting: WaitSet,
}

impl BufferPool {
    /// Maps `count` buffers of `size` bytes for at most `takers` threads that wait for them.
    ///
    /// # Errors
    /// What `mmap(2)` says.
    ///
    /// # Panics
    /// If `count` is 0, or `size` is 0 or not a multiple of [`DIRECT_ALIGNMENT`].
    pub fn new(count: u32, size: usize, takers: usize) -> io::Result<Arc<Self>> {
        assert!(count > 0 && size > 0 && size.is_multiple_of(DIRECT_ALIGNMENT));
        let region = MmapRaw::from(MmapMut::map_anon(count as usize * size)?);
        prefer_large_pages(&region);
        Ok(Arc::new(Self {
            region,
            size,
            owners: (0..count).map(|_| AtomicU32::new(0)).collect(),
            free: FreeSlots::new(count),
            most: AtomicU32::new(0),
            waiting: WaitSet::new(takers),
        }))
    }

    /// Takes the memory of the `count` buffers that go out first (fewer, if they are out) from the kernel now. A page of 2 MiB can take the
    /// kernel 5 ms to clear, on the core of a thread that serves; and if some readers come to a new page at once, it clears one for each.
    pub(crate) fn warm(self: &Arc<Self>, count: usize) {
        let mut taken: Vec<_> = (0..count).map_while(|_| self.try_take()).collect();
        for buffer in &mut taken {
            buffer.space().fill(0);
        }
        // The first one out is to be on top again.
        while taken.pop().is_some() {}
        self.most.store(0, Ordering::Relaxed);
    }

    /// Bytes of each buffer.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.size
    }

    /// Number of buffers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.owners.len()
    }

    /// Buffers that nobody has now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.count()
    }

    /// The most buffers that were out at once since the start.
    #[must_use]
    pub fn most_out(&self) -> usize {
        self.most.load(Ordering::Relaxed) as usize
    }

    /// Whether no buffer is out and nobody but the caller holds the pool: dropping it now unmaps it here and now.
    #[must_use]
    pub fn is_unused(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
    }

    /// Takes a free buffer if there is one.
    #[must_use]
    pub fn try_take(self: &Arc<Self>) -> Option<Buffer> {
        let slot = self.free.pop()?;
        self.owners[slot as usize].store(1, Ordering::Relaxed);
        let out = self.count() - self.free();
        self.most.fetch_max(out as u32, Ordering::Relaxed);
        Some(Buffer {
            pool: Arc::clone(self),
            slot,
        })
    }

    /// Sleeps in `seat` until there is a free buffer, or until `give_up` says so after [`wake_takers`](Self::wake_takers).
    pub(crate) fn take(
        self: &Arc<Self>,
        seat: usize,
        give_up: impl Fn() -> bool,
    ) -> Option<Buffer> {
        self.waiting.wait_for(seat, || match give_up() {
            true => Some(None),
            false => self.try_take().map(Some),
        })
    }

    /// Lets every sleeping taker look again.
    pub(crate) fn wake_takers(&self) {
        self.waiting.wake_all();
    }

    fn start(&self, slot: u32) -> *mut u8 {
        self.region
            .as_mut_ptr()
            .wrapping_add(slot as usize * self.size)
    }

    fn let_go(&self, slot: u32) {
        // The order of an Arc's count: what every owner did to the bytes happens before the next taker has them.
        if self.owners[slot as usize].fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        self.free.push(slot);
        self.waiting.wake_one();
    }
}

/// An empty buffer, of one owner.
#[derive(Debug)]
pub struct Buffer {
    pool: Arc<BufferPool>,
    slot: u32,
}

impl Buffer {
    /// All of it: [`BufferPool::buffer_bytes`] bytes, aligned to [`DIRECT_ALIGNMENT`]. What they hold is left over from the last read.
    pub fn space(&mut self) -> &mut [u8] {
        let start = self.pool.start(self.slot);
        // SAFETY: the slot lies within the pool's mapping, which `self.pool` keeps alive; the slot was free and is ours alone
        // until `self` is dropped or frozen, and both need `self` back from this borrow.
        unsafe { slice::from_raw_parts_mut(start, self.pool.size) }
    }

    /// Makes the first `length` bytes, which were read from `offset` of the file, into something to share.
    ///
    /// # Panics
    /// If `length` is more than the buffer holds.
    #[must_use]
    pub fn freeze(self, offset: u64, length: usize) -> FilledBuffer {
        assert!(
            length <= self.pool.size,
            "a buffer holds {} bytes",
            self.pool.size
        );
        FilledBuffer {
            buffer: self,
            offset,
            length,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.let_go(self.slot);
    }
}

/// Bytes of a file in a shared buffer. Cloning and dropping it neither allocates nor locks; the last drop gives the buffer back.
#[derive(Debug)]
pub struct FilledBuffer {
    /// From here on one of several owners of the slot: its `space` is out of reach.
    buffer: Buffer,
    offset: u64,
    length: usize,
}

impl FilledBuffer {
    /// Where the first byte lies in the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes, checked, from [`offset`](Self::offset) on.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let start = self.buffer.pool.start(self.buffer.slot);
        // SAFETY: the slot lies within the pool's mapping, which the buffer keeps alive; since `freeze` nobody can write to it, and it
        // is not given out again before the last owner, of whom `self` is one, is gone.
        unsafe { slice::from_raw_parts(start, self.length) }
    }
}

impl Clone for FilledBuffer {
    fn clone(&self) -> Self {
        let pool = Arc::clone(&self.buffer.pool);
        pool.owners[self.buffer.slot as usize].fetch_add(1, Ordering::Relaxed);
        Self {
            buffer: Buffer {
                pool,
                slot: self.buffer.slot,
            },
            offset: self.offset,
            length: self.length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_last_owner_gives_the_buffer_back() {
        let pool = BufferPool::new(2, DIRECT_ALIGNMENT, 1).unwrap();
        let mut first = pool.try_take().unwrap();
        let second = pool.try_take().unwrap();
        assert!(pool.try_take().is_none());
        assert!(
            first
                .space()
                .as_ptr()
                .addr()
                .is_multiple_of(DIRECT_ALIGNMENT)
        );

        first.space()[..5].copy_from_slice(b"bytes");
        let shared = first.freeze(65_536, 5);
        let other = shared.clone();
        drop(shared);
        assert_eq!(pool.free(), 0);
        assert_eq!((other.offset(), other.bytes()), (65_536, &b"bytes"[..]));
        drop(other);
        drop(second);
        assert_eq!((pool.free(), pool.most_out()), (2, 2));
        assert!(pool.is_unused());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_goes_out_first_is_in_memory_already_when_warm() {
        /// Page faults of this thread: field 10 of `/proc/<pid>/stat`, proc_pid_stat(5).
        fn faults() -> u64 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            fields.split(' ').nth(10 - 3).unwrap().parse().unwrap()
        }
        const PAGES: usize = 64;
        let pool = BufferPool::new(4, PAGES * DIRECT_ALIGNMENT, 1).unwrap();
        pool.warm(2);
        assert_eq!((pool.free(), pool.most_out()), (4, 0));
        let mut buffers: Vec<_> = (0..4).map(|_| pool.try_take().unwrap()).collect();
        let mut faults_of = |number: usize| {
            let before = faults();
            buffers[number].space().fill(1);
            faults() - before
        };
        let of_each: Vec<_> = (0..4).map(&mut faults_of).collect();
        assert!(of_each[..2].iter().all(|&count| count < 8), "{of_each:?}");
        assert!(
            of_each[2..].iter().sum::<u64>() >= PAGES as u64,
            "{of_each:?}"
        );
    }

    #[test]
    fn many_threads_never_see_each_others_bytes() {
        let pool = BufferPool::new(3, DIRECT_ALIGNMENT, 4).unwrap();
        thread::scope(|scope| {
            for seat in 0..4u8 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..300u64 {
                        let mut buffer = pool.take(seat.into(), || false).unwrap();
                        let mark = seat.wrapping_mul(64).wrapping_add(round as u8 & 63);
                        buffer.space()[..256].fill(mark);
                        let shared = buffer.freeze(round, 256);
                        let reader = shared.clone();
                        scope.spawn(move || {
                            assert!(reader.bytes().iter().all(|&byte| byte == mark))
                        });
                        assert!(shared.bytes().iter().all(|&byte| byte == mark));
                    }
                });
            }
        });
        assert_eq!(pool.free(), 3);
    }
}
