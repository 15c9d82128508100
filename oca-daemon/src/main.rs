//! `oca-daemon`.
fn main() {}
