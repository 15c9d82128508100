//! The BGP speaker through its public face: bytes, and pairs of neighbours on a virtual clock.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; the exception for tests covers test functions alone"
)]

mod codec;
mod collision;
mod mistakes;
mod pair;
mod presence;
mod sessions;
