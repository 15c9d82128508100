//! Draws the simulated hour of `tests/simulation` from any seed: `cargo run -p steering --example steering-plot -- SEED > plot.svg`.

#[path = "../tests/simulation/picture.rs"]
mod picture;
#[allow(dead_code, reason = "the test uses more of it")]
#[path = "../tests/simulation/world.rs"]
mod world;

fn main() {
    let seed = std::env::args().nth(1).and_then(|text| text.parse().ok());
    print!(
        "{}",
        picture::drawn(&world::play(seed.unwrap_or(1), |_, _| {}))
    );
}
