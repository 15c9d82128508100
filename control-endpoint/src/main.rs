//! `oca-control --config FILE serve|ingest|keygen|..`

fn main() {}
