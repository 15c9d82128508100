//! `oca-fill-agent --config FILE run|once|check`

fn main() {}
