//! The figures as a drawing: two fields side by side, as plain SVG.

use std::fmt::Write as _;

use super::report::{PARTS_OF_A_DAY, Report};

/// Of one field.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 240.0;
const MARGIN: f64 = 60.0;

/// Colours that differ in lightness too.
const COLOURS: [&str; 4] = ["#d1495b", "#2e4057", "#66a182", "#bbbbbb"];

/// A line of a field.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// A field: shares upwards from 0 to 1.
struct Field {
    title: &'static str,
    below: String,
    /// Where the axis is marked, and how.
    marks: Vec<(f64, String)>,
    lines: Vec<Line>,
}

pub(super) fn svg(report: &Report) -> String {
    let mut fields = vec![simulated(report)];
    fields.extend(live(report));
    let width = MARGIN + fields.len() as f64 * (WIDTH + MARGIN);
    let height = HEIGHT + 2.0 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (at, field) in fields.iter().enumerate() {
        field.draw(&mut out, MARGIN + at as f64 * (WIDTH + MARGIN));
    }
    out + "</svg>\n"
}

/// Memory grows to the right, on a logarithmic scale.
fn simulated(report: &Report) -> Field {
    let shares = report
        .simulated
        .iter()
        .map(|outcome| outcome.memory_share.ln());
    let (least, most) = shares
        .clone()
        .fold((f64::MAX, f64::MIN), |(least, most), share| {
            (least.min(share), most.max(share))
        });
    let place = |share: f64| (share.ln() - least) / (most - least).max(f64::EPSILON);
    let mut field = Field {
        title: "Simulated: bytes sent from memory, of all bytes sent",
        below: format!(
            "memory, of the library; Zipf {}, {} days, {:.0} % drift a day",
            report.shape.exponent,
            report.shape.days,
            report.shape.drift * 100.0
        ),
        marks: Vec::new(),
        lines: Vec::new(),
    };
    for outcome in &report.simulated {
        let x = place(outcome.memory_share);
        let name = outcome.who.name();
        let point = (x, outcome.hit_ratio);
        match field.lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => field.lines.push(Line {
                name: name.to_owned(),
                points: vec![point],
            }),
        }
        if field.marks.iter().all(|(marked, _)| *marked != x) {
            field
                .marks
                .push((x, format!("{} %", outcome.memory_share * 100.0)));
        }
    }
    field
}

/// Time goes to the right.
fn live(report: &Report) -> Option<Field> {
    let live = report.live.as_ref()?;
    let parts = live.outcomes.first()?.parts.len() as f64;
    let day = |day: u32| f64::from(day) * PARTS_OF_A_DAY as f64 / parts;
    Some(Field {
        title: "By HTTP: bytes not read from the disk, of all bytes sent",
        below: format!(
            "each server in {} MiB; library {} MiB",
            live.limit_mib,
            live.shape.library_bytes() >> 20
        ),
        marks: (0..live.shape.days)
            .map(|at| (day(at), format!("day {}", at + 1)))
            .collect(),
        lines: live
            .outcomes
            .iter()
            .map(|outcome| Line {
                name: outcome.server.name().to_owned(),
                points: outcome
                    .parts
                    .iter()
                    .enumerate()
                    .map(|(at, read)| ((at as f64 + 0.5) / parts, (1.0 - read).max(0.0)))
                    .collect(),
            })
            .collect(),
    })
}

impl Field {
    // Writing to a String cannot fail.
    fn draw(&self, out: &mut String, left: f64) {
        let bottom = MARGIN + HEIGHT;
        let middle = left + WIDTH / 2.0;
        let _ = writeln!(
            out,
            "<text x=\"{middle}\" y=\"30\" text-anchor=\"middle\" font-size=\"13\">{}</text>",
            self.title
        );
        let _ = writeln!(
            out,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 40.0,
            self.below
        );
        for tenth in [0, 2, 4, 6, 8, 10] {
            let y = bottom - HEIGHT * f64::from(tenth) / 10.0;
            let _ = writeln!(
                out,
                "<path d=\"M{left} {y}h{WIDTH}\" stroke=\"#dddddd\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{} %</text>",
                left - 6.0,
                y + 4.0,
                tenth * 10
            );
        }
        for (at, text) in &self.marks {
            let x = left + WIDTH * at;
            let _ = writeln!(
                out,
                "<path d=\"M{x} {bottom}v5\" stroke=\"black\"/><text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                bottom + 18.0
            );
        }
        for (at, line) in self.lines.iter().enumerate() {
            line.draw(out, left, COLOURS[at % COLOURS.len()], at);
        }
    }
}

impl Line {
    fn draw(&self, out: &mut String, left: f64, colour: &str, number: usize) {
        let mut path = String::new();
        for (x, y) in &self.points {
            let step = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(
                path,
                "{step}{:.1} {:.1}",
                left + WIDTH * x,
                MARGIN + HEIGHT * (1.0 - y)
            );
        }
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        let y = MARGIN + 14.0 + 15.0 * number as f64;
        let x = left + 10.0;
        let _ = writeln!(
            out,
            "<path d=\"M{x} {}h16\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{}\" y=\"{y}\">{}</text>",
            y - 4.0,
            x + 22.0,
            self.name
        );
    }
}
