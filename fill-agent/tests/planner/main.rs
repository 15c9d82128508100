//! The planner, by examples and by what must hold for every plan.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copies;
mod examples;
mod nights;
mod properties;
mod world;
