//! The reactor's behaviour, every case on every backend of this system.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; the exception for tests covers test functions alone"
)]

#[path = "reactor/harness.rs"]
mod harness;

#[path = "reactor/accepting.rs"]
mod accepting;
#[path = "reactor/closing.rs"]
mod closing;
#[path = "reactor/receiving.rs"]
mod receiving;
#[path = "reactor/sending.rs"]
mod sending;
#[path = "reactor/turning.rs"]
mod turning;

use platform::allocation::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;
