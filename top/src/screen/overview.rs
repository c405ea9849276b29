//! The overview: trouble first, then what is built where, then the last results.
//!
//! Owns how the three share the rows. Trouble gets a third at most, results what builds leave, and each of them a few rows
//! as long as there are any.

use std::ops::Range;

use moji_client::operator::print::{Paint, duration, local_time, nvr, phase_word, verdict_paint};
use moji_proto::message::{EventRow, PackageRow};

use super::Look;
use super::canvas::Canvas;
use super::table::{self, Cell, Column};
use crate::model::{Model, Trouble};
use crate::ui::{Pane, Ui};

/// Cells of a gauge.
const GAUGE: usize = 6;
/// Rows of results that builds leave, their heading among them.
const RESULTS_MIN: usize = 4;

pub(super) fn draw(look: &Look, model: &Model, ui: &mut Ui, canvas: &mut Canvas<'_>, rows: Range<usize>) {
    if model.farm.is_none() {
        return;
    }
    let trouble = model.trouble(look.now_unix_s);
    let builds = model.builds(&ui.filter);
    let results = model.results(&ui.filter);
    if trouble.is_empty() && ui.pane == Pane::Trouble {
        ui.pane = Pane::Builds;
    }
    let [a, b, c] = heights(rows.len(), trouble.len(), builds.len(), results.len());
    let mut row = rows.start;
    let chosen = |ui: &mut Ui, pane: Pane, lines: usize, height: usize| {
        let cursor = &mut ui.cursors[pane as usize];
        cursor.settle(lines, height.saturating_sub(1));
        let is_focused = look.is_live && ui.pane == pane;
        (*cursor, is_focused, (is_focused && lines > 0).then(|| cursor.at - cursor.top))
    };
    if a > 0 {
        let (cursor, is_focused, at) = chosen(ui, Pane::Trouble, trouble.len(), a);
        let shown: Vec<Vec<Cell>> = trouble.iter().skip(cursor.top).take(a - 1).map(trouble_row).collect();
        table::draw(canvas, row, &TROUBLE, &count(trouble.len(), a), &shown, is_focused, at);
        row += a;
    }
    if b > 0 {
        let (cursor, is_focused, at) = chosen(ui, Pane::Builds, builds.len(), b);
        let shown: Vec<Vec<Cell>> =
            builds.iter().skip(cursor.top).take(b - 1).map(|row| build_row(row)).collect();
        table::draw(canvas, row, &BUILDS, &count(builds.len(), b), &shown, is_focused, at);
        row += b;
    }
    if c > 0 {
        let (cursor, is_focused, at) = chosen(ui, Pane::Results, results.len(), c);
        let shown: Vec<Vec<Cell>> =
            results.iter().skip(cursor.top).take(c - 1).map(|row| result_row(look, row)).collect();
        table::draw(canvas, row, &RESULTS, "", &shown, is_focused, at);
    }
}

/// A number that is said only where not all can be seen.
fn count(all: usize, height: usize) -> String {
    if all > height.saturating_sub(1) { format!("({all})") } else { String::new() }
}

/// Rows of trouble, builds and results, their headings among them.
fn heights(rows: usize, trouble: usize, builds: usize, results: usize) -> [usize; 3] {
    let a = if trouble == 0 { 0 } else { (trouble + 1).min((rows / 3).max(2)).min(rows) };
    let rest = rows - a;
    let wanted = (results + 1).min(RESULTS_MIN).min(rest / 2);
    let b = (builds + 1).min(rest - wanted);
    [a, b, rest - b]
}

const TROUBLE: [Column; 3] =
    [Column::name("TROUBLE", 10), Column::text("", 11).drops(1), Column::text("", 20)];

fn trouble_row(trouble: &Trouble) -> Vec<Cell> {
    // What has no state of its own is said at once.
    vec![
        Cell(trouble.what.clone(), trouble.paint),
        Cell(trouble.state.clone(), trouble.paint),
        Cell(trouble.text.clone(), Paint::Plain),
    ]
}

const BUILDS: [Column; 7] = [
    Column::name("BUILDING", 14),
    Column::name("BUILDER", 8).drops(1),
    Column::text("PHASE", 7).drops(2),
    Column::number("ELAPSED").drops(1),
    Column::number("OF").drops(3),
    Column::text("", GAUGE).drops(4),
    Column::text("LAST LINE", 16).drops(5),
];

fn build_row(row: &PackageRow) -> Vec<Cell> {
    let is_over = row.expected_s > 0 && row.age_s > row.expected_s;
    let (of, gauge) = match row.expected_s {
        0 => (String::new(), String::new()),
        expected_s => (duration(expected_s.into()), gauge(row.age_s, expected_s)),
    };
    let late = if is_over { Paint::Yellow } else { Paint::Plain };
    vec![
        Cell(nvr(row.srpm.as_str()).to_owned(), Paint::Plain),
        Cell(row.builder.as_ref().map_or(String::new(), |name| name.as_str().to_owned()), Paint::Plain),
        Cell(row.phase.map_or("", phase_word).to_owned(), Paint::Cyan),
        Cell(duration(row.age_s.into()), late),
        Cell(of, Paint::Plain),
        Cell(gauge, if is_over { Paint::Yellow } else { Paint::Cyan }),
        Cell(row.line.to_string(), Paint::Dim),
    ]
}

/// `━━━───`.
fn gauge(age_s: u32, expected_s: u32) -> String {
    let full = u64::from(age_s) * GAUGE as u64 / u64::from(expected_s.max(1));
    let full = usize::try_from(full).unwrap_or(GAUGE).min(GAUGE);
    format!("{}{}", "━".repeat(full), "─".repeat(GAUGE - full))
}

const RESULTS: [Column; 5] = [
    Column::name("LAST RESULTS", 14),
    Column::text("VERDICT", 8),
    Column::name("BUILDER", 8).drops(2),
    Column::text("AT", 8).drops(1),
    Column::text("WHY", 12).drops(3),
];

fn result_row(look: &Look, row: &EventRow) -> Vec<Cell> {
    let verdict = row.verdict;
    let at = local_time(&look.text(0), row.unix_ms / 1_000);
    vec![
        Cell(row.srpm.as_ref().map_or(String::new(), |srpm| nvr(srpm.as_str()).to_owned()), Paint::Plain),
        Cell(
            verdict.map_or("ended", |verdict| verdict.as_str()).to_owned(),
            verdict.map_or(Paint::Dim, verdict_paint),
        ),
        Cell(row.builder.as_ref().map_or(String::new(), |name| name.as_str().to_owned()), Paint::Plain),
        Cell(at[11..].to_owned(), Paint::Dim),
        Cell(row.text.to_string(), Paint::Dim),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_parts_share_all_rows() {
        for rows in 0..60 {
            for (trouble, builds, results) in [(0, 0, 0), (1, 1, 1), (30, 500, 500), (0, 500, 2), (2, 3, 500)]
            {
                let [a, b, c] = heights(rows, trouble, builds, results);
                assert_eq!(a + b + c, rows, "{rows} {trouble} {builds} {results}");
            }
        }
        assert_eq!(heights(18, 2, 3, 500), [3, 4, 11]);
        assert_eq!(heights(18, 30, 500, 500), [6, 8, 4]);
        assert_eq!(heights(10, 0, 500, 0), [0, 9, 1]);
    }

    #[test]
    fn a_gauge_is_full_when_the_time_is_over() {
        assert_eq!([gauge(0, 60), gauge(30, 60), gauge(999, 60)], ["──────", "━━━───", "━━━━━━"]);
    }
}
