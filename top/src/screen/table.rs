//! Columns that fit.
//!
//! Owns how wide columns are, and which are left out where there is no room for all. Must never draw a row wider than the
//! screen.

use moji_client::operator::print::{Paint, columns, cut, cut_middle, safe};

use super::canvas::Canvas;

/// Blanks between two columns.
const GAP: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    kind: Kind,
    /// Not narrower than this.
    min: usize,
    /// Not wider than this.
    max: usize,
    /// Left out sooner than those with less.
    drop: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Cut in the middle.
    Name,
    /// Cut at the end.
    Text,
    /// To the right, never cut.
    Number,
}

impl Column {
    pub(super) const fn name(title: &'static str, min: usize) -> Column {
        Column { title, kind: Kind::Name, min, max: usize::MAX, drop: 0 }
    }

    pub(super) const fn text(title: &'static str, min: usize) -> Column {
        Column { title, kind: Kind::Text, min, max: usize::MAX, drop: 0 }
    }

    pub(super) const fn number(title: &'static str) -> Column {
        Column { title, kind: Kind::Number, min: usize::MAX, max: usize::MAX, drop: 0 }
    }

    pub(super) const fn drops(self, drop: u8) -> Column {
        Column { drop, ..self }
    }
}

/// A cell.
#[derive(Clone, Debug)]
pub(super) struct Cell(pub(super) String, pub(super) Paint);

/// Draws a heading and rows below it. The first title has `count` behind it; `chosen` is drawn as the one looked at.
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    row: usize,
    all: &[Column],
    count: &str,
    rows: &[Vec<Cell>],
    is_focused: bool,
    chosen: Option<usize>,
) {
    let title = |at: usize| match at {
        0 if !count.is_empty() => format!("{} {count}", all[0].title),
        at => all[at].title.to_owned(),
    };
    let natural: Vec<usize> = (0..all.len())
        .map(|at| {
            let cells = rows.iter().map(|row| columns(&safe(&row[at].0))).max().unwrap_or(0);
            // A column that says nothing is left out, but for the first.
            if cells == 0 && at > 0 { 0 } else { cells.max(columns(&title(at))) }
        })
        .collect();
    let widths = fit(all, &natural, canvas.width());
    let mut line = |row: usize, cell: &dyn Fn(usize) -> Cell| {
        let mut column = 0;
        for (at, width) in widths.iter().enumerate().filter(|(_, width)| **width > 0) {
            let Cell(text, paint) = cell(at);
            let text = safe(&text);
            let text =
                if all[at].kind == Kind::Name { cut_middle(&text, *width) } else { cut(&text, *width) };
            let left = if all[at].kind == Kind::Number { width - columns(&text) } else { 0 };
            canvas.put(column + left, row, &text, paint);
            column += width + GAP;
        }
    };
    line(row, &|at| Cell(title(at), Paint::Dim));
    for (below, cells) in rows.iter().enumerate() {
        line(row + 1 + below, &|at| cells[at].clone());
    }
    canvas.head(row, is_focused);
    if let Some(chosen) = chosen.filter(|chosen| *chosen < rows.len()) {
        canvas.choose(row + 1 + chosen);
    }
}

/// How wide each column is; 0 if it is left out.
fn fit(all: &[Column], natural: &[usize], width: usize) -> Vec<usize> {
    let natural: Vec<usize> =
        natural.iter().zip(all).map(|(natural, column)| *natural.min(&column.max)).collect();
    let mut widths: Vec<usize> =
        natural.iter().zip(all).map(|(natural, column)| *natural.min(&column.min)).collect();
    let used = |widths: &[usize]| {
        let there = widths.iter().filter(|width| **width > 0).count();
        widths.iter().sum::<usize>() + GAP * there.saturating_sub(1)
    };
    while used(&widths) > width {
        let there = (1..all.len()).filter(|at| widths[*at] > 0);
        match there.max_by_key(|at| all[*at].drop) {
            Some(last) => widths[last] = 0,
            None => {
                widths[0] = widths[0].min(width);
                break;
            }
        }
    }
    let mut rest = width.saturating_sub(used(&widths));
    for kind in [Kind::Name, Kind::Text] {
        for at in (0..all.len()).filter(|at| all[*at].kind == kind) {
            if widths[at] > 0 {
                let more = rest.min(natural[at] - widths[at]);
                widths[at] += more;
                rest -= more;
            }
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_shrink_to_their_least_and_then_the_least_wanted_go() {
        let all = [Column::name("A", 6), Column::number("B").drops(1), Column::text("C", 10).drops(2)];
        let natural = [20, 4, 30];
        for (width, want) in [
            (80, [20, 4, 30]),
            (58, [20, 4, 30]),
            (48, [20, 4, 20]),
            (38, [20, 4, 10]),
            (24, [6, 4, 10]),
            (23, [17, 4, 0]),
            (12, [6, 4, 0]),
            (11, [11, 0, 0]),
            (3, [3, 0, 0]),
            (0, [0, 0, 0]),
        ] {
            assert_eq!(fit(&all, &natural, width), want, "{width}");
        }
        assert_eq!(fit(&all, &[5, 0, 0], 80), [5, 0, 0], "what says nothing stays out");
    }
}
