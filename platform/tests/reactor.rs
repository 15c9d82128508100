//! The reactor's behaviour, every case on every backend of this system.

#[path = "reactor/harness.rs"]
mod harness;

#[path = "reactor/accepting.rs"]
mod accepting;
#[path = "reactor/receiving.rs"]
mod receiving;
#[path = "reactor/sending.rs"]
mod sending;
#[path = "reactor/waking.rs"]
mod waking;

use platform::allocation::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;
