//! What both backends share: open sockets by token, listeners, the memory of receive buffers, events to hand out.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{MmapMut, MmapRaw};
use socket2::SockRef;

use super::event::{Event, ListenerId, ReceiveBuffer, Token};
use super::limits::{MAX_CONNECTIONS, MAX_RECEIVE_BUFFERS, ReactorLimits};

/// The state of one reactor that does not depend on the kernel below.
pub(crate) struct Table {
    pub(crate) sockets: Sockets,
    /// With each, whether others have it too.
    listeners: Vec<Option<(TcpListener, bool)>>,
    pub(crate) memory: ReceiveMemory,
    pub(crate) events: VecDeque<Event>,
}

impl Table {
    pub(crate) fn new(limits: &ReactorLimits) -> io::Result<Self> {
        check(limits)?;
        Ok(Self {
            sockets: Sockets::new(limits.connections),
            listeners: Vec::new(),
            memory: ReceiveMemory::new(limits)?,
            events: VecDeque::with_capacity(1024),
        })
    }

    pub(crate) fn listener(&self, id: ListenerId) -> Option<&TcpListener> {
        let (listener, _) = self.listeners.get(usize::from(id.0))?.as_ref()?;
        Some(listener)
    }

    /// Whether others may accept from a listener too.
    #[allow(
        dead_code,
        reason = "where only readiness is known, every listener is polled"
    )]
    pub(crate) fn is_shared(&self, id: ListenerId) -> bool {
        let kept = self.listeners.get(usize::from(id.0));
        matches!(kept, Some(Some((_, true))))
    }

    /// A listener that was made non-blocking since it was kept is accepted from by somebody else as well ([`Listening::Shared`]).
    ///
    /// [`Listening::Shared`]: super::event::Listening::Shared
    #[allow(
        dead_code,
        reason = "where only readiness is known, every listener is polled"
    )]
    pub(crate) fn note_if_shared(&mut self, id: ListenerId) {
        if let Some(Some((listener, is_shared))) = self.listeners.get_mut(usize::from(id.0)) {
            *is_shared |= SockRef::from(&*listener).nonblocking().unwrap_or(false);
        }
    }

    /// Keeps `listener` under `id`. Errors: `AlreadyExists`.
    pub(crate) fn keep_listener(
        &mut self,
        id: ListenerId,
        listener: TcpListener,
        is_shared: bool,
    ) -> io::Result<()> {
        let slot = usize::from(id.0);
        if self.listener(id).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if self.listeners.len() <= slot {
            self.listeners.resize_with(slot + 1, || None);
        }
        self.listeners[slot] = Some((listener, is_shared));
        Ok(())
    }
}

fn check(limits: &ReactorLimits) -> io::Result<()> {
    let fits = (1..=MAX_CONNECTIONS).contains(&limits.connections)
        && (1..=MAX_RECEIVE_BUFFERS).contains(&limits.receive_buffers)
        && (1..=i32::MAX as u32).contains(&limits.receive_buffer_bytes);
    if fits {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// Open connections. A slot's generation grows at each close, so an old token finds nothing.
pub(crate) struct Sockets {
    slots: Vec<Slot>,
    /// Last in, first out: a slot used a moment ago is still in the cache.
    free: Vec<u32>,
}

struct Slot {
    socket: Option<Socket>,
    generation: u32,
}

pub(crate) struct Socket {
    descriptor: OwnedFd,
    /// False from a send that found the socket full until the kernel tells of room again. Kept for
    /// edge-triggered backends, which are told once.
    pub(crate) writable: Cell<bool>,
}

impl Socket {
    pub(crate) fn raw(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Sockets {
    fn new(limit: u32) -> Self {
        let slot = |_| Slot {
            socket: None,
            generation: 0,
        };
        Self {
            slots: (0..limit).map(slot).collect(),
            free: (0..limit).rev().collect(),
        }
    }

    pub(crate) fn get(&self, token: Token) -> Option<&Socket> {
        let slot = self.slots.get(token.index())?;
        slot.socket
            .as_ref()
            .filter(|_| slot.generation == token.generation)
    }

    pub(crate) fn is_open(&self, token: Token) -> bool {
        self.get(token).is_some()
    }

    /// Names `descriptor`; closes it and says `None` if every slot is taken.
    pub(crate) fn insert(&mut self, descriptor: OwnedFd) -> Option<Token> {
        let index = self.free.pop()?;
        let slot = &mut self.slots[index as usize];
        slot.socket = Some(Socket {
            descriptor,
            writable: Cell::new(true),
        });
        let generation = slot.generation;
        Some(Token { index, generation })
    }

    /// Makes the token dead; its descriptor, closed if it is dropped. `None` for a token that is dead already.
    pub(crate) fn remove(&mut self, token: Token) -> Option<OwnedFd> {
        self.get(token)?;
        let slot = &mut self.slots[token.index()];
        let socket = slot.socket.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(token.index);
        Some(socket.descriptor)
    }
}

/// The bytes behind all receive buffers: one anonymous mapping, shared with a kernel that writes into it.
///
/// It is only ever touched through raw pointers: a buffer's bytes become a slice while the buffer is lent
/// out, which is when nobody else (kernel or reactor) may write to them.
pub(crate) struct ReceiveMemory {
    /// Shared with a backend whose kernel may write into it for a while after the reactor's end.
    pub(crate) region: Rc<MmapRaw>,
    buffer_bytes: u32,
    pub(crate) count: u16,
    pool: u32,
}

/// Tells the reactors of a process apart, so that a buffer cannot be read through a foreign one.
static POOLS: AtomicU32 = AtomicU32::new(0);

impl ReceiveMemory {
    fn new(limits: &ReactorLimits) -> io::Result<Self> {
        let bytes = usize::from(limits.receive_buffers) * limits.receive_buffer_bytes as usize;
        Ok(Self {
            region: Rc::new(MmapMut::map_anon(bytes)?.into()),
            buffer_bytes: limits.receive_buffer_bytes,
            count: limits.receive_buffers,
            pool: POOLS.fetch_add(1, Ordering::Relaxed),
        })
    }

    pub(crate) fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    /// Where buffer `index` begins; valid for `buffer_bytes` bytes.
    pub(crate) fn address(&self, index: u16) -> *mut u8 {
        assert!(index < self.count, "buffers are numbered from 0 to count");
        let offset = usize::from(index) * self.buffer_bytes as usize;
        self.region.as_mut_ptr().wrapping_add(offset)
    }

    /// Lends out buffer `index`, which holds `length` bytes.
    pub(crate) fn lend(&self, index: u16, length: u32) -> ReceiveBuffer {
        assert!(
            index < self.count && length <= self.buffer_bytes,
            "a buffer of ours, within its bounds"
        );
        ReceiveBuffer {
            pool: self.pool,
            index,
            length,
        }
    }

    pub(crate) fn bytes<'a>(&'a self, buffer: &'a ReceiveBuffer) -> &'a [u8] {
        assert_eq!(buffer.pool, self.pool, "a buffer of another reactor");
        let start = self.address(buffer.index);
        // SAFETY: `lend` checked index and length against the region, which lives as long as `self`; the
        // buffer is lent out (it cannot be copied and `release` consumes it), so neither the kernel nor
        // the reactor writes to these bytes while `buffer` is borrowed; a fresh mapping is zeroed.
        unsafe { std::slice::from_raw_parts(start, buffer.len()) }
    }

    /// Takes a lent buffer back; its number.
    pub(crate) fn take_back(&self, buffer: ReceiveBuffer) -> u16 {
        assert_eq!(buffer.pool, self.pool, "a buffer of another reactor");
        buffer.index
    }
}
