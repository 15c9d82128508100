//! The simulated hour as a picture: the share of each appliance, second by second.

use std::fmt::Write;

use crate::world::{BOXES, Event, ORIGIN, PER_SITE, SITES, STORY, STORY_S, Shares};

const WIDTH: f64 = 840.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
/// The largest share that is drawn.
const MOST: f64 = 0.10;
const COLOURS: [&str; SITES] = ["#c0392b", "#2471a3", "#1e8449", "#b7950b", "#7d3c98"];

/// As an SVG.
pub(crate) fn drawn(shares: &[Shares]) -> String {
    let (width, height) = (LEFT + WIDTH + 130.0, TOP + HEIGHT + 60.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"13\">Part of all viewers at each of {BOXES} appliances ({SITES} sites), and at the origin</text>\n"
    );
    // Writing to a String cannot fail.
    for percent in [0, 2, 4, 6, 8, 10] {
        let y = TOP + HEIGHT * (1.0 - f64::from(percent) / 100.0 / MOST);
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {y:.1}h{WIDTH}\" stroke=\"#dddddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    for (number, (at, event)) in STORY.iter().enumerate() {
        let x = x(*at as usize);
        let y = TOP + HEIGHT + 14.0 + 14.0 * (number % 3) as f64;
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {TOP}V{:.1}\" stroke=\"#999999\" stroke-dasharray=\"3 3\"/><text x=\"{:.1}\" y=\"{y:.1}\">{} s: {}</text>",
            TOP + HEIGHT,
            x + 2.0,
            at,
            words(*event)
        );
    }
    for number in 0..=ORIGIN {
        let colour = COLOURS.get(number / PER_SITE).unwrap_or(&"black");
        let _ = writeln!(
            out,
            "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\"/>",
            path(shares, number)
        );
    }
    for site in 0..=SITES {
        let (name, colour) = match COLOURS.get(site) {
            Some(colour) => (format!("site {site}"), *colour),
            None => ("origin".to_owned(), "black"),
        };
        let (x, y) = (LEFT + WIDTH + 14.0, TOP + 14.0 + 16.0 * site as f64);
        let _ = writeln!(
            out,
            "<path d=\"M{x} {:.1}h16\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{}\" y=\"{y}\">{name}</text>",
            y - 4.0,
            x + 22.0
        );
    }
    out + "</svg>\n"
}

fn words(event: Event) -> String {
    match event {
        Event::Dies(_) => "one dies".to_owned(),
        Event::Returns(_) => "it returns".to_owned(),
        Event::Crowd { site, viewers } => format!("{viewers} more at site {site}"),
        Event::ControlStops => "control stops".to_owned(),
        Event::ControlStarts => "control starts".to_owned(),
        Event::Parts(site) => format!("site {site} unheard"),
        Event::Joins(site) => format!("site {site} heard"),
    }
}

/// A point for each twenty seconds.
fn path(shares: &[Shares], number: usize) -> String {
    let mut path = String::new();
    for (second, Shares(all)) in shares.iter().enumerate().step_by(20) {
        let step = if path.is_empty() { 'M' } else { 'L' };
        let y = TOP + HEIGHT * (1.0 - (all[number] / MOST).min(1.0));
        let _ = write!(path, "{step}{:.1} {y:.1}", x(second));
    }
    path
}

fn x(second: usize) -> f64 {
    LEFT + WIDTH * second as f64 / STORY_S as f64
}
