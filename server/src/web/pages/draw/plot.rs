//! Columns: what happened on each day, how many builds took how long.

use std::fmt::Write as _;

use super::super::say::{Markup, count, escape};

/// The drawing, in its own units.
const WIDTH: u64 = 720;
const HEIGHT: u64 = 180;
/// Room below for names and above for the scale.
const FOOT: u64 = 18;
const HEAD: u64 = 16;
/// Room at the left for the scale.
const SIDE: u64 = 44;
/// A name below takes about so much.
const NAME: u64 = 76;
/// One column is no wider.
const COLUMN_MAX: u64 = 48;

/// A column.
pub(in super::super) struct Column {
    /// What stands below it.
    pub(in super::super) name: String,
    /// Style, name and number of each part, from the bottom.
    pub(in super::super) parts: Vec<(&'static str, &'static str, u64)>,
}

impl Column {
    fn total(&self) -> u64 {
        self.parts.iter().map(|(_, _, n)| n).sum()
    }

    fn said(&self) -> String {
        let parts = self.parts.iter().filter(|(_, _, n)| *n > 0);
        let parts: Vec<String> = parts.map(|(_, name, n)| format!("{n} {name}")).collect();
        let said = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
        format!("{}: {said}", self.name)
    }
}

/// Columns side by side over one scale; None if all of them are empty. `what` says what is plotted.
pub(in super::super) fn columns(what: &str, columns: &[Column]) -> Option<Markup> {
    let most = columns.iter().map(Column::total).max().filter(|most| *most > 0)?;
    let top = nice(most);
    let sum: u64 = columns.iter().map(Column::total).sum();
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}: {} in all, at most {}\">",
        escape(what),
        count(sum),
        count(most)
    );
    let base = HEIGHT - FOOT;
    let y = |n: u64| base - n * (base - HEAD) / top;
    let middle = if top.is_multiple_of(2) { vec![0, top / 2, top] } else { vec![0, top] };
    for n in middle {
        let (at, text) = (y(n), count(n));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{SIDE}\" x2=\"{WIDTH}\" y1=\"{at}\" y2=\"{at}\"/>\
             <text class=\"end\" x=\"{}\" y=\"{}\">{text}</text>",
            SIDE - 6,
            at + 4
        );
    }
    let count_of = u64::try_from(columns.len()).unwrap_or(1).max(1);
    let step = ((WIDTH - SIDE) / count_of).max(1);
    let width = (step * 4 / 5).clamp(1, COLUMN_MAX);
    let every = NAME.div_ceil(step).max(1);
    // From one end of the scale to the other, whatever is left of a division.
    let left = |at: u64| SIDE + at * (WIDTH - SIDE) / count_of;
    for (at, column) in (0u64..).zip(columns) {
        let x = left(at) + (step - width) / 2;
        let _ = write!(svg, "<g><title>{}</title>", escape(&column.said()));
        let mut below = 0;
        for (tone, _, n) in column.parts.iter().filter(|(_, _, n)| *n > 0) {
            let (from, to) = (y(below), y(below + n));
            // A single one among thousands is seen.
            let height = (from - to).max(1);
            let _ = write!(
                svg,
                "<rect class=\"f-{tone}\" x=\"{x}\" y=\"{to}\" width=\"{width}\" height=\"{height}\"/>"
            );
            below += n;
        }
        svg.push_str("</g>");
        if at.is_multiple_of(every) && x + width / 2 + NAME / 3 <= WIDTH {
            let _ = write!(
                svg,
                "<text class=\"mid\" x=\"{}\" y=\"{}\">{}</text>",
                x + width / 2,
                HEIGHT - 4,
                escape(&column.name)
            );
        }
    }
    svg.push_str("</svg>");
    Some(Markup(svg))
}

/// The next of 1, 2, 4, 10, 20, 40, …: scales that are read at a glance.
fn nice(most: u64) -> u64 {
    let mut ten = 1u64;
    loop {
        for step in [1, 2, 4, 6, 10] {
            let top = ten.saturating_mul(step);
            if top >= most {
                return top;
            }
        }
        ten = ten.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, ok: u64, bad: u64) -> Column {
        Column { name: name.into(), parts: vec![("ok", "success", ok), ("bad", "failed", bad)] }
    }

    #[test]
    fn a_scale_ends_at_a_round_number_above_all() {
        for (most, want) in [(1, 1), (3, 4), (5, 6), (7, 10), (11, 20), (99, 100), (41_000, 60_000)] {
            assert_eq!(nice(most), want);
        }
    }

    #[test]
    fn columns_say_what_they_show_and_stay_within_the_drawing() {
        for days in [1, 7, 30, 366] {
            let days: Vec<Column> = (0..days).map(|day| column(&format!("<{day}>"), day, 1)).collect();
            let svg = columns("builds", &days).unwrap().0;
            assert!(svg.contains("<title>&lt;0&gt;: 1 failed</title>"), "{svg}");
            for x in svg.split(" x=\"").skip(1) {
                let x: u64 = x.split('"').next().unwrap().parse().unwrap();
                assert!(x <= WIDTH, "{x}");
            }
            let names = svg.matches("class=\"mid\"").count() as u64;
            assert!((1..=(WIDTH / NAME + 1)).contains(&names), "{names} names");
        }
        assert!(columns("builds", &[column("a", 0, 0)]).is_none());
        assert!(columns("builds", &[]).is_none());
    }
}
