//! Bounds of one reactor and what they cost.

use std::time::Duration;

/// Most connections of one reactor: an index must leave four bits of a 64-bit word to the kind of operation.
pub const MAX_CONNECTIONS: u32 = 1 << 28;
/// Most receive buffers: the kernel's limit for a ring of provided buffers.
pub const MAX_RECEIVE_BUFFERS: u16 = 1 << 15;
/// Connections accepted per listener and turn where they are accepted one by one, so that a flood of
/// connections cannot keep those already served waiting: 64 calls, about 100 us.
pub(crate) const ACCEPTS_PER_TURN: u32 = 64;
/// Descriptors whose readiness is fetched by one call: 12 KiB (epoll) or 64 KiB (kqueue). More wait for
/// the next turn, none is lost.
pub(crate) const READINESS_BATCH: usize = 1024;
/// The longest wait handed to a kernel, whatever the caller allows: each has its own bound for a time.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(3600);

const _: () = assert!(ACCEPTS_PER_TURN as usize <= READINESS_BATCH);

/// The size of one reactor. Tables and buffers are allocated at start; its queues grow to the most that ever
/// waited at once.
#[derive(Debug, Clone, Copy)]
pub struct ReactorLimits {
    /// Open connections (1 to [`MAX_CONNECTIONS`]). About 64 bytes each in the reactor's tables. The one too
    /// many is closed, so admit fewer.
    pub connections: u32,
    /// Receive buffers (1 to [`MAX_RECEIVE_BUFFERS`]), shared by all connections: a connection holds one
    /// only while the caller has its bytes in hand, never while it is silent.
    pub receive_buffers: u16,
    /// Bytes of each receive buffer, at least 1; they are paid for at once (times `receive_buffers`).
    pub receive_buffer_bytes: u32,
}

impl Default for ReactorLimits {
    /// 16384 connections, 1024 buffers of 4 KiB (4 MiB): a media request's head is below 2 KiB.
    fn default() -> Self {
        Self {
            connections: 16 * 1024,
            receive_buffers: 1024,
            receive_buffer_bytes: 4096,
        }
    }
}
