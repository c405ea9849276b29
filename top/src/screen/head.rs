//! The farm's head: hub and clock, all states as one bar, how much is built and when it ends.
//!
//! Owns these four rows; on a low screen the legend goes first, then the bar.

use moji_client::operator::print::{Paint, columns, duration, ends, local_time, package_paint};
use moji_proto::message::{BuilderState, PackageState};

use super::Look;
use super::canvas::Canvas;
use crate::model::{BAR, Farm, Hub, Model};

/// Rows below which there is no legend.
const LEGEND_ROWS: usize = 18;
/// Rows that it takes at most.
const LEGEND_ROWS_MAX: usize = 2;
/// Rows below which there is no bar.
const BAR_ROWS: usize = 10;

/// Columns of the clock.
const CLOCK: usize = 8;

/// Draws it; gives the row below.
pub(super) fn draw(look: &Look, model: &Model, canvas: &mut Canvas<'_>, rows: usize) -> usize {
    title(look, model, canvas);
    let Some(farm) = &model.farm else {
        if rows > 1 {
            canvas.put(0, 1, "waits for the hub's first answer", Paint::Dim);
        }
        return rows.min(2);
    };
    let mut row = 1;
    if rows >= BAR_ROWS && farm.all() > 0 {
        bar(farm, canvas, row);
        row += 1;
    }
    if rows >= LEGEND_ROWS {
        row = legend(farm, canvas, row);
    }
    if rows > row {
        progress(look, farm, canvas, row);
        row += 1;
    }
    row
}

fn title(look: &Look, model: &Model, canvas: &mut Canvas<'_>) {
    let time = |unix_s| local_time(&look.text(0), unix_s)[11..].to_owned();
    let mut at = canvas.put(0, 0, "moji", Paint::Bold);
    if let Some(farm) = &model.farm {
        at = canvas.put(at, 0, &format!(" {}", farm.row.version), Paint::Bold);
    }
    at = canvas.put(at + 1, 0, &model.address, Paint::Plain);
    match &model.hub {
        Hub::Away { since_unix_s, why } => {
            let since = format!("hub away since {}", time(*since_unix_s));
            at = canvas.put(at + 2, 0, &since, Paint::Red);
            canvas.put(at + 2, 0, why, Paint::Dim);
        }
        Hub::There => {
            if let Some(farm) = &model.farm {
                let target = farm.row.target.as_str();
                let text = format!("{target}, up {}", duration(farm.row.up_s.into()));
                let text = text.trim_start_matches(", ");
                if at + columns(text) + CLOCK + 4 <= canvas.width() {
                    at = canvas.put(at + 2, 0, text, Paint::Dim);
                }
            }
            canvas.put_right(at + 2, 0, &time(look.now_unix_s), Paint::Plain);
        }
    }
}

/// A sign for each state: the bar can be read without colours.
fn sign(state: PackageState) -> &'static str {
    match state {
        PackageState::Success => "█",
        PackageState::Building => "▓",
        PackageState::Review => "▒",
        PackageState::Waiting => "░",
        PackageState::Deps => "·",
        PackageState::Failed | PackageState::Unusable => "x",
        PackageState::Duplicate
        | PackageState::Excluded
        | PackageState::Cancelled
        | PackageState::Finished => "-",
    }
}

/// Every state that anything is in has a cell; the rest is shared out by number.
fn bar(farm: &Farm, canvas: &mut Canvas<'_>, row: usize) {
    let mut column = 0;
    for (state, cells) in BAR.into_iter().zip(shares(&BAR.map(|state| farm.count(state)), canvas.width())) {
        column = canvas.put(column, row, &sign(state).repeat(cells), package_paint(state));
    }
}

/// Cells of each count, `width` together, at least one of each that is not 0 as long as there are as many.
pub(super) fn shares(counts: &[u32], width: usize) -> Vec<usize> {
    let all: u64 = counts.iter().map(|n| u64::from(*n)).sum();
    let present = counts.iter().filter(|n| **n > 0).count();
    let spare = width.saturating_sub(present) as u64;
    let mut cells: Vec<usize> = counts
        .iter()
        .map(|n| if *n == 0 { 0 } else { 1 + (u64::from(*n) * spare / all.max(1)) as usize })
        .collect();
    // What rounding left goes to the largest.
    let used: usize = cells.iter().sum();
    if let Some(largest) = (0..counts.len()).max_by_key(|at| counts[*at])
        && counts[largest] > 0
    {
        cells[largest] += width.saturating_sub(used);
    }
    cells
}

/// All states that anything is in; gives the row below.
fn legend(farm: &Farm, canvas: &mut Canvas<'_>, from: usize) -> usize {
    let all = farm.all().max(1);
    let (mut column, mut row) = (0, from);
    for state in BAR.into_iter().filter(|state| farm.count(*state) > 0) {
        let count = farm.count(state);
        let percent = u64::from(count) * 100 / all;
        let share = if percent > 0 { format!(" {percent}%") } else { String::new() };
        let text = format!("{} {count} {state}{share}", sign(state));
        if column > 0 && column + 2 + columns(&text) > canvas.width() {
            (column, row) = (0, row + 1);
        }
        if row >= from + LEGEND_ROWS_MAX {
            break;
        }
        let at = if column > 0 { column + 2 } else { 0 };
        column = canvas.put(at, row, &text, package_paint(state));
    }
    (row + 1).min(from + LEGEND_ROWS_MAX)
}

fn progress(look: &Look, farm: &Farm, canvas: &mut Canvas<'_>, row: usize) {
    let (built, all) = farm.progress();
    let built = match all {
        0 => "no package is here yet".to_owned(),
        all => format!("{built} of {all} built ({}%)", built * 100 / all),
    };
    let ends = ends(&look.text(0), farm.row.ends_in_s).map_or(String::new(), |ends| format!(", ends {ends}"));
    // On a narrow screen the moment is enough.
    let short = ends.rsplit(", ").next().map_or(String::new(), |at| format!(", ends {at}"));
    let is_wide = columns(&built) + columns(&ends) <= canvas.width();
    let ends = if ends.is_empty() || is_wide { ends } else { short };
    let at = canvas.put(0, row, &format!("{built}{ends}"), Paint::Bold);
    let of = |state: BuilderState| farm.row.builders[state as usize];
    let all: u32 = farm.row.builders.iter().sum();
    let idle = match of(BuilderState::Idle) {
        0 => String::new(),
        idle => format!(", {idle} idle"),
    };
    let busy = of(BuilderState::Busy) + of(BuilderState::Draining);
    let forms = [format!("{busy} of {all} builders busy{idle}"), format!("{busy} of {all} builders busy")];
    if let Some(text) = forms.iter().find(|text| at + 2 + columns(text) <= canvas.width()) {
        canvas.put_right(at + 2, row, text, Paint::Plain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_wide_as_the_screen_and_shows_the_smallest_state() {
        for (counts, width, want) in [
            (&[50, 50][..], 10, &[5, 5][..]),
            (&[10_000, 1, 0, 1], 10, &[8, 1, 0, 1]),
            (&[1, 1, 1], 10, &[4, 3, 3]),
            (&[0, 0], 10, &[0, 0]),
            (&[u32::MAX, u32::MAX], 7, &[3, 4]),
        ] {
            let got = shares(counts, width);
            let sum: usize = got.iter().sum();
            assert!(sum == width || counts.iter().all(|n| *n == 0), "{got:?}");
            for (got, want) in got.iter().zip(want) {
                assert!(got.abs_diff(*want) <= 1, "{counts:?}: {got} {want}");
            }
            assert!(got.iter().zip(counts).all(|(cells, n)| (*cells > 0) == (*n > 0)), "{got:?}");
        }
    }
}
