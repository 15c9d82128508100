//! t
pub mod counters;
pub mod limits;
pub mod precondition;
pub mod range;
pub mod request;
pub mod response;
